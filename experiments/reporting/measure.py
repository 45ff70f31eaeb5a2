"""What a run amounts to: rates, latencies, costs, moves and the quality of predictions, from its rows alone.

A frame counts as answered when it is done or filtered, at the time its answer was delivered. Rates are those of one
device: the mean over devices, and in windows the slowest one's. All but `outcomes`, `moves` and the times of the
target leave out what was captured or sampled during the warm-up. A figure for which a run has no rows is None.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

import msgspec

from experiments.lab import Lab
from experiments.reporting.changes import answers_to, changes_of
from experiments.reporting.runs import Run, SampleRow
from iot_client.splitting.ways import FLOATS

__all__ = ["ANSWERED", "NEAR", "Figures", "Spread", "measure", "quality_of", "quantile", "rates", "spreads", "target_of"]

ANSWERED = frozenset({"done", "filtered"})
WINDOW, STEP = 5.0, 0.25
"""Seconds of a window in which frames are counted, and from one window to the next."""
NEAR = 0.98
"""Of the target, which a window has to reach: one frame more or less in a window at 17 fps is 1.2 %."""
AHEAD = 2.0
"""Seconds for which a prediction is held against what came."""
_FEW = 5
"""Answered frames below which a median of those ahead says nothing."""
_REDUCED = 0.5
"""What a reduced picture's quality counts, as in iot_client/splitting/ways.py."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run in numbers; None where it has no answer.

    `fps` answered frames per second; `steady` the share of windows of 5 s that reach the target, `reached_s` the
    moment from which a window first did, `held_s` from which all did. `in_time` and `in_time_share` count frames by
    their deadline; late, dropped and skipped ones (due from a paced source, but never read) are misses. Latencies in
    seconds. `server_s` per answered frame, what was spent on others included. `cpu` CPU seconds per second,
    `cpu_share` of what the device was given. `moves` of cuts, `moves_per_change` of link or load; `answer_s` the
    median, `slowest_answer_s` the longest time from a change to the next decision. `link_use` is the share of the
    capacity used while the link was the limit. `quality` 0 to 100, `score` 0 to 1. `p50_error` and `p95_error` are
    medians of |predicted - actual| / actual.
    """

    fps: float
    steady: float | None
    reached_s: float | None
    held_s: float | None
    in_time: float
    in_time_share: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    server_s: float | None
    cpu: float | None
    cpu_share: float | None
    moves: int
    changes: int
    moves_per_change: float | None
    answer_s: float | None
    slowest_answer_s: float | None
    link_use: float | None
    quality: float | None
    score: float | None
    p50_error: float | None
    p95_error: float | None
    outcomes: dict[str, int]


class Spread(msgspec.Struct, frozen=True):
    """One figure over the seeds of a policy."""

    middle: float
    low: float
    high: float


def measure(run: Run, lab: Lab) -> Figures:
    """The figures of one run of this experiment."""
    begin, end = min(lab.warmup, run.seconds), run.seconds
    count = _devices(run)
    captured = [row for row in run.frames if row.captured >= begin]
    answered = [row for row in captured if row.outcome in ANSWERED]
    in_time = [row for row in answered if row.latency <= lab.deadline]
    latencies = sorted(row.latency for row in answered)
    samples = [row for row in run.samples if row.at >= begin]
    starts, reached = _windows(run, target_of(lab))
    after = [near for at, near in zip(starts, reached) if at >= begin]
    changes = changes_of(lab, run.seed, run.seconds, run.facts.get("trace_began", 0.0))
    answers = answers_to(changes, [row.at for row in run.decisions])
    moves = sum(row.moved for row in run.decisions)
    cpu, given = _mean(row.cpu for row in samples), run.facts.get("cpu_given", 0.0)
    return Figures(
        fps=len(_times(run, begin)) / max(end - begin, 1e-9) / count,
        steady=_mean(map(float, after)),
        reached_s=next((at for at, near in zip(starts, reached) if near), None),
        held_s=_held(starts, reached),
        in_time=len(in_time) / max(end - begin, 1e-9) / count,
        in_time_share=_share(len(in_time), max(len(captured), _due(run, lab, end - begin) * count)),
        p50=quantile(latencies, 0.5), p95=quantile(latencies, 0.95), p99=quantile(latencies, 0.99),
        server_s=_share(sum(row.server_s for row in captured), len(answered)),
        cpu=cpu, cpu_share=None if cpu is None else _share(cpu, given),
        moves=moves, changes=len(changes), moves_per_change=_share(moves / count, len(changes)),
        answer_s=median(answers) if answers else None, slowest_answer_s=max(answers, default=None),
        link_use=_link_use(run, samples, target_of(lab)),
        quality=_mean(float(quality_of(row.codec)) for row in answered),
        score=_mean(row.score for row in answered if row.score >= 0),
        p50_error=_error(run, samples, 0.5), p95_error=_error(run, samples, 0.95),
        outcomes=_outcomes(run, lab.deadline),
    )  # fmt: skip


def spreads(figures: Sequence[Figures]) -> dict[str, Spread]:
    """Median, least and most of each figure over the seeds that have it."""
    found = {}
    for name in Figures.__struct_fields__:
        values = [getattr(one, name) for one in figures]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if numbers:
            found[name] = Spread(median(numbers), min(numbers), max(numbers))
    return found


def target_of(lab: Lab) -> float:
    """The rate a device is to reach: the goal's, else the source's, else 0."""
    return lab.goal.fps or lab.rate


def quality_of(codec: str) -> int:
    """What is left of the picture, 0 to 100: a JPEG's quality, half of it where reduced, 100 of all that loses nothing.

    Floats in fewer bits count as the choice of the split counts them.
    """
    family, _, detail = codec.partition(":")
    if family != "jpeg" or not detail:
        return FLOATS.get(family, 100)
    quality, reduced, _ = detail.partition("@")
    return int(int(quality) * (_REDUCED if reduced else 1.0))


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """Of sorted values, interpolated between the two nearest ranks; None of none."""
    if not ordered:
        return None
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def rates(times: Sequence[float], starts: Iterable[float], width: float) -> list[float]:
    """How many of the sorted times lie in [start, start + width), per second, for each start."""
    return [(bisect_left(times, at + width) - bisect_left(times, at)) / width for at in starts]


def _times(run: Run, begin: float = 0.0, device: int | None = None) -> list[float]:
    """When answers came, from `begin` until the end of the run, in order."""
    times = (row.captured + row.latency for row in run.frames if row.outcome in ANSWERED and device in (None, row.device))
    return sorted(time for time in times if begin <= time <= run.seconds)


def _devices(run: Run) -> int:
    return max(1, len({row.device for row in run.frames} | {row.device for row in run.samples}))


def _windows(run: Run, target: float) -> tuple[list[float], list[bool]]:
    """The starts of all windows, and whether the slowest device reached the target in each; none without a target."""
    if not target or run.seconds < WINDOW:
        return [], []
    starts = [index * STEP for index in range(int((run.seconds - WINDOW) / STEP + 1e-9) + 1)]
    devices = sorted({row.device for row in run.frames}) or [0]
    found = [rates(_times(run, device=device), starts, WINDOW) for device in devices]
    return starts, [min(rate) >= NEAR * target for rate in zip(*found)]


def _held(starts: Sequence[float], reached: Sequence[bool]) -> float | None:
    held = None
    for at, near in zip(reversed(starts), reversed(reached)):
        if not near:
            break
        held = at
    return held


def _due(run: Run, lab: Lab, seconds: float) -> int:
    """Frames that each device's source had in so many seconds, also those that were never read; the edges' ones left out."""
    if lab.mode == "live" and lab.rate:
        return int(lab.rate * seconds) - 1
    frames = len(run.frames) + run.facts.get("skipped", 0.0)
    return int(frames / _devices(run) * seconds / max(run.seconds, 1e-9)) - 1


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None


def _link_use(run: Run, samples: Sequence[SampleRow], target: float) -> float | None:
    """Bytes carried over those the link could carry, at the samples where something is sent and the link is the limit.

    That is taken to be so while pictures lose quality, or answers come below the target.
    """
    used = capacity = 0.0
    answers: Mapping[int, list[float]] = {device: _times(run, device=device) for device in {row.device for row in samples}}
    for row in samples:
        (rate,) = rates(answers[row.device], (row.at - 1.0,), 1.0)
        if row.up > 0 and row.capacity > 0 and (quality_of(row.codec) < 100 or rate < NEAR * target):
            used += row.up
            capacity += row.capacity
    return _share(used, capacity)


def _error(run: Run, samples: Sequence[SampleRow], q: float) -> float | None:
    """The median relative error of a predicted quantile against that of the frames captured in the 2 s after."""
    ahead: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in sorted(run.frames, key=lambda row: row.captured):
        if row.outcome in ANSWERED:
            ahead[row.device].append((row.captured, row.latency))
    errors = []
    for sample in samples:
        predicted = sample.p50 if q == 0.5 else sample.p95
        frames = ahead[sample.device]
        low, high = (bisect_right(frames, (sample.at + wait, -1.0)) for wait in (0.0, AHEAD))
        actual = quantile(sorted(latency for _, latency in frames[low:high]), q)
        if predicted >= 0 and actual and high - low >= _FEW and sample.at + AHEAD <= run.seconds:
            errors.append(abs(predicted - actual) / actual)
    return median(errors) if errors else None


def _outcomes(run: Run, deadline: float) -> dict[str, int]:
    """Frames by outcome; "late" are those of the answered ones past the deadline, "skipped" were never read."""
    counts = Counter(row.outcome for row in run.frames)
    late = sum(row.outcome in ANSWERED and row.latency > deadline for row in run.frames)
    return {**{name: counts[name] for name in sorted(counts)}, "late": late, "skipped": round(run.facts.get("skipped", 0.0))}
