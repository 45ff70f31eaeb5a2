"""What a process gives up, for good, before it opens an app that a device shipped.

    folders      those on the way to Python that this user may not enter, as /root, are covered; of what is in them it sees
                 Python and its packages alone, read-only
    netns        another network namespace, or a fresh one without any network
    memory       address space and data, files open, processes of this user, core dumps
    user, group  another user's, no further groups; nothing a program started later could win back (PR_SET_NO_NEW_PRIVS)
    folder /, umask 077, no tracing by others of the same user (PR_SET_DUMPABLE)

It holds nothing else to begin with: its environment was cleared and its line to the server is all it inherited. Most of
this the kernel keeps for each thread, so it is done while there is one.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

import msgspec

from cloud_server.executors.confine import Limits, confine, die_with_parent

__all__ = ["NOT_CHANGED", "NO_NETWORK", "Sandbox", "enter"]

NOT_CHANGED = -1
"""As `uid`: the server's own user, where it is not root."""
NO_NETWORK = "-"
"""As `netns`: a fresh namespace."""
_NETNS = "/run/netns/"
"""Where `ip netns add` keeps them."""
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_PACKAGES = ("tasks", "wire", "cloud_server")
_FILES = 256
_PROCESSES = 512
"""Of this user on this host, threads counted."""


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """As whom and with what a shipped app runs; `memory` in bytes, `netns` "" for the server's own network."""

    uid: int = NOT_CHANGED
    gid: int = NOT_CHANGED
    memory: int = 4 * 2**30
    netns: str = ""


def enter(sandbox: Sandbox, parent: int) -> None:
    """Give up what is not in `sandbox`.

    Raises:
        OSError, ValueError: the system refuses a part of it; whoever called must then not go on.
    """
    if sys.platform != "linux":
        raise OSError("shipped apps run on Linux only: elsewhere a process cannot be confined like this")
    if len(os.listdir("/proc/self/task")) > 1:
        raise OSError("threads run in this process already, which would keep their rights")
    libc = ctypes.CDLL(None, use_errno=True)
    if sandbox.uid != NOT_CHANGED:
        _cover(libc, sandbox)
    if sandbox.netns:
        _leave_network(libc, sandbox.netns)
    confine(Limits(memory=sandbox.memory))
    _cap(resource.RLIMIT_AS, sandbox.memory)
    _cap(resource.RLIMIT_NOFILE, _FILES)
    os.umask(0o077)
    os.chdir("/")
    if sandbox.uid != NOT_CHANGED:
        _cap(resource.RLIMIT_NPROC, _PROCESSES)
        os.setgroups([])
        os.setresgid(sandbox.gid, sandbox.gid, sandbox.gid)
        os.setresuid(sandbox.uid, sandbox.uid, sandbox.uid)
        _make_sure(sandbox)
    _call(libc, "prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(libc, "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    die_with_parent()  # the kernel forgot that with the change of user
    if os.getppid() != parent:
        os._exit(1)


def _cover(libc: ctypes.CDLL, sandbox: Sandbox) -> None:
    """Where this user may not enter a folder above Python, show it what it needs from there and nothing else."""
    home = Path(__file__).resolve().parents[2]
    needed = {Path(folder).resolve() for folder in (sys.prefix, sys.base_prefix)} | {home / name for name in _PACKAGES}
    closed = {folder: above for folder in sorted(needed) if (above := _closed_above(folder, sandbox)) is not None}
    if not closed:
        return
    _call(libc, "unshare", _CLONE_NEWNS)
    _mount(libc, "none", "/", "", _MS_REC | _MS_PRIVATE)
    held = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in closed}
    for above in set(closed.values()):
        _mount(libc, "tmpfs", str(above), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    for folder, descriptor in held.items():
        folder.mkdir(parents=True, exist_ok=True)
        _mount(libc, f"/proc/self/fd/{descriptor}", str(folder), "", _MS_BIND)
        _mount(libc, "none", str(folder), "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
        os.close(descriptor)


def _closed_above(folder: Path, sandbox: Sandbox) -> Path | None:
    """The first folder on the way there that this user may not enter."""
    for above in reversed(folder.parents):
        status = above.stat()
        needed = 0o100 if status.st_uid == sandbox.uid else 0o010 if status.st_gid == sandbox.gid else 0o001
        if not status.st_mode & needed:
            return above
    return None


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = [os.fsencode(text) or None for text in (source, target, kind, options)]
    if libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount on {target}: {os.strerror(number)}; shipped apps need a Python that others than root can reach")


def _leave_network(libc: ctypes.CDLL, name: str) -> None:
    if name == NO_NETWORK:
        _call(libc, "unshare", _CLONE_NEWNET)
        return
    descriptor = os.open(_NETNS + name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call(libc, "setns", descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _make_sure(sandbox: Sandbox) -> None:
    if os.getresuid() != (sandbox.uid,) * 3 or os.getresgid() != (sandbox.gid,) * 3 or set(os.getgroups()) - {sandbox.gid}:
        raise OSError(f"this process did not become user {sandbox.uid}, group {sandbox.gid}")
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise OSError("this process could become root again")


def _cap(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _call(libc: ctypes.CDLL, name: str, *arguments: int) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
