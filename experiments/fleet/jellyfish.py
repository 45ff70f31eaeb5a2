"""Jellyfish's server (RTSS 2022), modelled: devices mapped to workers twice a second, batches of a fixed size, lazy drops.

What it does, by its paper and code: each worker has one variant; every device belongs to one worker, by a mapping made for a latency
budget of SLO - network - overhead and worst-case waiting (2 x a batch). A batch waits while the tightest slack allows it, is padded to its
size, and a job that would be more than 5 ms late when its batch ends is dropped when the batch begins. Each answer tells the device the
largest size that the mapping, its bandwidth and its budget allow. Two variants on either side of the one in use are ready; another is
loaded beside, and used when it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.fleet.peer_server import PeerJob, Pick
from experiments.fleet.variety import Variety
from experiments.simulation.agenda import Agenda

__all__ = ["Assignment", "Demand", "Jellyfish"]

_PERIOD = 0.5
_PATIENCE = 0.010
"""Seconds of slack left at which a batch waits no longer."""
_LATE = 0.005
"""Seconds by which a job may be late and is run all the same."""
_READY = 2


class Demand(NamedTuple):
    """A device as the mapping sees it: bandwidth in bytes per second, `overhead` in seconds beside network and batch."""

    device: int
    fps: float
    slo: float
    bandwidth: float
    overhead: float

    def budget(self, variety: Variety) -> float:
        """Seconds its frames of this size may be at a worker, waiting included; 0 where the link does not carry them."""
        if self.bandwidth / variety.nbytes <= self.fps:
            return 0.0
        return max(0.0, self.slo - variety.nbytes / self.bandwidth - self.overhead)


class Assignment(NamedTuple):
    """By worker its variant, an index into the table, and its batch; by device its worker. Who is in none is served by the first."""

    variants: Sequence[int]
    batches: Sequence[int]
    workers: Mapping[int, int]
    seconds: float = 0.0
    """What it takes to find."""


class Jellyfish:
    """The discipline of its workers, and the plan they follow.

    Args:
        demand: what a device wants now, None if it is not there.
        assign: makes a mapping of them.
    """

    def __init__(
        self, agenda: Agenda, table: Sequence[Variety], workers: int, devices: int,
        demand: Callable[[int], Demand | None], assign: Callable[[list[Demand]], Assignment],
    ) -> None:
        self.agenda, self.table = agenda, table
        self._devices, self._demand, self._assign = devices, demand, assign
        self._ready = [0] * workers
        self._plan = Assignment([0] * workers, [1] * workers, {})
        self._queues: list[deque[PeerJob]] = [deque() for _ in range(workers)]

    def start(self) -> None:
        """Plan now, and every half second."""
        demands = [demand for demand in map(self._demand, range(self._devices)) if demand is not None]
        if demands:
            plan = self._assign(demands)
            self.agenda.at(self.agenda.now + plan.seconds, self._follow, plan)
        self.agenda.at(self.agenda.now + _PERIOD, self.start)

    def planned(self, device: int) -> int:
        """The size its next frames should have: its worker's variant, or the first below it that is in budget."""
        worker = self._plan.workers.get(device, 0)
        top, batch = self._plan.variants[worker], self._plan.batches[worker]
        demand = self._demand(device)
        if demand is None:
            return top
        busy = 2 * self.table[top].seconds(batch)
        return next((size for size in range(top, -1, -1) if demand.budget(self.table[size]) >= busy), 0)

    def offer(self, job: PeerJob) -> int | None:
        worker = self._plan.workers.get(job.device, 0)
        self._queues[worker].append(job)
        return worker

    def pick(self, worker: int, now: float) -> Pick:
        queue, batch = self._queues[worker], self._plan.batches[worker]
        variety = self.table[self._ready[worker]]
        seconds = variety.seconds(batch)
        dropped = [job for job in queue if now + seconds - job.due > _LATE]
        for job in dropped:
            queue.remove(job)
        if not queue:
            return Pick(dropped=dropped)
        slack = min(job.due for job in queue) - now - seconds
        if len(queue) < batch and slack > _PATIENCE + 1e-9:
            return Pick(dropped=dropped, wake=now + slack - _PATIENCE)
        return Pick([queue.popleft() for _ in range(min(batch, len(queue)))], variety, batch, dropped)

    def _follow(self, plan: Assignment) -> None:
        self._plan = plan
        for worker, wanted in enumerate(plan.variants):
            if abs(wanted - self._ready[worker]) <= _READY:
                self._ready[worker] = wanted
            else:
                self.agenda.at(self.agenda.now + self.table[wanted].load_ms / 1e3, self._loaded, worker, wanted)

    def _loaded(self, worker: int, wanted: int) -> None:
        if self._plan.variants[worker] == wanted:
            self._ready[worker] = wanted

