"""What a worker process gives up before it runs anybody's code: its life without the server, and memory without end.

    follow(parent)     die with the server, leave signals meant for it to it, take along what a stage starts
    confine(limits)    caps, once and for good: they hold for every process a stage starts as well

Memory is counted as the kernel counts private writable memory (RLIMIT_DATA, setrlimit(2): since Linux 4.7 that
includes private mappings). The address space (RLIMIT_AS) would be the wrong measure: numerical libraries reserve
many times of what they use, and the shared memory in which payloads travel is not the stage's doing.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import resource
import signal
import sys
import threading

import msgspec

__all__ = ["LEAST_MEMORY", "Limits", "confine", "die_with_parent", "fair_share", "follow"]

LEAST_MEMORY = 2**30
"""Bytes below which imports of common libraries fail: no share is smaller."""
_SHARE = 0.8
"""Of this host's memory for all workers together; the rest is for the server, payloads under way and the system."""
_OOM_SCORE = 500
"""Added to a worker's badness (proc(5), oom_score_adj), so that a host out of memory loses a worker, not the server."""
_PR_SET_PDEATHSIG = 1
_forker = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Caps on one worker process; 0 is no cap.

    `memory` is in bytes. `seconds` is how long one batch may run: the server sees to that, from outside.
    """

    memory: int = 0
    seconds: float = 0.0


def fair_share(processes: int) -> int:
    """Bytes that each of `processes` workers may have, so that together they do not use up this host or container."""
    return max(LEAST_MEMORY, int(_SHARE * _host_memory()) // max(1, processes))


def confine(limits: Limits) -> None:
    """Take these limits; they cannot be raised again.

    Raises:
        OSError, ValueError: the system does not take a limit.
    """
    _lower(resource.RLIMIT_CORE, 0)  # a dump of gigabytes would hold up the replacement
    if limits.memory:
        _lower(resource.RLIMIT_DATA, limits.memory)


def follow(parent: int) -> None:
    """Die with the parent, leave signals meant for it to it, and say where it was when a crash ends it."""
    # A handler, not SIG_IGN: that would be inherited by what a stage starts, which could then not be terminated.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # or the last words would be lost in a crash
    _volunteer()
    die_with_parent()
    os.register_at_fork(after_in_child=_forked, before=_look_where)
    if os.getppid() != parent:  # it died before that took effect
        os._exit(1)


def _look_where() -> None:
    """The kernel means the thread that forked, not its process: what another one starts may outlive it."""
    global _forker
    _forker = os.getpid() if threading.current_thread() is threading.main_thread() else 0


def _forked() -> None:
    if _forker:
        die_with_parent()
        if os.getppid() != _forker:
            os._exit(1)


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def die_with_parent() -> None:
    """Be killed when the process ends that started this one; to be said again after a change of user."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _volunteer() -> None:
    """Be the first to go when the host is out of memory."""
    path = "/proc/self/oom_score_adj"
    try:
        with open(path) as file:
            score = int(file.read())
        with open(path, "w") as file:
            file.write(str(min(1000, score + _OOM_SCORE)))
    except OSError:  # a container that hides it: the kernel then chooses by size alone
        return


def _host_memory() -> int:
    """Bytes of memory this process and all others may have: the host's, or its container's if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():  # "max" is none
            total = min(total, int(text))
    return total
