"""Whether a frame that is at a server needs its twin, and when: by the predicted chance that no cloud's answer is there in time.

    risk = corrected(S(end) / S(now), how things are)

S is the survival of the time things took over the time predicted for them (arrival.py): of the whole over that of the way to
the receipt, or once that is there of what is left. When the twin begins is the matter of moment.py. What is overdue, and what was
late just before, make a kind of their own: late answers come in runs. The table of those kinds (calibration.py) holds what was
seen, so that the chance is right on average.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from iot_client.racing.arrival import OUT, Arrival
from iot_client.racing.calibration import Bin, Calibration, same
from iot_client.racing.config import ACCEPTED
from iot_client.racing.moment import moment

__all__ = ["Hedge"]

_FEARED = (0.0, 0.2, 0.9)
"""The least chance believed at first of a frame that is under way when all is well, after something was late, and while something is."""
_UNKNOWN = 1.0


class _Raw(NamedTuple):
    late: float
    kind: int
    cloud: int


class _Asked(NamedTuple):
    end: float
    raw: float
    kind: int
    risk: float


class Hedge:
    """What is known of all clouds that race, and how well it foretold.

    Args:
        accepted: the price of a twin, in misses (moment.py).
        clouds: how many entrants are at servers.
    """

    def __init__(self, accepted: float = ACCEPTED, clouds: int = 1) -> None:
        self.accepted = accepted
        self.arrivals = tuple(Arrival() for _ in range(clouds))
        self._asked: OrderedDict[int, list[_Asked]] = OrderedDict()
        """Of each frame what was foretold first, and later if it was another kind, or much more or less."""
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
            self._saw(asked, float(now > asked[0].end))
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
            raw = self._raw(seq, now, asked[0].end)
            self._saw(asked, 1.0 if now >= asked[0].end else self._table.corrected(raw.late, raw.kind))

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

    def begins_at(self, seq: int, now: float, end: float, last: float, in_time: Callable[[float], float]) -> float:
        """When the twin of a frame is to begin, as far as is known now: `now`, later, or never.

        Args:
            last: from when on it is in time by no chance.
            in_time: the chance that a twin begun at a time is.
        """
        late, cloud = self._foretell(seq, now, end)
        missing = self.arrivals[cloud].awaited(seq, now)
        never = missing(end)

        def nothing_by(at: float) -> float:
            """Either it is late, or it is in time and has not come yet."""
            yet = missing(at) - never
            return late + (1.0 - late) * yet / (1.0 - never) if yet > 0.0 else late

        return moment(now, last, self.accepted, late, nothing_by, in_time)

    def risk(self, seq: int, now: float, end: float) -> float:
        """The chance that no cloud's answer to this frame is there at `end`, inclusive."""
        return self._foretell(seq, now, end)[0]

    def calibration(self) -> tuple[Bin, ...]:
        """What was predicted against what was seen."""
        return self._table.bins()

    @property
    def brier(self) -> float:
        """Mean squared error of the risks told, 0 the best."""
        return self._table.brier

    def _foretell(self, seq: int, now: float, end: float) -> tuple[float, int]:
        """The risk, and the cloud it is that of; what is foretold is kept until it is known what came of it."""
        self._look_back(now)
        raw, kind, cloud = self._raw(seq, now, end)
        risk = self._table.corrected(raw, kind)
        if now < end:
            asked = self._asked.setdefault(seq, [])
            if not any(other.kind == kind and same(other.raw, raw) for other in asked):
                asked.append(_Asked(end, raw, kind, risk))
        return risk, cloud

    def _raw(self, seq: int, now: float, end: float) -> _Raw:
        """The least chance of all clouds, and whose it is: they share the device's link, so they are not independent."""
        best = _Raw(_UNKNOWN, OUT, 0)
        for cloud, arrival in enumerate(self.arrivals):
            outlook = arrival.outlook(seq, now, end)
            if outlook is not None:
                late = max(outlook.late, _FEARED[outlook.trouble])
                if late < best.late:
                    best = _Raw(late, 3 * outlook.received + outlook.trouble, cloud)
        return best

    def _look_back(self, now: float) -> None:
        """Frames whose time has passed without an answer were late."""
        while self._asked:
            seq, asked = next(iter(self._asked.items()))
            if now <= asked[0].end:
                return
            del self._asked[seq]
            self._saw(asked, 1.0)

    def _saw(self, asked: list[_Asked], hit: float) -> None:
        for turn, (_, raw, kind, risk) in enumerate(asked):
            self._table.saw(raw, kind, hit, None if turn else risk)
