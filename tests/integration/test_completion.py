# SPDX-License-Identifier: Apache-2.0
"""What bash completes for lb and lbctl."""

import re
import subprocess

import pytest

from lbtest import HOST, LB, LBCTL, ROOT

# $1 is the file that defines the completion, $2 the command's name; from $3 on are the words of the
# command line, the last of which is completed. Like readline, this splits words at colons.
COMPLETE = r"""
. /usr/share/bash-completion/bash_completion
. "$1"
function=$(complete -p "$2" | sed 's/.*-F \([^ ]*\) .*/\1/')
shift 2
COMP_WORDS=() COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
for word; do
	while [[ $word == *:* ]]; do
		[ -z "${word%%:*}" ] || COMP_WORDS+=("${word%%:*}")
		COMP_WORDS+=(:)
		word=${word#*:}
		[ -n "$word" ] || continue 2
	done
	COMP_WORDS+=("$word")
done
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(name, *words, cwd=None):
    file = ROOT / "packaging" / "completion" / name
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", str(file), name, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


@pytest.fixture
def lbctl(shared):
    """Completes words of lbctl, as if they stood behind the socket of a running lb."""
    return lambda *words: complete("lbctl", LBCTL, "-s", shared.lb.socket, *words)


def usage_of(program):
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_command_and_option_of_lb_is_offered():
    offered = set(complete("lb", LB, "")) | set(complete("lb", LB, "-"))
    usage = usage_of(LB)
    commands = set(re.findall(r"(?m)^ +(?:usage: )?lb ([a-z]+)", usage))
    options = set(re.findall(r"(?<![\w-])--?[a-z]+", re.sub(r"(?m)^W.*", "", usage)))
    assert {"check", "doctor"} <= commands and {"-c", "--json"} <= options
    assert offered == commands | options


def test_every_command_and_option_of_lbctl_is_offered(lbctl):
    usage = usage_of(LBCTL).split("\nWithout")[0]
    commands = set(re.findall(r"(?m)^  ([a-z]+)", usage))
    assert {"stats", "reload"} <= commands
    assert set(lbctl("")) == commands
    options = set(lbctl("-")) | set(lbctl("conns", "-")) | set(lbctl("drain", "-"))
    assert options == set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", usage)) | {"--help", "--version"}


def test_words_are_completed(lbctl, shared):
    rows = [
        (["st"], ["stats"]),
        (["re"], ["ready", "reload"]),
        (["backends", ""], ["p"]),
        (["backends", "p", ""], []),
        (["drain", ""], ["p/e1", "p/e2"]),
        (["maint", "p/e1"], ["p/e1"]),
        (["--json", "ready", "p/"], ["p/e1", "p/e2"]),
        (["weight", "p/e2", ""], []),
        (["stats", ""], []),
        (["conns", "--pool", ""], ["p"]),
        (["conns", "--pool", "p", "--backend", "e"], ["e1", "e2"]),
        (["conns", "--limit", ""], []),
        (["conns", "--sort", "b"], ["bytes"]),
        (["drain", "p/e1", "--w"], ["--wait", "--wide"]),
        (["conns", "--pool", "p", "--m"], ["--min-age"]),
    ]
    for words, want in rows:
        assert lbctl(*words) == want, words


def test_a_backend_without_a_name_is_its_address(lb, echo, port):
    """Readline breaks words at colons: only what stands behind the last one is replaced."""
    backends = echo(2)
    proxy = lb(
        {
            "listeners": [{"name": "l", "bind": f"{HOST}:{port}", "mode": "tcp", "pool": "p"}],
            "pools": [{"name": "p", "backends": [e.address for e in backends]}],
        }
    )
    ports = sorted(str(e.port) for e in backends)

    def lbctl(word):
        return complete("lbctl", LBCTL, "-s", proxy.socket, "drain", word)

    assert lbctl("p/") == [f"p/{HOST}:{p}" for p in ports]
    assert lbctl(f"p/{HOST}:") == ports
    assert lbctl(f"p/{HOST}:{ports[0]}") == [ports[0]]


def test_files_are_offered(tmp_path):
    for name in "lb.yaml", "lb.sock":
        (tmp_path / name).touch()
    assert complete("lb", LB, "check", "-c", "lb.y", cwd=tmp_path) == ["lb.yaml"]
    assert complete("lbctl", LBCTL, "-s", "lb.s", cwd=tmp_path) == ["lb.sock"]


def test_without_a_running_lb_nothing_is_said(tmp_path):
    assert complete("lbctl", LBCTL, "-s", tmp_path / "none", "drain", "") == []
    assert complete("lbctl", LBCTL, "-s", tmp_path / "none", "dr") == ["drain"]
