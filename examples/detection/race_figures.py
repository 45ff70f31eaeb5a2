"""What a race was worth: whose answers stood and how soon, what was found, and what it cost. No clock and no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import msgspec
import numpy as np

from examples.detection.boxes import NOTHING, Detections
from examples.detection.scenes import CLASSES, Thing
from iot_client import Result
from iot_client.outcome import Done

__all__ = ["ORDER", "Answered", "Figures", "Share", "as_detections", "figures", "found_in_time", "shares"]

_KINDS = {name: kind for kind, name in enumerate(CLASSES)}
ORDER = ("cloud", "cloud2", "merged", "local", "extrapolated", "nobody")
"""In which answerers are listed."""


class Answered(msgspec.Struct, frozen=True):
    """What became of one frame."""

    seq: int
    by: str
    """a key of answered.COLOURS; nobody: there is no answer"""
    late: bool
    latency: float
    """seconds from capture to the answer"""
    objects: tuple[Any, ...]
    reason: str = ""
    """why there is none"""
    sent: int = 0
    """bytes"""
    cloud_s: float = 0.0
    """server seconds in the answer"""

    @classmethod
    def of(cls, result: Result) -> Answered:
        """What a client's result says."""
        cloud_s, sent = sum(result.cloud_s), result.sent_bytes
        if not isinstance(result.outcome, Done):
            reason = getattr(result.outcome, "reason", "") or getattr(result.outcome, "error", "") or "filtered"
            return cls(result.seq, "nobody", False, result.latency, (), reason, sent, cloud_s)
        objects = tuple(result.value.get("objects") or ())
        by = result.value.get("by") or result.entrant or "local"
        return cls(result.seq, by, result.late, result.latency, objects, "", sent, cloud_s)


class Share(msgspec.Struct, frozen=True):
    """One answerer's part in a run."""

    by: str
    won: int
    share: float
    """of all frames, 0 to 1"""
    median: float
    """seconds from capture to answer"""
    slowest: float
    """the same, of 99 of 100 of them"""


class Figures(msgspec.Struct, frozen=True):
    """A whole run."""

    frames: int
    shares: list[Share]
    misses: int
    """frames without an answer at their deadline: late, extrapolated or given up"""
    late: int
    """of these, answered later"""
    extrapolated: int
    given_up: int
    reasons: dict[str, int]
    """why, of those given up"""


def shares(answers: Sequence[Answered]) -> list[Share]:
    """Of each answerer that answered, in ORDER."""
    found = []
    for by in ORDER:
        times = [each.latency for each in answers if each.by == by]
        if times:
            found.append(Share(by, len(times), len(times) / len(answers), median(times), float(np.percentile(times, 99))))
    return found


def figures(answers: Sequence[Answered]) -> Figures:
    """Of one run's answers."""
    late = sum(each.late for each in answers)
    extrapolated = sum(each.by == "extrapolated" for each in answers)
    lost = [each.reason for each in answers if each.by == "nobody"]
    reasons = {reason: lost.count(reason) for reason in dict.fromkeys(lost)}
    return Figures(len(answers), shares(answers), late + extrapolated + len(lost), late, extrapolated, len(lost), reasons)


def as_detections(objects: Iterable[Any]) -> Detections:
    """The objects of a result as the evaluator takes them."""
    rows = list(objects)
    if not rows:
        return NOTHING
    boxes = np.array([each.box for each in rows], np.float32)
    return Detections(boxes, np.array([each.score for each in rows], np.float32), np.array([_KINDS[each.label] for each in rows], np.int64))


def found_in_time(answers: Sequence[Answered], truth: Sequence[list[Thing]]) -> tuple[list[list[Thing]], list[Detections]]:
    """What could be seen in each frame, and what was said of it by its deadline: of a late answer, or none, nothing."""
    seen = {each.seq: as_detections(each.objects) for each in answers if not each.late}
    return list(truth), [seen.get(seq, NOTHING) for seq in range(len(truth))]
