# SPDX-License-Identifier: Apache-2.0
"""Draws the soak's figures: one panel below another over a common axis of time, as SVG."""

WIDTH, LEFT, RIGHT, TOP = 900, 90, 150, 40
PANEL, GAP = 110, 34
COLOURS = ("#1f6fb4", "#d9822b", "#3a8f4d", "#a23b72", "#6b6b6b")
MARK_COLOURS = {"reload": "#bbbbbb", "kill": "#d63b3b", "drain": "#8a63c7", "refused": "#e0b000"}


def nice_top(value):
    """The least of 1, 2, 5 times a power of ten that is not below."""
    top = 1.0
    while top < value:
        top *= 10
    return next(top * f for f in (0.1, 0.2, 0.5, 1) if top * f >= value)


def text(x, y, words, anchor="start", size=12, colour="#222222"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{words}</text>'
    )


def line(x1, y1, x2, y2, colour, width=1):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


class Drawing:
    def __init__(self, title, seconds):
        self.seconds = max(seconds, 1)
        self.parts = [text(LEFT, 22, title, size=15)]
        self.y = TOP

    def x_of(self, t):
        return LEFT + t / self.seconds * (WIDTH - LEFT - RIGHT)

    def marks(self, marks):
        """(time, kind) of what the operator did, as ticks of their own."""
        for i, (kind, colour) in enumerate(MARK_COLOURS.items()):
            y = self.y + i * 14
            self.parts.append(text(LEFT - 8, y + 10, kind, "end", colour=colour))
            for t, what in marks:
                if what == kind:
                    self.parts.append(line(self.x_of(t), y, self.x_of(t), y + 11, colour, 2))
        self.y += len(MARK_COLOURS) * 14 + GAP

    def panel(self, title, times, series):
        """`series`: name -> values, one for each of `times`."""
        top = nice_top(max((max(v, default=0) for v in series.values()), default=0) or 1)
        bottom = self.y + PANEL
        self.parts.append(text(LEFT, self.y - 6, title, size=13))
        for i in range(3):
            y = bottom - PANEL * i / 2
            self.parts.append(line(LEFT, y, WIDTH - RIGHT, y, "#dddddd"))
            self.parts.append(text(LEFT - 8, y + 4, f"{top * i / 2:g}", "end"))
        for i, (name, values) in enumerate(series.items()):
            points = " ".join(
                f"{self.x_of(t):.1f},{bottom - min(v / top, 1) * PANEL:.1f}"
                for t, v in zip(times, values)
            )
            colour = COLOURS[i % len(COLOURS)]
            self.parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
            self.parts.append(
                text(WIDTH - RIGHT + 10, self.y + 12 + i * 16, name, colour=colour)
            )
        self.y = bottom + GAP

    def axis(self):
        for i in range(5):
            t = self.seconds * i / 4
            self.parts.append(text(self.x_of(t), self.y - 14, f"{t / 60:.1f} min", "middle"))

    def svg(self):
        self.axis()
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y}" '
            f'viewBox="0 0 {WIDTH} {self.y}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def draw(title, rows, marks):
    """`rows`: the figures as soak.py writes them, oldest first."""
    times = [r["t_s"] for r in rows]

    def column(name, scale=1.0):
        return [r[name] * scale for r in rows]

    d = Drawing(title, times[-1] if times else 1)
    d.marks(marks)
    d.panel("open connections", times, {"active": column("active")})
    d.panel(
        "per second",
        times,
        {"accepted": column("accepted_per_s"), "messages": column("messages_per_s")},
    )
    d.panel(
        "memory, MiB",
        times,
        {"Pss": column("pss_kib", 1 / 1024), "RSS": column("rss_kib", 1 / 1024)},
    )
    d.panel(
        "descriptors of each thread",
        times,
        {name: column(name) for name in (rows[0] if rows else {}) if name.startswith("fds_")},
    )
    d.panel("round trip, ms", times, {"p50": column("p50_ms"), "p99": column("p99_ms")})
    d.panel(
        "clients' errors so far",
        times,
        {"explained": column("explained"), "unexplained": column("unexplained")},
    )
    return d.svg()
