"""Ctrl-C, SIGTERM and a hangup as a count that a loop looks at."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Signals"]

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered, collects signals; one that was ignored before (nohup, a background job) stays ignored.

    Attributes:
        received: signal numbers, in order.
        at_once: True while nothing runs that would have to be ended in order: a signal then raises
            KeyboardInterrupt. So does the third in any case.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.at_once = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _HANDLED:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if self.at_once or len(self.received) > 2:
            raise KeyboardInterrupt
