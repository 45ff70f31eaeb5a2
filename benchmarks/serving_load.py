"""Cameras that send on time, whatever comes back: the load of the serving benchmark, on one thread.

A frame's latency counts from the moment at which it was due, not from when it was sent, so that a load that falls behind
shows in the figures instead of hiding a slow server (coordinated omission).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from benchmarks.serving_score import Score, Turn
from benchmarks.serving_work import frame

__all__ = ["Answer", "Link", "closed_loop", "open_loop"]

Answer = tuple[int, int, bool]
"""Device, frame number, True if it was run."""

_TAIL = 0.3
"""Seconds beyond the SLO in which answers still due are awaited."""


class Link(Protocol):
    """The devices' end of one contender."""

    def join(self, rates: Sequence[float], slo: float) -> None:
        """So many devices of these frames a second, with a deadline of `slo` seconds (0: none), begin."""

    def send(self, device: int, seq: int, image: Any, budget: float) -> bool:
        """Send a frame with so many seconds left; False if this way of sending refuses it."""

    def receive(self, timeout: float) -> list[Answer]:
        """What has come; waits for the first at most so long."""

    def leave(self) -> None:
        """The devices end; what the server still has of them is given up."""


def open_loop(
    link: Link, rates: Sequence[float], *, slo: float, seconds: float, warmup: float, capacity: float,
    picture: Callable[[int], Any] = frame,
) -> Turn:
    """Offer each device's rate for `warmup` and then `seconds`, of which the frames captured in the latter count."""
    link.join(rates, slo)
    cameras = _Cameras(rates, time.perf_counter() + 0.05)
    counted = cameras.begin + warmup
    end = counted + seconds
    before, cpu = 0.0, 0.0
    while (now := time.perf_counter()) < end:
        if not before and now >= counted:
            before, cpu = now, time.process_time()
        for device, seq, due in cameras.due(now):
            cameras.sent(device, seq, due, now, link.send(device, seq, picture(seq), slo - (now - due)))
        cameras.answered(link.receive(min(cameras.next, end) - time.perf_counter()))
    cpu, spent = time.process_time() - cpu, time.perf_counter() - before
    until = end + slo + _TAIL
    while cameras.under_way and time.perf_counter() < until:
        cameras.answered(link.receive(0.02))
    link.leave()
    scores, lag = cameras.scores(counted, end)
    return Turn(seconds, slo, tuple(rates), scores, capacity, lag, cpu / spent)


def closed_loop(link: Link, window: int, *, seconds: float, warmup: float, picture: Callable[[int], Any] = frame) -> float:
    """Frames a second with `window` of them always under way and no deadline."""
    link.join((1.0,), 0.0)
    begin = time.perf_counter()
    sent = answered = counted = 0
    since = 0.0
    while (now := time.perf_counter()) < begin + warmup + seconds:
        while sent - answered < window and link.send(0, sent, picture(sent), -1.0):
            sent += 1
        answered += len(link.receive(0.05))
        if not since and now >= begin + warmup:
            since, counted = now, answered
    rate = (answered - counted) / (time.perf_counter() - since)
    link.leave()
    return rate


class _Cameras:
    """Who sends when, and what became of it."""

    def __init__(self, rates: Sequence[float], begin: float) -> None:
        self.begin = begin
        self.under_way = 0
        self._periods = [1.0 / rate for rate in rates]
        # Phases as far apart as they can be, but for a little that keeps two cameras from always meeting.
        self._due = [(begin + period * index / len(rates) * 1.03, index, 0) for index, period in enumerate(self._periods)]
        heapq.heapify(self._due)
        self._frames: list[dict[int, tuple[float, float, bool | None]]] = [{} for _ in rates]
        self._lags: list[tuple[float, float]] = []

    @property
    def next(self) -> float:
        """When the next frame is due."""
        return self._due[0][0]

    def due(self, now: float) -> Iterator[tuple[int, int, float]]:
        """Device, number and time of the frames that are due."""
        while self._due[0][0] <= now:
            at, device, seq = self._due[0]
            heapq.heapreplace(self._due, (at + self._periods[device], device, seq + 1))
            yield device, seq, at

    def sent(self, device: int, seq: int, due: float, now: float, taken: bool) -> None:
        """A frame left, or its own way refused it."""
        self._lags.append((due, now - due))
        self._frames[device][seq] = due, 0.0, None if taken else False
        self.under_way += taken

    def answered(self, answers: list[Answer]) -> None:
        """What came back."""
        now = time.perf_counter()
        for device, seq, run in answers:
            due, _, known = self._frames[device][seq]
            if known is None:
                self._frames[device][seq] = due, now - due, run
                self.under_way -= 1

    def scores(self, since: float, until: float) -> tuple[tuple[Score, ...], float]:
        """Of the frames captured in that time: each device's score, and the 99th percentile of the load's own lag."""
        found = []
        for frames in self._frames:
            counted = [(took, run) for due, took, run in frames.values() if since <= due < until]
            latencies = [took for took, run in counted if run]
            found.append(Score(len(counted), sum(run is False for _, run in counted), latencies))
        lags = sorted(lag for due, lag in self._lags if since <= due < until)
        return tuple(found), lags[int(0.99 * len(lags))] if lags else 0.0
