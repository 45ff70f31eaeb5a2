"""What comes out of a client: one Result per frame, and where the client stands."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import numpy as np

from iot_client.events import Decided, Deliver
from iot_client.outcome import Outcome
from iot_client.racing.scores import RaceScore
from iot_client.splitting.guide import Standing

__all__ = ["Result", "ResultQueue", "Statistics"]


class Result(msgspec.Struct, frozen=True):
    """The one outcome of one frame. Times in seconds.

    `value` is the final value if `outcome` is Done (of a record: a dict of the wanted fields). `device_s` are
    the times of the stages run on the device, in order; `cloud_s` of those run by the server. `item` is the
    captured item if the client keeps items. `variant` is what its stages ran with, "" where the app has none.
    Where local and cloud answers race `entrant` is who gave it ("local", "cloud", "cloud2", ..., "merged", "extrapolated"),
    and `late` is True if that was after the deadline.
    """

    stream: str
    seq: int
    outcome: Outcome
    split: int
    value: Any
    latency: float
    captured_at: float
    device_s: tuple[float, ...] = ()
    cloud_s: tuple[float, ...] = ()
    sent_bytes: int = 0
    codec: str = ""
    item: Any = None
    variant: str = ""
    entrant: str = ""
    late: bool = False

    @classmethod
    def of(cls, command: Deliver, stream: str, value: Any, item: Any) -> Result:
        """What a Deliver brings to whoever reads results."""
        return cls(
            stream, command.seq, command.outcome, command.split, value, command.latency, command.captured_at, command.device_s,
            command.cloud_s, command.sent_bytes, command.codec, item, command.variant, command.entrant,
            command.late,
        )


class Statistics(msgspec.Struct, frozen=True):
    """How a client stands at one moment. `link` is local, down, probing, up or refused; sizes in bytes.

    `damaged` messages came here and were none, or had other buffers than their checksum says. Of a spool, `spooled`
    items wait on disk to enter, and all rows have `spool_bytes`. `twins` are jobs the device began itself because of their
    deadline; `late_results` those of a server that came second. `waiting_for_server` are frames that only a server can go
    on with while there is none.

    Where the split moves by itself, `decided` is its last decision and `standing` what it sees and expects now. Where local and cloud
    answers race, `race` says how that goes and what it costs.
    """

    captured: int
    in_flight: int
    split: int
    window: int
    link: str
    rtt_s: float = 0.0
    server_load: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    resent: int = 0
    late_results: int = 0
    reports_pending: int = 0
    reports_discarded: int = 0
    aggregate: Any = None
    codec: str = "raw"
    decided: Decided | None = None
    standing: Standing | None = None
    damaged: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    twins: int = 0
    waiting_for_server: int = 0
    race: RaceScore | None = None


class ResultQueue:
    """From the loop to the one thread that reads results, with one wake for each turn of the loop.

    `unread` is about the bytes of what is delivered and not read yet.
    """

    def __init__(self) -> None:
        self.read = 0
        self._turn: list[Result] = []
        self._turns: SimpleQueue[list[Result]] = SimpleQueue()
        self._fetched: deque[Result] = deque()
        self._bytes_in = self._bytes_out = 0  # two counters, each written by one thread

    @property
    def unread(self) -> int:
        """Bytes held by results nobody has taken yet, roughly."""
        return self._bytes_in - self._bytes_out

    def add(self, result: Result) -> None:
        """One more of this turn. Loop only."""
        self._bytes_in += _weight(result.value) + _weight(result.item)
        self._turn.append(result)

    def publish(self) -> None:
        """Hand this turn's results over. Loop only."""
        if self._turn:
            self._turns.put(self._turn)
            self._turn = []

    def end(self) -> None:
        """No more will come. Loop only."""
        self.publish()
        self._turns.put([])

    def next(self, timeout: float | None) -> Result | None:
        """The next result; None after the last. Reader only.

        Raises:
            TimeoutError: nothing came in time.
        """
        if not self._fetched:
            try:
                self._fetched.extend(self._turns.get(timeout=timeout))
            except Empty:
                raise TimeoutError(f"no result for {timeout} s") from None
        if not self._fetched:
            return None
        result = self._fetched.popleft()
        self.read += 1
        self._bytes_out += _weight(result.value) + _weight(result.item)
        return result


def _weight(value: Any) -> int:
    """Roughly the bytes a value holds: its arrays and a little more."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 256
    if isinstance(value, dict):
        return 512 + sum(item.nbytes for item in value.values() if isinstance(item, np.ndarray))
    return 256
