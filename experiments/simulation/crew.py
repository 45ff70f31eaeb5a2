"""A server's workers on virtual time, each with a few variants ready: as cloud_server.executors does it, without processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from experiments.simulation.agenda import Agenda

__all__ = ["Crew"]


class _Work(NamedTuple):
    variant: str
    seconds: Callable[[], float]
    begun: float
    done: Callable[[float], None]


class Crew:
    """Work begins in order, at an idle worker that has its variant ready; where none has, at any, which makes it ready first.

    Args:
        variants: those there are.
        resident: how many stay ready in one worker, the ones used last; with 0, or no fewer than there are, all are from the start.
        load: seconds to make one ready.

    Attributes:
        misses: batches that waited for their variant; `swaps` variants that were put away for another.
    """

    def __init__(self, agenda: Agenda, count: int, variants: Sequence[str], resident: int, load: Callable[[str], float]) -> None:
        self.misses = self.swaps = 0
        self._agenda = agenda
        self._resident = resident if resident < len(variants) else 0
        self._load = load
        self._ready: list[dict[str, None]] = [{} if self._resident else dict.fromkeys(variants) for _ in range(count)]
        self._idle = deque(range(count))
        self._queue: deque[_Work] = deque()

    def put(self, variant: str, seconds: Callable[[], float], done: Callable[[float], None]) -> None:
        """Have a worker busy with this variant, for as long as `seconds()` says when it begins, then call `done(seconds waited)`."""
        self._queue.append(_Work(variant, seconds, self._agenda.now, done))
        self._start()

    def preload(self, worker: int, variants: Iterable[str]) -> None:
        """Make variants ready beside the work of a worker."""
        at = self._agenda.now
        for variant in variants:
            if variant not in self._ready[worker]:
                at += self._load(variant)
                self._agenda.at(at, self._keep, worker, variant)

    def _start(self) -> None:
        while self._idle and self._queue:
            work = self._queue.popleft()
            worker = next((each for each in self._idle if work.variant in self._ready[each]), self._idle[0])
            self._idle.remove(worker)
            seconds = work.seconds()
            if work.variant and work.variant not in self._ready[worker]:
                self.misses += 1
                seconds += self._load(work.variant)
            self._keep(worker, work.variant)
            self._agenda.at(self._agenda.now + seconds, self._end, worker, work, self._agenda.now)

    def _end(self, worker: int, work: _Work, started: float) -> None:
        self._idle.append(worker)
        work.done(started - work.begun)
        self._start()

    def _keep(self, worker: int, variant: str) -> None:
        ready = self._ready[worker]
        ready.pop(variant, None)
        ready[variant] = None
        while self._resident and len(ready) > self._resident:
            del ready[next(iter(ready))]
            self.swaps += 1
