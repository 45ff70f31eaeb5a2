"""The figures of races: misses, accuracy, who won, and what the twins and the losers cost."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from experiments.speculation.lab import SpeculationLab
from experiments.speculation.rows import BinRow, FrameRow, RaceRun

__all__ = ["RaceFigures", "figures_of", "in_time", "is_good", "pooled", "relative_cpu"]

_BEFORE, _AFTER = 1.0, 1.0
"""Seconds around an outage in which the link does not count as good."""


class RaceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of the frames after the warm-up. A miss is a frame without an answer at its deadline, whatever became of it.

    `accuracy` counts a miss as 0; `good_accuracy` is that of frames more than a second from any outage. `local_share` and
    `cloud_share` are the parts of all frames whose answer in time was of that entrant. Per frame: `local_ms` of the small model here,
    `cloud_ms` of the large one, of which `wasted_ms` was for answers that did not stand, and `bytes` sent.
    """

    frames: int
    miss_rate: float
    accuracy: float
    good_accuracy: float
    local_share: float
    cloud_share: float
    twins: float
    local_ms: float
    cloud_ms: float
    wasted_ms: float
    bytes: float
    p50: float
    p99: float
    brier: float


def figures_of(run: RaceRun, lab: SpeculationLab) -> RaceFigures:
    """The figures of one run."""
    frames = [frame for frame in run.frames if frame.captured >= lab.warmup]
    count = len(frames) + run.unread
    worth = {"local": lab.local_accuracy, "cloud": lab.cloud_accuracy}
    due = run.deadline_ms / 1e3 + run.grace_s
    good = [frame for frame in frames if is_good(frame, run)]
    latencies = sorted(frame.latency for frame in frames if frame.outcome == "done")
    won = [frame.entrant for frame in frames if in_time(frame, due)]
    return RaceFigures(
        frames=count, miss_rate=1 - len(won) / count, accuracy=sum(worth[entrant] for entrant in won) / count,
        good_accuracy=sum(worth[frame.entrant] for frame in good if in_time(frame, due)) / max(1, len(good)),
        local_share=won.count("local") / count, cloud_share=won.count("cloud") / count,
        twins=sum(frame.local_s > 0.0 for frame in frames) / count, local_ms=1e3 * sum(frame.local_s for frame in frames) / count,
        cloud_ms=1e3 * sum(frame.cloud_s for frame in frames) / count,
        wasted_ms=1e3 * sum(frame.cloud_s for frame in frames if not (in_time(frame, due) and frame.entrant == "cloud")) / count,
        bytes=sum(frame.sent_bytes for frame in frames) / count, p50=_quantile(latencies, 0.5), p99=_quantile(latencies, 0.99),
        brier=run.brier,
    )  # fmt: skip


def in_time(frame: FrameRow, deadline: float) -> bool:
    """True if it was answered within `deadline` seconds; at the deadline is in time."""
    return frame.outcome == "done" and frame.latency <= deadline + 1e-9


def is_good(frame: FrameRow, run: RaceRun) -> bool:
    """True if the link was up around it."""
    return not any(start - _BEFORE <= frame.captured < start + seconds + _AFTER for start, seconds in run.cuts)


def pooled(bins: Sequence[BinRow]) -> tuple[BinRow, ...]:
    """The bins of several runs as one set: those whose means lie in the same half of a decade are joined."""
    edges = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    found = []
    for low, high in zip((0.0, *edges), edges):
        here = [each for each in bins if low < each.predicted <= high]
        frames = sum(each.frames for each in here)
        if frames:
            predicted = sum(each.predicted * each.frames for each in here) / frames
            found.append(BinRow(predicted, sum(each.seen * each.frames for each in here) / frames, frames))
    return tuple(found)


def relative_cpu(own: RaceFigures, always: RaceFigures | None) -> float:
    """The device CPU of the small model, as a part of what running both always takes; NaN where that was not run."""
    return own.local_ms / always.local_ms if always is not None and always.local_ms else float("nan")


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
