"""Whether a frame that is at a server needs its twin: the predicted chance that no cloud's answer is there in time.

    risk = corrected(S(end) / S(now), how things are)

S is the survival of the time answers took over the time predicted for them (arrival.py): of the whole way, or once
the receipt is there of what is left. What is overdue, and what was late just before, make a kind of their own: late answers
come in runs. The table of those kinds (calibration.py) holds what was seen, so that the chance is right on average.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from iot_client.racing.arrival import OUT, Arrival
from iot_client.racing.calibration import Bin, Calibration
from iot_client.racing.config import ACCEPTED

__all__ = ["Hedge"]

_FEARED = (0.0, 0.2, 0.9)
"""The least chance believed at first of a frame that is under way when all is well, after something was late, and while something is."""
_UNKNOWN = 1.0


class _Asked(NamedTuple):
    end: float
    raw: float
    kind: int
    risk: float


class Hedge:
    """What is known of all clouds that race, and how well it foretold.

    Args:
        accepted: the risk up to which no twin is begun.
        clouds: how many entrants are at servers.
    """

    def __init__(self, accepted: float = ACCEPTED, clouds: int = 1) -> None:
        self.accepted = accepted
        self.arrivals = tuple(Arrival() for _ in range(clouds))
        self._asked: OrderedDict[int, _Asked] = OrderedDict()
        self._table = Calibration()

    # -- what is seen ------------------------------------------------------------------------------

    def sent(self, seq: int, nbytes: int, now: float, cloud: int = 0) -> None:
        """A frame's job left for this cloud."""
        self.arrivals[cloud].sent(seq, nbytes, now)

    def receipt(self, seq: int, held: float, now: float, cloud: int = 0) -> None:
        """The server has it, for `held` seconds."""
        self.arrivals[cloud].receipt(seq, held, now)

    def answered(self, seq: int, held: float, now: float, cloud: int = 0) -> None:
        """An answer is there; it was at the server for `held` seconds."""
        self.arrivals[cloud].answered(seq, held, now)
        asked = self._asked.pop(seq, None)
        if asked is not None:
            self._table.saw(asked.raw, asked.kind, asked.risk, float(now > asked.end))
        self._look_back(now)

    def lost(self, seq: int, cloud: int = 0) -> None:
        """This cloud will not answer it, or is not waited for any more."""
        self.arrivals[cloud].lost(seq)

    def decided(self, seq: int, now: float) -> None:
        """The frame has its answer, or none. Where no cloud had answered before its end, it counts as the chance it still had.

        (As censored samples do: Efron, "The two sample problem with censored data", 1967, gives their weight to what lies beyond.)
        """
        for arrival in self.arrivals:
            arrival.decided(seq, now)
        asked = self._asked.pop(seq, None)
        if asked is not None:
            left = 1.0 if now >= asked.end else self._table.corrected(*self._raw(seq, now, asked.end))
            self._table.saw(asked.raw, asked.kind, asked.risk, left)

    def beat(self, now: float, cloud: int = 0) -> None:
        """A heartbeat left for this cloud."""
        self.arrivals[cloud].beat(now)

    def beaten(self, round_trip: float, now: float, cloud: int = 0) -> None:
        """One came back."""
        self.arrivals[cloud].beaten(round_trip, now)

    def link(self, up: bool, cloud: int = 0) -> None:
        """The link to this cloud broke, or stands again."""
        self.arrivals[cloud].up(up)

    # -- what follows ------------------------------------------------------------------------------

    def wants(self, seq: int, now: float, end: float) -> bool:
        """True if the twin of a frame is to begin now, which is the last moment at which it will be in time."""
        return self.risk(seq, now, end) > self.accepted

    def risk(self, seq: int, now: float, end: float) -> float:
        """The chance that no cloud's answer to this frame is there at `end`, inclusive."""
        self._look_back(now)
        raw, kind = self._raw(seq, now, end)
        risk = self._table.corrected(raw, kind)
        if seq not in self._asked and now < end:
            self._asked[seq] = _Asked(end, raw, kind, risk)
        return risk

    def look_again_at(self, seq: int) -> float:
        """When what is missing of a frame will be overdue, at the cloud that is expected first."""
        return min((arrival.overdue_at(seq) for arrival in self.arrivals), default=float("inf"))

    def calibration(self) -> tuple[Bin, ...]:
        """What was predicted against what was seen."""
        return self._table.bins()

    @property
    def brier(self) -> float:
        """Mean squared error of the risks told, 0 the best."""
        return self._table.brier

    def _raw(self, seq: int, now: float, end: float) -> tuple[float, int]:
        """The least chance of all clouds: they share the device's link, so they are not independent."""
        best, kind = _UNKNOWN, OUT
        for arrival in self.arrivals:
            outlook = arrival.outlook(seq, now, end)
            if outlook is not None:
                late = max(outlook.late, _FEARED[outlook.trouble])
                if late < best:
                    best, kind = late, 3 * outlook.received + outlook.trouble
        return best, kind

    def _look_back(self, now: float) -> None:
        """Frames whose time has passed without an answer were late."""
        while self._asked:
            seq, asked = next(iter(self._asked.items()))
            if now <= asked.end:
                return
            del self._asked[seq]
            self._table.saw(asked.raw, asked.kind, asked.risk, 1.0)
