# SPDX-License-Identifier: Apache-2.0
"""A systemd of a test's own, booted as process 1 of its namespaces on a copy of this machine's files.

The copy is an overlay in memory, so whatever is installed, enabled or removed in there changes
nothing outside. The network is that of the test. /proc/sys and /sys cannot be written in there, so
that no service sets up this machine's kernel. All of it ends with the process that holds it: a
killed test leaves nothing behind.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from lbtest import SLOW, wait_for

# Who is not root needs sudo, as scripts/deps does.
SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]

# Argument 1: a folder for the mounts, removed at the end; 2: the folder that is seen as /mnt in
# there. When stdin ends, process 1 is killed. systemd has a control group of its own.
OUTER = r"""
set -eu
base=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root" "$base/cgroup"
mount -t cgroup2 cgroup2 "$base/cgroup"
cgroup=$base/cgroup/lb-test-$$
mkdir "$cgroup"
sh -c 'echo $$ >"$0/cgroup.procs" && exec unshare --pid --cgroup --ipc --uts --mount --fork \
	--kill-child sh -c "$INNER" sh "$@"' "$cgroup" "$@" &
inside=$!
echo "inside $inside"
{
	cat >/dev/null
	init=$(cat "/proc/$inside/task/$inside/children")
	kill -KILL ${init:-"$inside"}
} <&3 2>/dev/null &
wait "$inside" || true
find "$cgroup" -depth -type d -exec rmdir {} \;
umount -l "$base"
rmdir "$base"
"""

INNER = r"""
set -eu
base=$1
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p mnt
mount --bind "$2" mnt
# Else this machine's other file systems would be mounted, a container's policy-rc.d would forbid
# that packages start services, and two machines would have one id.
rm -f etc/fstab usr/sbin/policy-rc.d etc/machine-id
touch etc/machine-id
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=lb-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --unit=basic.target --show-status=no
"""


class Booted:
    """A running systemd; what `share` has is seen in there as /mnt."""

    def __init__(self, tmp, share):
        self.log = Path(tmp) / "boot.log"
        with open(self.log, "wb") as log:
            self.shell = subprocess.Popen(
                [*SUDO, "env", f"INNER={INNER}", "sh", "-c", 'exec 3<&0 unshare --mount sh -c "$@"']
                + ["sh", OUTER, "sh", tempfile.mkdtemp(prefix="lb-booted-"), str(share)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.init = wait_for("process 1", self._find_init, timeout=20)
            wait_for("systemd to have booted", self._has_booted, timeout=60)
        except BaseException:
            self.close()
            raise

    def _find_init(self):
        """The only child of `unshare`, once it has become systemd."""
        log = self.log.read_text()
        assert self.shell.poll() is None, log
        inside = re.search(r"inside (\d+)", log)
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(Path("/proc/{0}/task/{0}/children".format(inside and inside[1])).read_text())
            if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        return None

    def _has_booted(self):
        assert self.shell.poll() is None, self.log.read_text()
        done = self.run("systemctl", "is-active", "basic.target", check=False)
        return done.stdout == "active\n"

    def run(self, *argv, check=True, timeout=60, **kw):
        """Runs a command in there."""
        enter = ["nsenter", "--target", str(self.init), "--mount", "--pid", "--ipc", "--uts"]
        done = subprocess.run(
            [*SUDO, *enter, "--cgroup", "--root", "--wd", "env", "LC_ALL=C.UTF-8", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout * SLOW,
            **kw,
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def out(self, *argv, **kw):
        return self.run(*argv, **kw).stdout.rstrip("\n")

    def show(self, unit, name):
        """One property of a unit."""
        return self.out("systemctl", "show", "--value", "-p", name, unit)

    def journal(self, *match):
        """All that a unit has logged; journald writes it a moment after it was said."""
        self.run("journalctl", "--sync")
        return self.out("journalctl", "-u", "lb", "-o", "cat", *match)

    def close(self):
        """Ends process 1 and with it all others."""
        self.shell.stdin.close()
        self.shell.wait(30)
