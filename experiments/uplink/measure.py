"""The figures of a run: what was gained over local answers, by service and in all, and what of the most there was to gain."""

from __future__ import annotations

import msgspec

from experiments.uplink.lab import Case, UplinkLab
from experiments.uplink.rows import FrameRow, UplinkRun

__all__ = ["ServiceFigures", "UplinkFigures", "figures_of"]


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One service: mean accuracy of all its frames, the part sent, of those the part in time, and Mbit/s."""

    name: str
    accuracy: float
    local: float
    sent: float
    in_time: float
    mbit: float


class UplinkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All services of a run after the warm-up.

    `gain` is weight * fps * (accuracy - local), summed over them; `share` the part of the bound (bound.py). `accuracy` is their mean,
    weighted by weight and rate; `in_time` the part of frames sent whose answer was.
    """

    gain: float
    share: float
    accuracy: float
    in_time: float
    sent: float
    mbit: float
    services: tuple[ServiceFigures, ...]


def figures_of(run: UplinkRun, lab: UplinkLab, case: Case) -> UplinkFigures:
    """The figures of one run."""
    span = lab.seconds - lab.warmup
    rows = [row for row in run.frames if row.captured >= lab.warmup]
    services = tuple(
        _service(case, number, [row for row in rows if row.service == number], span) for number in range(len(case.services))
    )
    worth = [each.weight * each.fps for each in case.services]
    gain = sum(part * (each.accuracy - each.local) for part, each in zip(worth, services))
    sent = [row for row in rows if row.nbytes]
    return UplinkFigures(
        gain=gain, share=gain / run.most if run.most else 1.0,
        accuracy=sum(part * each.accuracy for part, each in zip(worth, services)) / sum(worth),
        in_time=_part(sum(row.in_time for row in sent), len(sent)), sent=_part(len(sent), len(rows)),
        mbit=sum(each.mbit for each in services), services=services,
    )  # fmt: skip


def _service(case: Case, number: int, rows: list[FrameRow], span: float) -> ServiceFigures:
    spec = case.services[number]
    sent = [row for row in rows if row.nbytes]
    return ServiceFigures(
        name=spec.name, accuracy=_part(sum(row.accuracy for row in rows), len(rows), spec.local), local=spec.local,
        sent=_part(len(sent), len(rows)), in_time=_part(sum(row.in_time for row in sent), len(sent)),
        mbit=sum(row.nbytes for row in sent) * 8e-6 / span,
    )  # fmt: skip


def _part(amount: float, of: int, none: float = 0.0) -> float:
    return amount / of if of else none
