"""Detection as a race: a small detector on the device, the largest on a server, and the better answer that is there in time.

    iot-client --app examples.detection:speculative --host 192.0.2.7 --codec jpeg:90 --video seen.mp4
    python -m examples.detection.race           both ways to use it, on scenes with known boxes, and what it was worth

Capture, then a Speculative stage whose alternatives have a letterbox, a network and a decoding of their own, then a tracker that takes
late answers up. The local detector needs numpy and OpenCV only, the clouds' need torch.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace

from examples.detection.answered import annotate
from examples.detection.app import OVERLAP, SCORE, SEED, Capture, Decode, FitPicture, Network, Normalize, Sight
from examples.detection.boxes import Detections
from examples.detection.census import Census
from examples.detection.family import canvas_of, variants
from examples.detection.following import Follow
from examples.detection.merging import union
from examples.detection.motion import Motion
from examples.detection.scenes import CLASSES, FPS
from examples.detection.tracker import Object
from tasks import Aggregate, App, ParameterError, Send, Speculative, Task, Variant, factory

__all__ = ["OWN", "Answer", "CloudNetwork", "Fit", "LocalNetwork", "Take", "app", "detector"]

_Array = np.ndarray[Any, Any]

STAGES = ("stem", "stage1", "stage2", "stage3", "head")
DETECTORS = {variant.name: variant for variant in variants()}
"""The twelve of the detection app, by name."""


class Seen(Sight, frozen=True, omit_defaults=True):
    """What is known of one frame, when it came in, and who answered."""

    taken: float | None = None
    """seconds on the device's monotonic clock"""
    by: str | None = None
    """local, cloud, cloud2, merged or extrapolated"""


class Take(Capture):
    """Capture, with the time at which the frame came in."""

    name = "capture"
    writes = (*Capture.writes, "taken")

    def run(self, item: _Array) -> Seen:
        return Seen(frame=item, size=(int(item.shape[0]), int(item.shape[1])), taken=time.monotonic())


class Fit(FitPicture):
    """The picture at the size this detector's network sees."""

    varies = False
    parameters = ("size",)

    def __init__(self, detector: Variant) -> None:
        self.variant, self.size = detector, detector.parameters["size"]


class LocalNetwork(Task):
    """One stage of the network in numpy: a device needs no torch."""

    parameters = ("stage", "width")
    reads = writes = ("features",)
    accepts = Network.accepts

    def __init__(self, stage: str, detector: Variant) -> None:
        self.name = self.stage = stage
        self.width, self.size = detector.parameters["width"], detector.parameters["size"]
        self._part: Any = None

    def setup(self) -> None:
        from examples.detection.small_engine import part_of

        self._part = part_of(self.stage, self.width)
        self._part.warm(canvas_of(self.size))

    def run(self, item: Seen) -> Seen:
        return replace(item, features=self._part.run([item.features])[0])


class CloudNetwork(Network):
    """One stage of the network in torch, of a detector that is fixed."""

    varies = False
    parameters = ("stage", "width")

    def __init__(self, stage: str, detector: Variant) -> None:
        super().__init__(stage)
        self.variant, self.width = detector, detector.parameters["width"]

    def setup(self) -> None:
        super().setup()
        self.loaded = self.load(self.variant)


class Answer(Decode):
    """What the head saw, as boxes in the captured frame, and who says so."""

    name = "decode"
    parameters = (*Decode.parameters, "by")
    writes = (*Decode.writes, "by")

    def __init__(self, by: str, score: float, overlap: float) -> None:
        super().__init__(score, overlap)
        self.by = by

    def run(self, item: Sight) -> Sight:
        return replace(super().run(item), by=self.by)


def detector(name: str, by: str, *, score: float = SCORE, overlap: float = OVERLAP) -> list[Task]:
    """All stages of one of DETECTORS as an alternative: from the captured frame to detections.

    Args:
        by: what its answers say of who gave them; "local" runs in numpy, others in torch.

    Raises:
        ParameterError: there is no such detector.
    """
    if name not in DETECTORS:
        raise ParameterError(f"detector {name!r}: there is none of that name; legal are {', '.join(DETECTORS)}")
    chosen, network = DETECTORS[name], LocalNetwork if by == "local" else CloudNetwork
    return [Fit(chosen), Normalize(), *(network(stage, chosen) for stage in STAGES), Answer(by, score, overlap)]


def _merged(local: Seen, cloud: Seen, *, trust: float, score: float) -> Seen:
    """Both answers as one."""
    assert local.detections is not None and cloud.detections is not None
    return replace(cloud, detections=union(local.detections, cloud.detections, trust=trust, overlap=OVERLAP, least=score), by="merged")


OWN = ("seed", "fps", "frames", "deadline", "merge", "codec")
"""Parameters that are the device's own; all others must be the same on servers."""


@factory(local=OWN)
def app(
    local: str = "narrow-160", cloud: str = "wide-416", clouds: int = 1, cloud2: str = "wide-224", deadline: float = 0.15,
    prefer: Literal["accuracy", "cloud", "first"] = "accuracy", on_miss: Literal["late", "drop", "extrapolate"] = "late",
    merge: bool = False, codec: str = "", score: float = SCORE, seed: int = SEED, fps: float = FPS, frames: int = 500,
) -> App:
    """Race a small detector here against large ones on servers.

    Args:
        local: the device's detector, WIDTH-SIZE: narrow or wide, and 96, 128, 160, 224, 320 or 416; none: only the clouds answer.
        cloud: that of the first server.
        clouds: how many there are, 1 or 2.
        cloud2: that of the second.
        deadline: seconds after capture.
        prefer: which answers are worth waiting for until then.
        on_miss: what happens where there is none by then; extrapolate moves the last answer on by the tracker's speeds.
        merge: wait for both, and answer the union of what they saw.
        codec: in which frames are sent, whatever the client's codec is.
        score: least score of a detection, 0 to 1.
        seed, fps, frames: of the scene the app renders itself.
    """
    if clouds not in (1, 2):
        raise ParameterError(f"clouds={clouds}: must be 1 or 2")
    motion, trust = Motion(), _trust(local, cloud)
    racing = Speculative(
        local=None if local == "none" else detector(local, "local", score=score),
        cloud=tuple(detector(name, by, score=score) for name, by in ((cloud, "cloud"), (cloud2, "cloud2"))[:clouds]),
        deadline=deadline, prefer=prefer, on_miss=on_miss,
        merge=partial(_merged, trust=trust, score=score) if merge else None,
        extrapolate=motion.onward if on_miss == "extrapolate" else None,
        send_when=partial(_sent, codec) if codec else None,
    )
    stages: list[Task | Aggregate] = [Take(frames, seed, fps), racing, Follow(CLASSES, motion), Census()]
    return App("speculative", stages, types=[Seen, Detections, Object], annotate=annotate)


def _sent(codec: str, value: Seen) -> Send:
    return Send(codec=codec)


def _trust(local: str, cloud: str) -> float:
    """What a score of the local detector is worth in the cloud's: as its accuracy is to that one's."""
    if local not in DETECTORS or cloud not in DETECTORS:
        return 1.0
    return min(1.0, DETECTORS[local].accuracy / max(DETECTORS[cloud].accuracy, 1e-6))
