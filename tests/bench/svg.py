# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, of one row each: a panel for each figure, a bar for each contestant, and a
thin line over the bar from the least to the greatest of the rounds."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 720, 150, 90
BAR, GAP, HEAD, TITLE = 16, 6, 34, 40
COLOURS = {"lb": "#1f6feb", "bare": "#8b949e", "direct": "#8b949e"}
OTHER = "#d1a054"


def text(x, y, words, more="", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}" {more}>'
            f'{escape(words)}</text>')


def rect(x, y, width, height, colour):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{colour}"/>')


def bar(y, name, rounds, median, scale, digits):
    colour = COLOURS.get(name.split("-")[0], OTHER)
    low, high = LEFT + max(0, min(rounds)) * scale, LEFT + max(0, max(rounds)) * scale
    end, middle = LEFT + max(0, median) * scale, y + BAR / 2
    return [text(LEFT - 8, y + BAR - 4, name, 'text-anchor="end"'),
            rect(LEFT, y, end - LEFT, BAR, colour),
            f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="#24292f"/>',
            text(max(end, high) + 6, y + BAR - 4, f"{median:,.{digits}f}")]


def panel(y, title, digits, values):
    """`values`: (name, its rounds, their median). Returns the elements and where they end."""
    most = max([max(rounds) for _, rounds, _ in values] + [1e-9])
    scale = (WIDTH - LEFT - RIGHT) / most
    out = [text(LEFT, y + HEAD - 12, title, 'font-weight="bold"')]
    y += HEAD
    for name, rounds, median in values:
        out += bar(y, name, rounds, median, scale, digits)
        y += BAR + GAP
    return out, y


def chart(title, note, panels):
    """`panels`: (title, digits, values) each. Returns the file's text."""
    out, y = [text(12, 24, title, 'font-weight="bold"', 15)], TITLE
    for panel_title, digits, values in panels:
        more, y = panel(y, panel_title, digits, values)
        out += more
    out.append(text(12, y + 20, note, 'fill="#57606a"', 10))
    height = y + 32
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">',
        rect(0, 0, WIDTH, height, "#ffffff"), *out, "</svg>", ""])
