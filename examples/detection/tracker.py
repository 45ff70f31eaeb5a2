"""Which detections of successive frames are one object: a tracker in the manner of SORT.

Each track predicts its box by constant velocity, predictions and detections of one class are paired by how much they
overlap, best pair first, and a pair corrects its track. That is SORT (Bewley et al., "Simple online and realtime
tracking", ICIP 2016) with the Kalman filter in its steady state, an alpha-beta filter, and greedy pairs in place of the
optimal ones, which differ from them only where boxes of one class cross. Time is counted in frames that get here.

The state is plain data and `run` depends on nothing else: equal frames give equal tracks, wherever they are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, centred, cornered, iou
from tasks import StatefulTask

__all__ = ["Object", "Track", "grown"]

_Array = np.ndarray[Any, Any]

ALPHA = 0.6
"""Share of what a prediction was off by that corrects the box: a detector's boxes jitter by some pixels, so not all."""
BETA = ALPHA**2 / (2 - ALPHA)
"""The same for its velocity; from ALPHA by Benedict and Bordner (1962), who minimise noise and lag together."""


class Object(msgspec.Struct, frozen=True, omit_defaults=True):
    """One detection as people read it, with the number of its track where it has one."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    """(x1, y1, x2, y2), pixels of the captured frame"""
    id: int | None = None
    """counts from 1 in each stream; None until the track is certain"""


class Track(StatefulTask):
    """Gives each detection the number of its object, and counts the objects that are new.

    Works on records with the fields `detections` (Detections; None afterwards), `objects` (a tuple of Object, in the detections'
    order) and `entered` (objects that got their number in this frame).

    Args:
        names: of the classes, by label; a label beyond them is named by its number.
        overlap: least intersection over union of a prediction and a detection that may be a pair.
        patience: frames for which a track goes on unseen.
        confirm: detections before a track gets its number; less and noise is counted, more and objects are seen late.
    """

    grace = 0
    """Frames for which a track that is not certain yet goes on unseen."""

    parameters: tuple[str, ...] = ("names", "overlap", "patience", "confirm")
    reads: tuple[str, ...] | None = ("detections",)
    writes = ("objects", "entered", "detections")

    def __init__(self, names: Sequence[str] = (), *, overlap: float = 0.3, patience: int = 10, confirm: int = 3) -> None:
        if not 0.0 < overlap < 1.0 or patience < 0 or confirm < 1:
            raise ValueError(f"overlap={overlap}, patience={patience}, confirm={confirm}: legal are 0 < overlap < 1, 0 or more, 1 or more")
        self.names, self.overlap, self.patience, self.confirm = tuple(names), overlap, patience, confirm

    def initial(self) -> dict[str, Any]:
        """One row or item for each track; `next` is the number that the next certain one gets."""
        box = np.zeros((0, 4))
        return {"next": 1, "box": box, "speed": box, "label": [], "id": [], "seen": [], "missed": [], "score": []}

    def run(self, value: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]  # as StatefulTask
        found: Detections = value.detections
        predicted = grown(state["box"] + state["speed"])
        pairs = self.pairs(predicted, state["label"], found)
        fresh = sorted(set(range(found.count)) - set(pairs.values()))
        after = _corrected(state, predicted, pairs, fresh, found)
        self.number(after)
        numbers = dict.fromkeys(range(found.count), 0)
        for track, detection in (*pairs.items(), *enumerate(fresh, start=len(predicted))):
            numbers[detection] = after["id"][track]
        self._forget(after)
        objects = self.objects(found, list(numbers.values()))
        return replace(value, detections=None, objects=objects, entered=after["next"] - state["next"]), after

    def pairs(self, predicted: _Array, labels: list[int], found: Detections) -> dict[int, int]:
        """Detections by track, the best overlap first, of equal ones the older track."""
        agree = iou(cornered(predicted), found.boxes)
        agree[np.array(labels, np.int64)[:, None] != found.labels[None]] = 0.0
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        for flat in np.argsort(-agree, axis=None, kind="stable").tolist():
            track, detection = divmod(flat, found.count)
            if agree[track, detection] < self.overlap:
                break
            if track not in pairs and detection not in taken:
                pairs[track] = detection
                taken.add(detection)
        return pairs

    def number(self, state: dict[str, Any]) -> None:
        """Gives tracks that are certain by now their numbers, in place."""
        for track, seen in enumerate(state["seen"]):
            if state["id"][track] == 0 and seen >= self.confirm:
                state["id"][track] = state["next"]
                state["next"] += 1

    def _forget(self, state: dict[str, Any]) -> None:
        """Tracks unseen for too long; one that is not certain yet must be seen in each frame, as in SORT, but for those of its grace."""
        rows = range(len(state["id"]))
        stay = [row for row in rows if state["missed"][row] <= (self.patience if state["id"][row] else self.grace)]
        for field in ("box", "speed"):
            state[field] = state[field][stay]
        for field in ("label", "id", "seen", "missed", "score"):
            state[field] = [state[field][row] for row in stay]

    def objects(self, found: Detections, numbers: list[int]) -> tuple[Object, ...]:
        """Each of the detections with its number; 0 is none."""
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), numbers)
        return tuple(
            Object(self._name(label), round(score, 4), tuple(round(side, 2) for side in box), number or None)
            for label, score, box, number in rows
        )

    def _name(self, label: int) -> str:
        return self.names[label] if 0 <= label < len(self.names) else str(label)


def grown(boxes: _Array) -> _Array:
    """(cx, cy, w, h) at least a pixel wide and high: a size extrapolated must not vanish."""
    return np.concatenate((boxes[:, :2], np.maximum(boxes[:, 2:], 1.0)), axis=1)


def _corrected(state: dict[str, Any], predicted: _Array, pairs: dict[int, int], fresh: list[int], found: Detections) -> dict[str, Any]:
    """The tracks after this frame, and behind them a new one for each detection in `fresh`."""
    seen = centred(found.boxes.astype(np.float64))
    off = np.zeros_like(predicted)
    off[list(pairs.keys())] = seen[list(pairs.values())] - predicted[list(pairs.keys())]
    count, scores = len(fresh), found.scores.tolist()
    return {
        "next": state["next"],
        "box": np.concatenate((predicted + ALPHA * off, seen[fresh])),
        "speed": np.concatenate((state["speed"] + BETA * off, np.zeros((count, 4)))),
        "label": state["label"] + found.labels[fresh].tolist(),
        "id": state["id"] + [0] * count,
        "seen": [times + (track in pairs) for track, times in enumerate(state["seen"])] + [1] * count,
        "missed": [0 if track in pairs else times + 1 for track, times in enumerate(state["missed"])] + [0] * count,
        "score": [scores[pairs[track]] if track in pairs else last for track, last in enumerate(state["score"])]
        + [scores[row] for row in fresh],
    }
