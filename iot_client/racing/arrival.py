"""When a server's answers come: what is predicted of each job, how late they were, and whether something is overdue now."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from iot_client.racing.survival import Survival
from metrics.estimate import Ewma
from metrics.linkrate import LinkRate

__all__ = ["CALM", "OUT", "SHAKEN", "Arrival", "Outlook"]

CALM, SHAKEN, OUT = range(3)
"""All came as usual lately; something was late, and too few were in time since; something is overdue now."""

_MEMORY = 1000.0
"""Answers: about a minute at 15 per second."""
_GRAIN = 0.005
"""Seconds added to what is compared: threads and clocks, so that a server of 1 ms that takes 3 is not three times as late."""
_USUAL = 0.02
"""Of the answers, those that are later than this share of all are overdue."""
_AGAIN = 16
"""Answers after which the bound for that is looked at again."""
_CAUTION = 4
"""Answers in time in a row after which a late one is forgotten: late ones come in runs, and an outage's end lets a queue through."""
_SETTLED = 64
"""Answers: so many are taken for usual at first, whatever they are, and so many late ones in a row are no outage but how things are now."""
_LATER = 2.0 ** (1 / 6)
"""How much later than by now something comes that has not come yet and will not be waited for: the middle of a tail x ** -6."""
_BEAT = 0.05
"""Seconds beyond twice the round trip after which a heartbeat is overdue."""


class Outlook(NamedTuple):
    """What is to be expected of one job: the chance that it is late, if its receipt is there, and how things are on its way."""

    late: float
    received: bool
    trouble: int


class _Job:
    __slots__ = ("calm", "counted", "known", "rest", "sent_at", "takes", "there_at", "way")

    def __init__(self, sent_at: float, way: float, rest: float, calm: bool, known: bool) -> None:
        self.sent_at = sent_at
        self.way = way
        self.rest = rest
        self.takes = way + rest
        self.calm = calm
        self.known = known
        self.counted = False
        self.there_at = -1.0


class Arrival:
    """The jobs of one server without an answer, and how long answers took.

    A job is predicted when it leaves: the bytes ahead of it and its own at the link's rate and one round trip, which is its way
    until the receipt, and the time jobs were held there lately. How it compares goes into three histories: of its way, of what
    came after the receipt, and of all its time. Jobs that left in trouble go into none, unless it lasts: an outage is no longer
    road, and is known by what is overdue.
    """

    def __init__(self) -> None:
        self.link = LinkRate()
        self._jobs: dict[int, _Job] = {}
        self._way, self._rest, self._whole = Survival(_MEMORY), Survival(_MEMORY), Survival(_MEMORY)
        self._held = Ewma(1 / 8)
        self._limits = [2.0, 2.0, 2.0]
        """Of these, in this order."""
        self._answers = 0
        self._in_time = self._late = 0
        self._up = True
        self._free_at = 0.0
        self._beat_at = -1.0

    # -- what is seen ------------------------------------------------------------------------------

    def sent(self, seq: int, nbytes: int, now: float) -> None:
        """A job left."""
        rate, rest = self.link.rate(now), self._held.value or 0.0
        self._free_at = max(now, self._free_at) + (nbytes / rate if rate else 0.0)
        way = self._free_at - now + self.link.min_rtt(now)
        self._jobs.pop(seq, None)
        self._jobs[seq] = _Job(now, way, rest, self.trouble(now) == CALM, rate > 0.0 and self._answers > 0)
        self.link.sent(seq, nbytes, now)

    def receipt(self, seq: int, held: float, now: float) -> None:
        """The server has it, for `held` seconds."""
        self.link.received(seq, now, held=held)
        job = self._jobs.get(seq)
        if job is not None and job.there_at < 0.0:
            self._arrived(job, now - held)

    def answered(self, seq: int, held: float, now: float) -> None:
        """Its answer is there, after `held` seconds at the server."""
        self.link.received(seq, now, held=held)
        job = self._jobs.pop(seq, None)
        if job is None:
            return
        if job.there_at < 0.0:
            self._arrived(job, now - held)
        self._held.add(held)
        if not job.counted:
            self._count(job, now, 1.0)

    def lost(self, seq: int) -> None:
        """No answer to it will come, or none is waited for. Its bytes are on the link all the same."""
        self._jobs.pop(seq, None)

    def decided(self, seq: int, now: float) -> None:
        """Its frame needs no answer any more: all that will be known of this one is that it takes longer than this."""
        job = self._jobs.get(seq)
        if job is not None and not job.counted:
            if now - job.sent_at > job.takes:
                self._count(job, now, _LATER)
            job.counted = True

    def up(self, up: bool) -> None:
        """The link broke, or stands again; what was on it is lost."""
        if not up:
            self._jobs.clear()
            self.link.reset()
            self._in_time, self._free_at, self._beat_at = 0, 0.0, -1.0
        self._up = up

    def beat(self, now: float) -> None:
        """A heartbeat left."""
        if self._beat_at < 0.0:
            self._beat_at = now

    def beaten(self, round_trip: float, now: float) -> None:
        """One came back."""
        self._beat_at = -1.0
        self.link.round_trip(round_trip, now)

    # -- what follows ------------------------------------------------------------------------------

    def outlook(self, seq: int, now: float, end: float) -> Outlook | None:
        """What is to be expected of a job at `end`; None of one that is not under way."""
        job = self._jobs.get(seq)
        if job is None:
            return None
        if job.there_at >= 0.0:
            late = self._rest.later(_ratio(end - job.there_at, job.rest), _ratio(now - job.there_at, job.rest))
            return Outlook(late, True, self.trouble(now))
        late = self._whole.share(_ratio(end - job.sent_at, job.takes)) / self._way.share(_ratio(now - job.sent_at, job.way))
        return Outlook(min(1.0, late), False, self.trouble(now))

    def awaited(self, seq: int, now: float) -> Callable[[float], float]:
        """Of a job, by time: the chance that what is missing of it now, its receipt or its answer, is missing then too."""
        job = self._jobs.get(seq)
        if job is None:
            return lambda at: 1.0
        history, since, predicted = (self._rest, job.there_at, job.rest) if job.there_at >= 0.0 else (self._way, job.sent_at, job.way)
        age, beyond = _ratio(now - since, predicted), history.beyond
        left = beyond(age)

        def missing(at: float) -> float:
            ratio = _ratio(at - since, predicted)
            return beyond(ratio) / left if ratio > age else 1.0

        return missing

    def trouble(self, now: float) -> int:
        """CALM, SHAKEN or OUT."""
        if not self._up or self._silent(now) or (self._jobs and self._overdue(next(iter(self._jobs.values())), now)):
            return OUT
        return SHAKEN if self._in_time < _CAUTION else CALM

    def _count(self, job: _Job, now: float, times: float) -> None:
        """One that took so long, or `times` as long."""
        whole = _ratio(now - job.sent_at, job.takes) * times
        if job.known and (job.calm or self._late >= _SETTLED or self._answers < _SETTLED):
            self._whole.add(whole)
            if job.there_at >= 0.0:
                self._way.add(_ratio(job.there_at - job.sent_at, job.way))
                self._rest.add(_ratio(now - job.there_at, job.rest) * times)
            else:
                self._way.add(_ratio(now - job.sent_at, job.way) * times)
        self._in_time, self._late = (self._in_time + 1, 0) if whole <= self._limits[2] else (0, self._late + 1)
        self._answers += 1
        if self._answers % _AGAIN == 0:
            self._limits = [history.exceeded_by(_USUAL) for history in (self._way, self._rest, self._whole)]

    def _arrived(self, job: _Job, at: float) -> None:
        job.there_at, job.rest = max(at, job.sent_at), self._held.value or 0.0
        if job is next(reversed(self._jobs.values()), job):  # nothing was sent after it: the link is free
            self._free_at = min(self._free_at, at)

    def _overdue(self, job: _Job, now: float) -> bool:
        if job.there_at >= 0.0:
            return _ratio(now - job.there_at, job.rest) > self._limits[1]
        return _ratio(now - job.sent_at, job.way) > self._limits[0]

    def _silent(self, now: float) -> bool:
        if self._beat_at < 0.0:
            return False
        rate = self.link.rate(now)
        queue = self.link.outstanding / rate if rate else 0.0
        return now - self._beat_at > 2.0 * self.link.min_rtt(now) + 2.0 * queue + _BEAT


def _ratio(seconds: float, predicted: float) -> float:
    return (seconds + _GRAIN) / (predicted + _GRAIN)
