"""What a simulated run leaves behind: every event and command of every machine, and what no machine says."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from experiments.simulation.scenario import Scenario
from iot_client.splitting.knowledge import Knowledge

__all__ = [
    "Begun", "Broken", "Cancelled", "Died", "Folded", "Handed", "Hung", "Kept", "Learned", "Record", "Spurious",
    "Started", "Stood", "Trace", "Value",
]

Value = tuple[int, int, tuple[Any, ...]]
"""(device, seq, path): a simulated value is the way it took, one (stage, where) for each stage applied.

A stage with state adds the state after this frame: (stage, where, state).
"""


class Record(NamedTuple):
    """At virtual time `at`, `host` heard, did or suffered `what`: an event, a command, or a fact from below.

    `now` is the host's own clock as its machine was told it.
    """

    at: float
    host: str
    what: Any
    now: float = 0.0


class Started(msgspec.Struct, frozen=True, tag=True):
    """A machine began its life; `clock` is what its clock shows more than virtual time."""

    clock: float
    session: int = 0
    epoch: int = 0


class Died(msgspec.Struct, frozen=True, tag=True):
    """The process was killed; its memory is gone."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """A worker begins with a batch."""

    batch: int


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """What a server counts, at the end of a life, of the jobs that were cancelled."""

    before: int
    while_running: int
    wasted: float


class Hung(msgspec.Struct, frozen=True, tag=True):
    """The process stands still for so many seconds."""

    seconds: float


class Spurious(msgspec.Struct, frozen=True, tag=True):
    """The next Tick is one that nobody asked for."""


class Handed(msgspec.Struct, frozen=True, tag=True):
    """The value that went to the user with the Deliver just before."""

    seq: int
    value: Value | None


class Folded(msgspec.Struct, frozen=True, tag=True):
    """The value that went to the aggregate with the Fold just before."""

    seq: int
    value: Value | None


class Kept(msgspec.Struct, frozen=True, tag=True):
    """What a host still keeps at the end, by kind."""

    items: dict[str, list[Any]]


class Stood(msgspec.Struct, frozen=True, tag=True):
    """How a device with a CPU of its own stood: CPU seconds and bytes since its start, and what it expected then.

    The fields from `k` on are those of runs.SampleRow.
    """

    cpu_s: float
    up: int
    down: int
    k: float
    codec: str
    rate: float = -1.0
    p50: float = -1.0
    p95: float = -1.0
    server_s: float = -1.0
    estimate: float = -1.0


class Learned(msgspec.Struct, frozen=True, tag=True):
    """What a device knew at its end."""

    knowledge: Knowledge


class Broken(msgspec.Struct, frozen=True, tag=True):
    """A machine asked for the impossible, or never came to an end."""

    text: str


class Trace(msgspec.Struct):
    """One run: its plan and its records in order."""

    scenario: Scenario
    seed: int
    records: list[Record]
    seconds: float = 0.0
    steps: int = 0

    def digest(self) -> bytes:
        """All records as bytes: equal for equal runs."""
        return "\n".join(f"{at!r} {host} {what!r} {now!r}" for at, host, what, now in self.records).encode()

    def of(self, host: str) -> list[Record]:
        """The records of one host."""
        return [record for record in self.records if record.host == host]
