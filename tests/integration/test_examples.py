# SPDX-License-Identifier: Apache-2.0
"""Every example of the README, the man pages and docs/ is what it claims to be: files are checked,
commands are run, word for word, in namespaces of their own with the examples' own addresses."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lbtest import ECHO, LB, LBCTL, ROOT, SLOW, WRAP

IS_ROOT = os.geteuid() == 0

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "man").iterdir()),
]


# ---- finding them --------------------------------------------------------------------------------


class Example:
    """A block of a page: its words as a reader sees them, and what it is ("yaml", "sh", ...)."""

    def __init__(self, page, line, kind, text):
        self.page = page
        self.kind = kind
        self.text = text
        self.id = f"{page.relative_to(ROOT)}:{line}"


def blocks_of_markdown(text):
    """(line, language, text) of each fenced block."""
    for m in re.finditer(r"^([ ]*)```(\w*)\n(.*?)^\1```$", text, re.M | re.S):
        yield text.count("\n", 0, m.start()) + 1, m.group(2), m.group(3)


ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(dq": '"', r"\e": "\\", r"\&": "", r"\ ": " "}


def blocks_of_man(text):
    """The same; what a block is in shows by how it begins."""
    for m in re.finditer(r"^\.(?:EX|nf)\n(.*?)^\.(?:EE|fi)$", text, re.M | re.S):
        body = re.sub(r"\\(?:-|\(aq|\(dq|e|&| )", lambda e: ESCAPES[e.group()], m.group(1))
        assert "\\f" not in body and not re.search(r"^\.", body, re.M), "fonts are not understood"
        if body.startswith("{"):
            kind = "json"
        elif re.match(r"[a-z_]+:(\s|$)|\s*- ", body):
            kind = "yaml"
        else:
            kind = "sh"
        yield text.count("\n", 0, m.start()) + 1, kind, body


def examples(kind):
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = blocks_of_markdown(text) if page.suffix == ".md" else blocks_of_man(text)
        found += [Example(page, line, k, body) for line, k, body in blocks if k == kind]
    return found


def by_id(list_):
    return {"argvalues": list_, "ids": [e.id for e in list_]}


def pages_of(list_):
    return {str(e.page.relative_to(ROOT)) for e in list_}


def test_there_are_examples():
    """Else nothing below would test anything."""
    assert {"README.md", "man/lb.yaml.5", "docs/wss.md"} <= pages_of(examples("yaml"))
    assert {"README.md", "man/lb.8", "man/lbctl.1"} <= pages_of(examples("sh"))
    assert len(examples("yaml")) >= 4 and len(examples("sh")) >= 6
    for e in examples("yaml") + examples("sh"):
        assert e.text.strip(), e.id


# ---- files ---------------------------------------------------------------------------------------

MAIN_KEYS = {"listeners", "pools"} | set(
    re.findall(r'^\t\t\.key = "(\w+)', (ROOT / "lb/conf/main_opts.c").read_text(), re.M)
)
POOL_KEYS = set(re.findall(r'^\t\t\.key = "(\w+)', (ROOT / "lb/conf/pool_opts.c").read_text(), re.M))


def indent(text, n=4):
    return re.sub(r"^(?=.)", " " * n, text, flags=re.M)


def whole(text):
    """A file that has this part. What is missing around it is made up: the map that its keys belong
    to, pools that it names, a listener."""
    keys = set(re.findall(r"^(\w+):", text, re.M))
    if not keys:  # items of a list
        kind = "listeners" if "bind:" in text else "routes" if "pool:" in text else "pools"
        if kind == "routes":
            text = f"listeners:\n  - name: made_up\n    bind: 127.0.0.1:8\n    routes:\n{indent(text, 6)}"
        else:
            text = f"{kind}:\n{indent(text, 2)}"
        keys = {"listeners" if kind == "routes" else kind}
    elif not keys <= MAIN_KEYS:  # of a listener, else of a pool
        inner = indent(text)
        if keys <= POOL_KEYS:
            more = "" if "backends" in keys else "    backends: [127.0.0.1:9]\n"
            text = f"pools:\n  - name: made_up\n{inner}{more}"
            keys = {"pools"}
        else:
            more = "" if "bind" in keys else "    bind: 127.0.0.1:8\n"
            more += "" if keys & {"pool", "routes"} else "    pool: made_up\n"
            text = f"listeners:\n  - name: made_up\n{inner}{more}"
            keys = {"listeners"}
    if not text.endswith("\n"):
        text += "\n"
    if "pools" not in keys:
        named = sorted(set(re.findall(r"\bpool: *\"?([\w.-]+)", text))) or ["made_up"]
        rows = "".join(f"  - {{name: {n}, backends: [127.0.0.1:9]}}\n" for n in named)
        text += f"pools:\n{rows}"
    if "listeners" not in keys:
        pools = text[re.search(r"^pools:", text, re.M).start() :]
        pool = re.search(r"\bname: *\"?([\w.-]+)", pools).group(1)
        text += f"listeners:\n  - {{name: made_up, bind: 127.0.0.1:8, pool: {pool}}}\n"
    return text


PARTS = {
    "a whole file": "listeners: [{name: l, bind: 127.0.0.1:1, pool: p}]\npools: [{name: p, backends: [127.0.0.1:2]}]\n",
    "a key of the file": "log: {level: debug}\n",
    "listeners": "listeners:\n  - {name: l, bind: 127.0.0.1:1, pool: chat}\n",
    "an item of listeners": "- {name: l, bind: 127.0.0.1:1, pool: chat}\n",
    "pools": "pools:\n  - name: chat\n    backends: [127.0.0.1:2]\n",
    "an item of pools": "- name: chat\n  backends: [127.0.0.1:2]\n",
    "routes": '- {host: "*.example.com", pool: chat}\n- {path: /x, pool: web}\n',
    "keys of a pool": "health: {type: http, path: /up}\nretries: 3\n",
    "keys of a listener": "timeouts: {handshake: 3s}\nbind: 127.0.0.1:1\n",
}


def check_syntax(tmp_path, text):
    path = tmp_path / "lb.yaml"
    path.write_text(text)
    p = subprocess.run(
        [*WRAP, LB, "check", "--syntax", "-c", path], capture_output=True, text=True, timeout=20 * SLOW
    )
    assert (p.returncode, p.stdout, p.stderr) == (0, f"{path}: ok\n", ""), text


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_parts_are_completed(tmp_path, part):
    assert part.strip().splitlines()[0].strip() in whole(part)
    check_syntax(tmp_path, whole(part))


@pytest.mark.parametrize("example", **by_id(examples("yaml")))
def test_a_file_has_no_mistake(tmp_path, example):
    check_syntax(tmp_path, whole(example.text))


def test_the_example_file_has_no_mistake(tmp_path):
    check_syntax(tmp_path, (ROOT / "lb.yaml").read_text())


# ---- commands ------------------------------------------------------------------------------------

# A network, processes, /run and /etc/lb that nobody else sees, and the examples' backends.
INSIDE = """
set -u
ip link set lo up
for i in 5 6 11 12; do ip addr add 10.0.0.$i/32 dev lo || exit 9; done
mount -t tmpfs -o mode=755 run /run && mkdir -p /run/etc/up /run/etc/work || exit 9
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/up,workdir=/run/etc/work etc /etc || exit 9
mkdir -p /etc/lb || exit 9
[ ! -e system.yaml ] || cp system.yaml /etc/lb/lb.yaml || exit 9
echo_=$PWD/bin/lb-echo
for at in 10.0.0.11:9000 10.0.0.12:9000 127.0.0.1:9001 127.0.0.1:9002 127.0.0.1:9003; do
	"$echo_" -l $at -n "$at" >>echo.log 2>&1 &
done
PATH=$PWD/bin:$PATH
export PATH
cd home || exit 9
exec $AS sh ../lines.sh
"""

# Each line as it is written, and how it ended; `lb` itself stays in the foreground, so that the
# lines below it are typed elsewhere.
RUN = """
run() {
	printf '>>> %s\\n' "$1"
	sh -c "$1" >out 2>err
	status=$?
	cat out err
	printf '<<< %s\\n' $status
}
start() {
	printf '>>> %s\\n' "$1"
	sh -c "exec $1" >lb.out 2>lb.err &
	pid=$!
	n=0
	until grep -q 'notice started ' lb.err; do
		n=$((n + 1))
		if [ $n -gt 1000 ] || ! kill -0 $pid 2>/dev/null; then break; fi
		sleep 0.02
	done
	if kill -0 $pid; then echo '<<< 0'; else wait $pid; echo "<<< $?"; fi
}
logged() {
	n=0
	until grep -q "$1" lb.err; do
		n=$((n + 1))
		if [ $n -gt 1000 ]; then echo "not in the log: $1"; break; fi
		sleep 0.02
	done
}
end() {
	cat lb.out lb.err
	kill $pid
	wait $pid
	printf 'lb ended with %s\\n' $?
}
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


class Play:
    """A folder with the files of an example, and lines that are typed in it."""

    def __init__(self, user):
        self.dir = Path(tempfile.mkdtemp(prefix="lb-play-"))
        self.dir.chmod(0o755)
        self.home = self.dir / "home"
        self.home.mkdir()
        (self.dir / "bin").mkdir()
        for program in (LB, LBCTL, ECHO):
            shutil.copy(program, self.dir / "bin" / program.name)
        self.env = {**os.environ, "AS": ""}
        self.env.pop("LBCTL_SOCKET", None)
        if user is not None:
            ids = f"--reuid={user} --regid=65534 --clear-groups"
            self.env["AS"] = f"setpriv {ids} --inh-caps=-all --bounding-set=-all"
            shutil.chown(self.home, user)
        self.lines = []

    def run(self, script):
        """The script's output; all that it started ends with it, as its namespace does."""
        (self.dir / "lines.sh").write_text(RUN + script)
        enter = ["unshare", *([] if IS_ROOT else ["--user", "--map-root-user"])]
        enter += ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        p = subprocess.run(
            [*enter, "sh", "-c", INSIDE],
            cwd=self.dir,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120 * SLOW,
        )
        assert p.returncode == 0, p.stdout
        return p.stdout


@pytest.fixture
def play():
    made = []

    def make(user=None):
        made.append(Play(user))
        return made[-1]

    yield make
    for p in made:
        shutil.rmtree(p.dir, ignore_errors=True)


def ends_of(output):
    """Command -> its status, in their order."""
    return re.findall(r"^>>> (.*)$(?:\n(?!>>> |<<< ).*)*\n<<< (\d+)$", output, re.M)


def use_it():
    """The README's file and the lines below it."""
    (file,) = [e for e in examples("yaml") if e.page.name == "README.md"]
    (lines,) = [e for e in examples("sh") if e.page.name == "README.md" and "lbctl" in e.text]
    return file.text, lines.text.splitlines()


USERS = [None, pytest.param("nobody", marks=pytest.mark.skipif(not IS_ROOT, reason="needs root"))]


@pytest.mark.parametrize("user", USERS, ids=["root", "an ordinary user"])
def test_the_readme_runs_as_it_is_written(play, user):
    file, lines = use_it()
    kinds = [" ".join(x.split()[:2]) for x in lines]
    assert kinds == ["lb check", "lb doctor", "lb -c", "lbctl backends"] + kinds[4:]
    assert len(lines) == 6 and lines[4].startswith("lbctl drain") and "kill -HUP" in lines[5]
    p = play(user)
    (p.home / "lb.yaml").write_text(file)
    script = ""
    for line in lines:
        is_lb = line.startswith("lb -c")
        script += f"{'start' if is_lb else 'run'} {quoted(line)}\n"
        if is_lb:  # `lbctl backends` shows the result of the first check
            script += "logged 'backend is up pool=chat backend=10.0.0.11:9000'\n"
    out = p.run(script + "logged 'notice reloaded generation=2'\nend\n")
    assert ends_of(out) == [(line, "0") for line in lines], out
    assert "lb.yaml: ok\n" in out
    assert re.search(r"^chat +10\.0\.0\.11:9000 .*\bup\b", out, re.M), out
    assert "notice reloaded generation=2" in out and "lb ended with 0\n" in out, out
    assert not re.search(r" (warn|err) ", out), out


@pytest.mark.parametrize("user", USERS, ids=["root", "an ordinary user"])
def test_the_example_file_runs_as_it_is(play, user):
    p = play(user)
    shutil.copy(ROOT / "lb.yaml", p.home / "lb.yaml")
    lines = ["lb check -c lb.yaml", "lb -c lb.yaml", "lbctl -s lb.sock stats", "lbctl reload"]
    text = (ROOT / "lb.yaml").read_text()
    assert all(line in text for line in lines[:3]), "as its comments say"
    check, start, *more = lines
    script = "\n".join([f"run {quoted(check)}", f"start {quoted(start)}"])
    script += "".join(f"\nrun {quoted(x)}" for x in [check, *more])
    out = p.run(script + "\nend\n")
    assert ends_of(out) == [(line, "0") for line in [check, start, check, *more]], out
    assert out.count("lb.yaml: ok\n") == 2 and "lb ended with 0\n" in out, out


# What the pages' commands talk of: a system's lb with a pool "chat" and a backend "b2".
SYSTEM = """\
listeners: [{name: public, bind: "0.0.0.0:8080", pool: chat}]
pools:
  - name: chat
    backends: [{name: b1, address: 10.0.0.11:9000}, {name: b2, address: 10.0.0.12:9000}]
"""


def commands(page_is):
    """The lines of the pages' blocks; one that goes on behind a backslash is one line."""
    return [
        line
        for e in examples("sh")
        if page_is(e.page)
        for line in re.sub(r"\\\n\s*", "", e.text).splitlines()
        if line.strip() and not line.startswith("#")
    ]


IN_CONTAINER = re.compile(r"(?:docker|podman) exec lb (.*)")


def in_containers():
    """What pages run in a container of the name "lb"."""
    return [m.group(1) for m in map(IN_CONTAINER.match, commands(is_markdown)) if m]


def is_markdown(page):
    return page.suffix == ".md"


def test_the_man_pages_commands_run(play):
    """With the system's file and the default socket, whose folder is made."""
    lines = commands(lambda page: not is_markdown(page)) + in_containers()
    assert len(lines) >= 5
    p = play()
    (p.dir / "system.yaml").write_text(SYSTEM)
    script = "start 'lb'\n" + "".join(f"run {quoted(line)}\n" for line in lines)
    out = p.run(script + "end\n")
    assert ends_of(out) == [("lb", "0"), *((line, "0") for line in lines)], out
    assert "lb ended with 0\n" in out, out


@pytest.mark.parametrize("line", commands(is_markdown))
def test_no_line_of_a_page_is_left_out(line):
    """lb's commands are run above. Scripts, lb under a container's limits (test_containers.py), and
    the package on a system (test_package.py) have tests of their own: what such a line names is
    there."""
    word = line.split()[0]
    if word in ("lb", "lbctl", "kill"):
        assert line in use_it()[1]
        return
    if word in ("docker", "podman"):
        files = re.findall(r" -f (\S+)", line.replace(" #", "")) or ["Containerfile"]
        files += [f.removeprefix("./") for f in re.findall(r" -v (\./[^:]+):", line)]
        assert all((ROOT / f).exists() for f in files), line
        assert line.split()[1] in ("build", "run", "exec", "kill"), line
        return
    if word in ("sudo", "sudoedit"):
        tested = (ROOT / "tests/integration/test_package.py").read_text()
        does = re.findall(r"systemctl (\w+) lb\b|(install) \./build-deb/lb_", line)
        assert does, line
        for verb, installs in does:
            assert ('"-i"' if installs else f'"systemctl", "{verb}", "lb"') in tested, line
        return
    assert word.startswith(("./scripts/", "scripts/")), f"nothing runs this line: {line}"
    assert os.access(ROOT / word, os.X_OK), line
