# SPDX-License-Identifier: Apache-2.0
"""A container's walls without a container engine: as a program it puts them around itself and then
becomes the program that it is given; as a module it has the command line for that.

    container.py OPTIONS -- PROGRAM ARGUMENTS

The walls: the system calls that the default seccomp profiles of Docker, containerd and Podman refuse
to a process without CAP_SYS_ADMIN, their default capabilities, another user, a read-only root with a
tmpfs on /run/lb, and control groups.
"""

import argparse
import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

# What these profiles refuse (docs.docker.com/engine/security/seccomp, "Significant syscalls blocked
# by the default profile"), as far as x86-64 and arm64 have it.
REFUSED = """
    acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig
    fsmount fsopen fspick get_mempolicy init_module kcmp kexec_file_load kexec_load keyctl
    lookup_dcookie mbind mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
    open_by_handle_at open_tree perf_event_open pivot_root process_vm_readv process_vm_writev quotactl
    reboot request_key set_mempolicy setdomainname sethostname setns settimeofday swapoff swapon syslog
    umount2 unshare userfaultfd vhangup
""".split()

# ... and the newer of them (Docker 25, containerd 2.0).
URING = ["io_uring_setup", "io_uring_enter", "io_uring_register"]

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: with any of them clone is refused.
CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)

# Docker's default capabilities by their numbers: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID,
# SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
CAPS = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}

CLONE_NEWNS = 0x00020000
PR_CAPBSET_DROP = 24

NOBODY = 65534


# ---- as a module ---------------------------------------------------------------------------------


def enter(*options):
    """What to put in front of a command that is to run behind the walls."""
    return [sys.executable, __file__, *options, "--"]


class Cgroup:
    """A control group below this process's own, of version 1 or 2; what cannot be made fails."""

    def __init__(self, controller, **files):
        self.path = parent_of(controller) / f"lb-test-{os.getpid()}-{id(self):x}"
        self.path.mkdir()
        for name, text in files.items():
            (self.path / f"{controller}.{name}").write_text(text)

    def close(self):
        self.path.rmdir()


def parent_of(controller):
    """This process's own group in version 1's hierarchy of the controller."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = Path(f"/sys/fs/cgroup/{controller}{path}")
            # A mount may show a part of the hierarchy only.
            return own if own.exists() else Path(f"/sys/fs/cgroup/{controller}")
    raise AssertionError(f"no control groups of version 1 for {controller} on this machine")


@contextlib.contextmanager
def cgroup(controller, **files):
    group = Cgroup(controller, **files)
    try:
        yield group.path
    finally:
        group.close()


# ---- as a program --------------------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        sys.exit(f"container: {what}: {os.strerror(ctypes.get_errno())}")


def make_root_read_only():
    must(libc.unshare(CLONE_NEWNS), "a mount namespace")
    for args in (
        ["--make-rprivate", "/"],
        ["-t", "tmpfs", "-o", "mode=755", "none", "/run"],
        *(["-o", "remount,bind,ro", path] for path in ("/tmp", "/") if os.path.ismount(path)),
    ):
        subprocess.run(["mount", *args], check=True)


def make_run_dir(uid):
    """As --tmpfs /run/lb or a volume has it."""
    os.mkdir("/run/lb")
    os.chown("/run/lb", uid, uid)


def drop_caps():
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for cap in set(range(last + 1)) - CAPS:
        must(libc.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0), f"dropping capability {cap}")


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def refuse(names, more, clone3):
    """System calls by their names; `more` are (name, errno)."""
    import seccomp

    f = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in names:
        f.add_rule(seccomp.ERRNO(errno.EPERM), name)
    for name, error in more:
        f.add_rule(seccomp.ERRNO(getattr(errno, error)), name)
    for flag in CLONE_NEW:
        f.add_rule(
            seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag)
        )
    if clone3:  # its flags are in memory: the C library is to fall back to clone
        f.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    f.load()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--uring", action="store_true", help="allow io_uring, as older profiles do")
    p.add_argument("--allow", action="append", default=[], help="a system call by name")
    p.add_argument("--refuse", action="append", default=[], metavar="NAME=ERRNO")
    p.add_argument("--read-only", action="store_true")
    p.add_argument("--uid", type=int, default=0)
    p.add_argument("--cgroup", action="append", default=[])
    p.add_argument("command", nargs="+")
    a = p.parse_args()

    # Opened while that is allowed: the program may lie where the other user cannot go.
    program = os.open(shutil.which(a.command[0]), os.O_RDONLY | os.O_CLOEXEC)
    for path in a.cgroup:
        (Path(path) / "cgroup.procs").write_text("0")
    if a.read_only:
        make_root_read_only()
        make_run_dir(a.uid)
    drop_caps()
    if a.uid != 0:
        become(a.uid)
    refuse(
        [n for n in REFUSED + ([] if a.uring else URING) if n not in a.allow],
        [r.split("=") for r in a.refuse],
        True,
    )
    os.execve(program, a.command, os.environ)


if __name__ == "__main__":
    main()
