"""How well a run has kept its goal: a fold over answers and decisions. Pure: times come in.

Windows of 5 s follow one another from the first capture; one that has not ended yet does not count. A window keeps

    fps   if it has at least 0.98 of the frames demanded with an answer (done or filtered)
    slo   if at least 95 of 100 of its answers came in time; one without answers does not
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from iot_client.events import Decided
from iot_client.splitting.goal import Goal

__all__ = ["Attained", "Attainment"]

WINDOW_S = 5.0
NEARLY = 0.98
"""Of a target, from which on it counts as held: one frame more or less in a window is no failure."""
IN_TIME = 0.95
MOST_DECISIONS = 10_000
"""Kept; a run may last for months."""


class Attained(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a goal in `windows` whole windows.

    `fps` and `slo` are the shares of the windows that kept them, 0 to 1; None where not demanded, or before the first
    window has ended. `decisions` have `at_s`, seconds since the first capture, and the fields of Decided, oldest first.
    """

    goal: Goal
    windows: int
    fps: float | None
    slo: float | None
    moves: int
    decisions: list[dict[str, Any]]


class Attainment:
    """Counts for one run with this goal."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._start: float | None = None
        self._counted = self._kept_fps = self._kept_slo = 0
        self._answers = self._in_time = 0  # of the window under way
        self._decisions: deque[tuple[float, Decided]] = deque(maxlen=MOST_DECISIONS)
        self._moves = 0

    def decided(self, now: float, decided: Decided) -> None:
        """A decision was taken; from one thread, which may be another than that of the answers."""
        self._decisions.append((now, decided))
        self._moves += decided.moved

    def began(self, now: float) -> None:
        """The first frame was captured; later calls change nothing."""
        if self._start is None:
            self._start = now

    def answered(self, captured_at: float, latency: float) -> None:
        """A frame was done or filtered `latency` seconds after its capture. Answers come in the order of their times."""
        self.began(captured_at)
        self._close(captured_at + latency)
        self._answers += 1
        self._in_time += self._goal.slo is None or latency <= self._goal.slo

    def report(self, now: float) -> Attained:
        """The run until `now`."""
        self._close(now)
        start = now if self._start is None else self._start
        decisions = [{"at_s": round(max(0.0, at - start), 3), **msgspec.structs.asdict(each)} for at, each in list(self._decisions)]
        share = 1.0 / self._counted if self._counted else None
        return Attained(
            goal=self._goal, windows=self._counted, moves=self._moves, decisions=decisions,
            fps=None if self._goal.fps is None or share is None else self._kept_fps * share,
            slo=None if self._goal.slo is None or share is None else self._kept_slo * share,
        )

    def _close(self, now: float) -> None:
        """Judge the windows that have ended at `now`."""
        if self._start is None:
            return
        while (self._counted + 1) * WINDOW_S <= now - self._start:
            self._kept_fps += self._answers >= NEARLY * (self._goal.fps or 0.0) * WINDOW_S
            self._kept_slo += self._in_time >= max(1, IN_TIME * self._answers)
            self._answers = self._in_time = 0
            self._counted += 1
