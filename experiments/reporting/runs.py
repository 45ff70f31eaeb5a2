"""What one run of an experiment leaves behind, whichever body made it: rows to be measured and drawn.

Times are seconds since the run began, which is when the first frame could be captured.
"""

from __future__ import annotations

from typing import Union

import msgspec

from iot_client.events import Decided, Deliver
from iot_client.outcome import Done, Dropped, Filtered
from iot_client.result import Result

__all__ = ["DecisionRow", "FrameRow", "Run", "SampleRow", "decision_row", "ended"]


class FrameRow(msgspec.Struct, frozen=True, gc=False):
    """One captured frame. `outcome` is done, filtered, dropped or failed; `server_s` the seconds its stages took there.

    `score` is how good the answer was against that on the original frame, 0 to 1, -1 where it was not compared.
    """

    device: int
    seq: int
    captured: float
    latency: float
    outcome: str
    where: str = ""
    k: int = 0
    codec: str = ""
    nbytes: int = 0
    server_s: float = 0.0
    score: float = -1.0


class SampleRow(msgspec.Struct, frozen=True, gc=False):
    """How things stood at one moment, four times a second, for one device.

    Rates over the time since the sample before: `cpu` CPU seconds per second of the device's process, `up` and `down`
    bytes per second carried by the link, whose capacity was `capacity` bytes per second. `rate`, `p50`, `p95` and
    `server_s` are what was predicted of the decision in force, -1 where nothing was; `estimate` is the link as the device sees it.
    """

    device: int
    at: float
    k: float = 0.0
    codec: str = ""
    cpu: float = 0.0
    up: float = 0.0
    down: float = 0.0
    capacity: float = 0.0
    load: float = 0.0
    rate: float = -1.0
    p50: float = -1.0
    p95: float = -1.0
    server_s: float = -1.0
    estimate: float = -1.0


class DecisionRow(msgspec.Struct, frozen=True, gc=False):
    """One decision and its reason; `moved` if a cut in use changed."""

    device: int
    at: float
    moved: bool
    met: bool
    text: str
    k: int = 0
    codec: str = ""
    k2: int = 0
    codec2: str = ""
    share: float = 0.0


class Run(msgspec.Struct, frozen=True):
    """One policy with one seed. `facts` are figures of the whole run by name (calibration, CPU given, ...)."""

    lab: str
    body: str
    policy: str
    seed: int
    seconds: float
    frames: tuple[FrameRow, ...]
    samples: tuple[SampleRow, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    facts: dict[str, float] = {}
    notes: tuple[str, ...] = ()


def ended(frame: Union[Deliver, Result]) -> tuple[float, str, str, int, str, int, float]:
    """How a frame ended: the fields of its row from `latency` to `server_s`."""
    outcome, where = frame.outcome, ""
    if isinstance(outcome, Done):
        word, where = "done", outcome.where
    elif isinstance(outcome, Filtered):
        word, where = "filtered", "device" if outcome.stage < frame.split else "cloud"
    else:
        word = "dropped" if isinstance(outcome, Dropped) else "failed"
    return frame.latency, word, where, frame.split, frame.codec, frame.sent_bytes, sum(frame.cloud_s)


def decision_row(device: int, at: float, what: Decided) -> DecisionRow:
    """A decision, as its device told it."""
    return DecisionRow(device, at, what.moved, what.met, what.text, what.k, what.codec, what.k2, what.codec2, what.share)
