"""The figures of a fleet's run: how many answers were in time, how good they were, who got how much, what the server did."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from experiments.fleet.lab import Client, FleetLab
from experiments.fleet.rows import FleetRun, ShotRow

__all__ = ["STEPS", "FleetFigures", "cdf_of", "figures_of", "in_time", "jain", "quantile"]

STEPS = tuple(step / 25 for step in range(51))
"""Parts of an SLO at which latencies are counted, up to twice of it."""


class FleetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of the frames shown after the warm-up; a miss is what was not answered within its SLO, whatever became of it.

    `accuracy` is the mean over all frames, 0 for a miss, so devices weigh by their frame rates; `accuracy_in_time` that of the
    answers in time. `fairness` is Jain's index of goodput relative to demand, `worst` the smallest share of its demand any device had
    in time. `late_work` is the part of the jobs run that were answered too late, `utilisation` the workers' busy part.
    """

    frames: int
    miss_rate: float
    accuracy: float
    accuracy_in_time: float
    p50: float
    p99: float
    fairness: float
    worst: float
    utilisation: float
    late_work: float
    batch: float
    goodput: float
    switches: int


def figures_of(run: FleetRun, lab: FleetLab, clients: Sequence[Client]) -> FleetFigures:
    """The figures of one run."""
    slos = [client.slo for client in clients]
    shots = [shot for shot in run.shots if shot.shown >= lab.warmup]
    good = [shot for shot in shots if in_time(shot, slos[shot.device])]
    shares = _shares(shots, good)
    batches = [batch for batch in run.batches if batch.at >= lab.warmup]
    ran = sum(batch.size for batch in batches)
    latencies = sorted(shot.latency for shot in shots if shot.outcome == "done")
    span = lab.seconds - lab.warmup
    return FleetFigures(
        frames=len(shots), miss_rate=1 - len(good) / len(shots) if shots else 0.0,
        accuracy=sum(shot.accuracy for shot in good) / len(shots) if shots else 0.0,
        accuracy_in_time=sum(shot.accuracy for shot in good) / len(good) if good else 0.0,
        p50=quantile(latencies, 0.5), p99=quantile(latencies, 0.99), fairness=jain(shares), worst=min(shares, default=0.0),
        utilisation=sum(batch.seconds for batch in batches) / (span * lab.workers),
        late_work=sum(batch.late for batch in batches) / ran if ran else 0.0, batch=ran / len(batches) if batches else 0.0,
        goodput=len(good) / span, switches=_switches(run.shots),
    )  # fmt: skip


def cdf_of(run: FleetRun, lab: FleetLab, clients: Sequence[Client]) -> tuple[float, ...]:
    """At each of STEPS the part of all frames, answered or not, that were answered within so much of their SLO."""
    shots = [shot for shot in run.shots if shot.shown >= lab.warmup]
    ratios = sorted(shot.latency / clients[shot.device].slo for shot in shots if shot.outcome == "done")
    return tuple(round(bisect_right(ratios, step + 1e-9) / len(shots), 6) for step in STEPS) if shots else (0.0,) * len(STEPS)


def in_time(shot: ShotRow, slo: float) -> bool:
    """True if the frame was answered within its SLO; at the deadline is in time."""
    return shot.outcome == "done" and shot.latency <= slo + 1e-9


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 if all are equal, 1/n if one has all (Jain, Chiu, Hawe, DEC TR-301, 1984); 1 for nobody."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ordered values; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _shares(shots: Sequence[ShotRow], good: Sequence[ShotRow]) -> list[float]:
    """By device: the part of what it showed that was answered in time."""
    shown: dict[int, int] = {}
    met: dict[int, int] = {}
    for shot in shots:
        shown[shot.device] = shown.get(shot.device, 0) + 1
    for shot in good:
        met[shot.device] = met.get(shot.device, 0) + 1
    return [met.get(device, 0) / count for device, count in sorted(shown.items())]


def _switches(shots: Sequence[ShotRow]) -> int:
    """How often a device's frames changed their variant."""
    last: dict[int, str] = {}
    changes = 0
    for shot in shots:
        if shot.variant:
            changes += last.get(shot.device, shot.variant) != shot.variant
            last[shot.device] = shot.variant
    return changes
