"""Apps whose frames can do harm: each item says what its stage shall do, besides what it is to answer.

In the process named by POISON_SPARES nothing is done: that is the test itself, should a frame be left to it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tasks import App, Input, Task

__all__ = ["SPARES", "answer", "batched", "item", "single"]

SPARES = "POISON_SPARES"
_HUGE = 10 * 2**30


class _Unspeakable(Exception):
    """Its text cannot be had: it raises, or never comes."""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    def __str__(self) -> str:
        if self.hangs:
            _hang()
        raise SystemExit("no text")


def item(order: str, number: int, device: int = 0) -> dict[str, Any]:
    """A frame with a watermark of its own and an order to its stage; "" is none."""
    return {"order": order, "mark": device * 10**9 + number}


def answer(value: dict[str, Any]) -> list[int]:
    """What becomes of a frame that does no harm."""
    return [value["mark"], value["mark"] % 1_000_003 * 7]


class Act(Task):
    """Answers the watermark, after 2 ms of work; obeys first."""

    def run(self, item: dict[str, Any]) -> list[int]:
        obey(item["order"])
        until = time.perf_counter() + 0.002
        while time.perf_counter() < until:
            np.sqrt(np.arange(1000.0))
        return answer(item)


class Together(Task):
    """Answers many watermarks at once; one order in a batch is obeyed for all of it."""

    def run(self, item: dict[str, Any]) -> list[int]:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[dict[str, Any]]) -> list[list[int]]:
        for each in items:
            obey(each["order"])
        return [answer(each) for each in items]


def obey(order: str) -> None:
    """Do the harm; returns only from what is none."""
    if order and os.environ.get(SPARES) != str(os.getpid()):
        _HARM[order]()


def _raise() -> None:
    raise ValueError("as told")


def _hang() -> None:
    while True:
        time.sleep(1.0)


def _spin() -> None:
    while True:
        pass


def _leave() -> None:
    raise SystemExit(3)


def _memory() -> None:
    held = np.ones(_HUGE, np.uint8)
    raise RuntimeError(f"{held.nbytes} bytes were granted")


def _text() -> None:
    raise ValueError("x" * 100_000_000)


def _flood() -> None:
    line = "watch out " * 99 + "\n"
    for _ in range(20_000):
        sys.stdout.write(line)


def _children() -> None:
    subprocess.Popen(["sleep", "1000"])
    if os.fork() == 0:
        _hang()
    threading.Thread(target=_hang).start()
    os._exit(4)


def _silent() -> None:
    raise _Unspeakable(hangs=False)


def _mute() -> None:
    raise _Unspeakable(hangs=True)


_HARM: dict[str, Callable[[], object]] = {
    "raise": _raise, "hang": _hang, "spin": _spin, "exit": lambda: os._exit(3), "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": _memory, "text": _text, "flood": _flood, "leave": _leave, "children": _children, "silent": _silent, "mute": _mute,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP), "close": lambda: os.closerange(3, 100),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}

single = App("single", [Input(), Act()])
batched = App("batched", [Input(), Together()])
