"""A tracker that hears late: what a more accurate detector says after a frame's verdict still corrects the tracks.

A late answer is about a frame some frames ago. The tracks are alpha-beta filters, so what a measurement back then changes now is known
exactly: its gain, carried through the filter's own step once for each frame since (an out-of-sequence measurement, see Bar-Shalom,
"Update with out-of-sequence measurements in tracking", IEEE Trans. AES 2002). Nothing that was delivered changes.

A thing that the local detector does not see, but a cloud saw lately, is shown where its track says it is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, centred, cornered
from examples.detection.motion import Motion, Moving
from examples.detection.tracker import ALPHA, BETA, Object, Track, grown

__all__ = ["Follow", "response"]

_Array = np.ndarray[Any, Any]

REMEMBERED = 64
"""Frames for which the tracker knows when they were taken; a later answer is not used."""
FADES = 0.9
"""What is left of a score with each frame in which its object was not seen."""


def response(age: int, unseen: int = 0) -> tuple[float, float]:
    """What a measurement `age` frames ago, off by one pixel then, changes now: of the place, and of the speed per frame.

    K = (ALPHA, BETA) is the filter's gain. In each frame since, an error went through M = (I - K H) F where the thing was seen, and
    through the prediction F alone in the last `unseen` of them, where it was not.
    """
    error = np.array([ALPHA, BETA])
    blind = min(unseen, age)
    place, speed = np.linalg.matrix_power(_BLIND, blind) @ np.linalg.matrix_power(_SEEN, age - blind) @ error
    return float(place), float(speed)


_BLIND = np.array([[1.0, 1.0], [0.0, 1.0]])
_SEEN = np.array([[1 - ALPHA, 1 - ALPHA], [-BETA, 1 - BETA]])


class Follow(Track):
    """Track, with late answers and with what only the clouds saw. Needs `taken` and `by` beside the fields of Track.

    Args:
        names: of the classes, by label.
        motion: where speeds are told.
        grace: frames for which an object without a number goes on unseen: what only late answers see is not in every frame.
        local: what `by` says of the less accurate detector.
        least: score below which a thing not seen now is not shown.
    """

    name = "track"
    parameters = (*Track.parameters, "grace", "least")
    reads = ("detections", "taken", "by")
    writes = ("objects", "entered", "detections")

    def __init__(
        self, names: Sequence[str], motion: Motion, *, grace: int = 3, local: Sequence[str] = ("local", "extrapolated"),
        least: float = 0.3, patience: int = 10,
    ) -> None:
        super().__init__(names, patience=patience)
        self.motion, self.grace, self.local, self.least = motion, grace, tuple(local), least

    def initial(self) -> dict[str, Any]:
        """As Track's; `taken` are the times of the last frames."""
        self.motion.forget()
        return {**super().initial(), "taken": []}

    def run(self, value: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]  # as StatefulTask
        times = state["taken"]
        followed, after = super().run(value, state)
        after["taken"] = [*times[1 - REMEMBERED :], value.taken]
        self.motion.told(_moving(after))
        if value.by in self.local:
            followed = replace(followed, objects=(*followed.objects, *self._unseen(after)))
        return followed, after

    def on_late(self, frame: Any, value: Any, state: dict[str, Any]) -> dict[str, Any]:
        """The state after hearing what a cloud saw in a frame some frames ago; as it is, where that is longer ago than is remembered."""
        found: Detections = value.detections
        age = sum(time > value.taken for time in state["taken"])
        if age >= REMEMBERED:
            return state
        back = grown(state["box"] - age * state["speed"])
        pairs = self.pairs(back, state["label"], found)
        off = np.zeros_like(back)
        seen = centred(found.boxes.astype(np.float64))
        off[list(pairs.keys())] = seen[list(pairs.values())] - back[list(pairs.keys())]
        gains = np.array([response(age, missed) for missed in state["missed"]]).reshape(-1, 2)
        after = {**state, "box": state["box"] + gains[:, :1] * off, "speed": state["speed"] + gains[:, 1:] * off}
        for track, detection in pairs.items():
            after = _sighted(after, track, float(found.scores[detection]), age)
        after = _begun(after, seen, found, sorted(set(range(found.count)) - set(pairs.values())))
        self.number(after)
        return after

    def _unseen(self, state: dict[str, Any]) -> tuple[Object, ...]:
        """Things with a number that are not among this frame's detections, where their tracks say they are."""
        rows = [row for row, missed in enumerate(state["missed"]) if missed and state["id"][row]]
        scores = {row: state["score"][row] * FADES ** state["missed"][row] for row in rows}
        rows = [row for row in rows if scores[row] >= self.least]
        boxes = cornered(grown(state["box"]))[rows].astype(np.float32)
        labels = np.array([state["label"][row] for row in rows], np.int64)
        found = Detections(boxes, np.array([scores[row] for row in rows], np.float32), labels)
        return self.objects(found, [state["id"][row] for row in rows])


def _sighted(state: dict[str, Any], track: int, score: float, age: int) -> dict[str, Any]:
    """A track was seen `age` frames ago, with this score."""
    last = state["missed"][track] <= age
    return {
        **state,
        "seen": _put(state["seen"], track, state["seen"][track] + 1),
        "missed": _put(state["missed"], track, min(state["missed"][track], age)),
        "score": _put(state["score"], track, max(score, state["score"][track]) if last else score),
    }


def _put(rows: list[Any], index: int, value: Any) -> list[Any]:
    return [*rows[:index], value, *rows[index + 1 :]]


def _begun(state: dict[str, Any], seen: _Array, found: Detections, fresh: list[int]) -> dict[str, Any]:
    """A new track, at rest, for each detection in `fresh`."""
    count = len(fresh)
    return {
        **state,
        "box": np.concatenate((state["box"], seen[fresh])),
        "speed": np.concatenate((state["speed"], np.zeros((count, 4)))),
        "label": state["label"] + found.labels[fresh].tolist(),
        "id": state["id"] + [0] * count, "seen": state["seen"] + [1] * count, "missed": state["missed"] + [0] * count,
        "score": state["score"] + found.scores[fresh].tolist(),
    }


def _moving(state: dict[str, Any]) -> Moving:
    times = state["taken"]
    interval = (times[-1] - times[max(0, len(times) - 9)]) / max(1, min(8, len(times) - 1))
    return Moving(state["box"], state["speed"], np.array(state["label"], np.int64), interval)
