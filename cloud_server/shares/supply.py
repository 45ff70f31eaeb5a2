"""What devices with deadlines ask a server for, and who of them gets less than the others: how long a batch may make jobs wait. Pure.

A batch of b jobs in which n devices take turns has b / n of each. Where more comes than can be done, jobs that come early in the batch
before are refused, and a device has its part as long as it sends as much in the rest of that time. Frames do not come evenly, so some
more than that is left open, and the more so the longer a device that is refused gets less than the others do.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

from cloud_server.sessions import Session

__all__ = ["LOOKS", "Supply"]

LOOKS = 0.25
"""Seconds between two looks."""
_LONG = 1.0
"""Seconds without a look after which the last one tells nothing of rates."""
_FOLLOWS = 0.2
"""By which fraction of the way a rate follows what was seen since the last look."""
_FIRST, _LEAST, _MOST = 2.0, 1.0, 4.0
"""Times the seconds in which each device sends its part of a batch."""
_LESS = 0.1
"""Of the mean: a device that gets so much less than it wants more room before a batch; what is below that is chance."""
_SETTLES = 4
"""Looks at a device after which what it gets is more than chance."""
_GAIN, _FALLS = 0.6, 0.06
"""By which fraction that room grows at a look, for each part of the mean that is missing, and shrinks if nothing is."""


class _Seen:
    """A session as it was seen last: jobs `came`, seconds `had`, and both per second, smoothed."""

    __slots__ = ("came", "gets", "had", "looks", "rate")

    def __init__(self, session: Session) -> None:
        self.came, self.had = session.came, session.had
        self.rate = self.gets = 0.0
        self.looks = 0

    def follow(self, session: Session, seconds: float) -> None:
        """So much later."""
        self.looks += 1
        part = max(_FOLLOWS, 1.0 / self.looks)
        self.rate += ((session.came - self.came) / seconds - self.rate) * part
        self.gets += ((session.had - self.had) / seconds - self.gets) * part
        self.came, self.had = session.came, session.had


class Supply:
    """`tightest` is the shortest budget in seconds, `rate` frames a second of all devices, `looked` when it was looked last."""

    def __init__(self) -> None:
        self.looked = -inf
        self.tightest = inf
        self.rate = 0.0
        self._even = 0.0
        """Frames a second, if each device sent as few as the one that sends least."""
        self._room = _FIRST
        self._seen: dict[int, _Seen] = {}

    def look(self, sessions: Collection[Session], now: float) -> None:
        """These are the devices with deadlines that could be met."""
        spent, self.looked = now - self.looked, now
        self.tightest = min([session.budget for session in sessions], default=inf)
        before, self._seen = self._seen, {}
        for session in sessions:
            self._seen[session.number] = seen = before.get(session.number) or _Seen(session)
            if spent < _LONG:
                seen.follow(session, spent)
        rates = [seen.rate for seen in self._seen.values()]
        self.rate, self._even = sum(rates), len(rates) * min(rates, default=0.0)
        mean = sum([seen.gets for seen in self._seen.values()]) / max(1, len(rates))
        if mean and spent < _LONG:
            refused = [self._seen[session.number] for session in sessions if now - session.refused <= spent]
            missing = [1.0 - seen.gets / mean for seen in refused if seen.looks >= _SETTLES]
            more = _GAIN * (max(missing, default=0.0) - _LESS)
            self._room = min(max(self._room * (1.0 + (more if more > 0.0 else -_FALLS)), _LEAST), _MOST)

    def wait(self, size: int) -> float:
        """Seconds for which jobs must be able to wait for a batch of that size, so that everybody has a part; inf if nobody knows."""
        return self._room * size / self._even if self._even else inf
