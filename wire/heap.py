"""Keep freed memory for the next frame instead of giving it back to the system.

A frame is a few hundred kilobytes that are allocated, passed on and freed thousands of times a second. glibc returns
freed memory to the system above a threshold, and every page of the next frame is then a page fault: 50 to 225 a frame
at 640x480, up to a quarter of a server's CPU time. Called by programs, never by the libraries.
"""

from __future__ import annotations

import ctypes
import gc
import sys

__all__ = ["Idle", "keep_freed_memory", "settle"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_MMAP_MAX = 32 * 2**20  # HEAP_MAX_SIZE / 2, the largest glibc accepts


def keep_freed_memory(nbytes: int = 128 * 2**20, *, one_arena: bool = False) -> bool:
    """Let malloc keep up to `nbytes` of freed memory per arena; False where this is not glibc.

    With `one_arena` all threads share one, if none has begun its own: a frame that one thread freed then serves the
    next, whichever thread wants it, and `Idle` can give all of it back. malloc_trim leaves the top of other arenas alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    arenas = not one_arena or mallopt(_M_ARENA_MAX, 1)
    return bool(arenas and mallopt(_M_MMAP_THRESHOLD, _MMAP_MAX) and mallopt(_M_TRIM_THRESHOLD, nbytes))


def settle() -> None:
    """What is here now is here to stay: Python's collector looks at it no more.

    A program that has begun holds some 50,000 objects, most of them its modules'. A full collection looks at each, 10 to 30 ms in
    which no frame moves, every few thousand frames; afterwards it looks at what came since. Called when all is set up.
    """
    gc.collect()
    gc.freeze()


class Idle:
    """Gives back to the system what malloc kept, once each time the last one who needed it has gone."""

    def __init__(self) -> None:
        self._busy = False

    def look(self, busy: bool) -> bool:
        """Is anybody here now? True if memory was given back."""
        was, self._busy = self._busy, busy
        return was and not busy and _trim()


def _trim() -> bool:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return bool(trim is not None and trim(0))
