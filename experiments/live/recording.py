"""What a device of a live run is told, and what it writes down: plain values, one file each way."""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from experiments.lab import GoalSpec
from experiments.reporting.runs import DecisionRow
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["FrameNote", "Pace", "Plan", "Recording", "SampleNote", "Sampler", "Seen", "pack", "say", "told", "unpack"]

SAMPLES_PER_SECOND = 4.0
NAP = 0.1
"""Seconds after which a source that waits looks whether it is closed."""
Packed = tuple[bytes, tuple[bytes, ...]]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a run. `clip` and `shape` are the frames in memory, `rate` 0 means as fast as they are taken,
    `stride` takes every so-many-th frame of the clip, from `offset` on.

    `host` is the server's address, "" for none; `peer` the address of the device, for a server that must connect to it.
    `grace` is how long after `seconds` answers are waited for; `out` the file for the Recording.
    """

    app: str
    policy: str
    clip: str
    shape: tuple[int, int, int, int]
    mode: Literal["live", "lossless"]
    seconds: float
    out: str
    rate: float = 0.0
    stride: int = 1
    offset: int = 0
    start: int = 0
    goal: GoalSpec = GoalSpec()
    workers: int = 1
    device: int = 0
    devices: int = 1
    host: str = ""
    port: int = 5757
    peer: str = ""
    profiles: str = ""
    grace: float = 10.0
    variant: str = ""


class FrameNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One captured frame, `index` its number in the clip; times by time.monotonic(). `value` is packed, None if there is none."""

    seq: int
    index: int
    captured: float
    latency: float
    outcome: str
    where: str = ""
    k: int = 0
    codec: str = ""
    nbytes: int = 0
    server_s: float = 0.0
    value: Packed | None = None


class SampleNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a device stood at `at`; `cpu_s` and bytes since its start, the others as in SampleRow."""

    at: float
    cpu_s: float
    sent: int = 0
    received: int = 0
    k: float = 0.0
    codec: str = ""
    rate: float = -1.0
    p50: float = -1.0
    p95: float = -1.0
    server_s: float = -1.0
    estimate: float = -1.0


class Recording(msgspec.Struct, frozen=True):
    """All that a device wrote down. `skipped` frames were due and never read; times by time.monotonic().

    `stages` are the CPU seconds of each stage per frame as the client has learned them, the first with all that is around them.
    """

    frames: tuple[FrameNote, ...]
    samples: tuple[SampleNote, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    skipped: int = 0
    cpu_s: float = 0.0
    notes: tuple[str, ...] = ()
    stages: tuple[float, ...] = ()


Seen = Callable[[], tuple[Any, ...]]
"""What a sample holds besides the time and the CPU: the fields of SampleNote from `sent` on."""


class Pace:
    """Which frame is due next, by absolute time: frame i at i / rate after the start, until `seconds` are over.

    A live source that comes late gets the newest one due, as of a camera; a lossless one every frame.

    Attributes:
        indices: the frames given out, by seq. skipped: how many were due and not given out.
    """

    def __init__(self, plan: Plan) -> None:
        self._live = plan.mode == "live"
        self._period = 1.0 / plan.rate if plan.rate else 0.0
        self._seconds = plan.seconds
        self._stride, self._offset = plan.stride, plan.offset
        self._next = 0
        self._playing, self._over = threading.Event(), threading.Event()
        self._began = 0.0
        self.indices = array("q")
        self.skipped = 0

    def play(self, began: float) -> None:
        """Starts it, at a time of time.monotonic()."""
        self._began = began
        self._playing.set()

    def close(self) -> None:
        """Nothing is due any more."""
        self._over.set()
        self._playing.set()

    def due(self) -> tuple[int, float]:
        """Waits for the next frame: its index and when it was due; (-1, 0.0) if there is none any more."""
        self._playing.wait()
        index, now = self._next, time.monotonic()
        at = now
        if self._period:
            if self._live:
                index = max(index, int((now - self._began) / self._period))
            at = self._began + index * self._period
            self._sleep(at)
        if self._over.is_set() or at >= self._began + self._seconds:
            return -1, 0.0
        self.skipped += index - self._next
        self._next = index + 1
        self.indices.append(index * self._stride + self._offset)
        return self.indices[-1], at

    def _sleep(self, until: float) -> None:
        """Like waiting for `_over`, which costs a weak device twice the CPU."""
        while (left := until - time.monotonic()) > 0 and not self._over.is_set():
            time.sleep(min(left, NAP))


class Sampler(threading.Thread):
    """Takes SAMPLES_PER_SECOND notes of this process until stopped."""

    def __init__(self, began: float, seen: Seen) -> None:
        super().__init__(name="sampler", daemon=True)
        self._began, self._seen = began, seen
        self._stopping = threading.Event()
        self._taken: list[tuple[float, float, tuple[Any, ...]]] = []

    def run(self) -> None:
        due, period = self._began, 1.0 / SAMPLES_PER_SECOND
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._taken.append((time.monotonic(), time.process_time(), self._seen()))
            due += period

    def stop(self) -> tuple[SampleNote, ...]:
        """Ends it; what it has noted."""
        self._stopping.set()
        self.join()
        return tuple(SampleNote(at, cpu, *seen) for at, cpu, seen in self._taken)


def pack(packer: Packer, value: Any) -> Packed | None:
    """A result's value in bytes; None where it cannot travel."""
    try:
        payload = packer.pack(value)
    except Exception:  # a value of a type that is not registered stays on the device
        return None
    return bytes(payload.head), tuple(bytes(buffer) for buffer in payload.buffers)


def unpack(packer: Packer, packed: Packed) -> Any:
    """The value again."""
    return packer.unpack(Payload(packed[0], packed[1]))


def say(line: str) -> None:
    """One line to the owner."""
    print(line, flush=True)


def told(word: str) -> str:
    """The rest of the owner's next line, which must start with the word; SystemExit where the owner is gone."""
    line = sys.stdin.readline().rstrip("\n")
    if not line.startswith(word):
        raise SystemExit(f"waited for {word!r}, was told {line!r}")
    return line.removeprefix(word).strip()
