"""When the device begins its own run of a job that is at a server: at the last moment at which it is still in time.

    latest = captured + deadline - own time of the stages left - margin - who is at the workers first

The first answer wins, from wherever it comes. Own times are high quantiles of the runs seen here, or what the
profile knows; a job of unknown length gets its twin at once, since that teaches, one at a time. A live frame that this
device can finish in time no more is left to the server: running it would only make the next one late too.
"""

from __future__ import annotations

from collections.abc import Callable

from iot_client.events import StagesDone
from iot_client.frames.fallback import Fallback
from iot_client.frames.frame import NEVER, READY, SENT, TWIN, Frame
from iot_client.frames.stream import Stream
from iot_client.racing.cost import Cost
from metrics.estimate import RollingQuantile

__all__ = ["Race"]

_SAMPLES = 64
_HIGH, _TYPICAL = 0.95, 0.5
_MARGIN = 0.005
_SHARE = 0.05
"""Seconds, and share of the deadline, left at least for the hand-over between threads and the millisecond poll() rounds up
to; on a busy host it takes longer, and nearly the most it took lately counts, up to a third of the deadline."""
_WORST = 0.98
_KNOWN = 3
"""Runs of a stage after which its time counts as known: the first is often cold."""
_LESSON = 1.0
"""Seconds between two twins that are started only to learn."""
_STALE = 10.0
"""Seconds after which a stage not run here is looked at again: what else computes on the device changes."""
_HOPELESS = 60.0
"""The same for a stage that alone takes longer than the deadline."""
_UNKNOWN = -1.0


def _nothing(stage: int) -> float:
    return _UNKNOWN


class _Seen:
    """How long runs of one stage took here lately, and when the last one ended."""

    __slots__ = ("at", "times")

    def __init__(self) -> None:
        self.times = RollingQuantile(_SAMPLES)
        self.at = float("-inf")


class Race:
    """The twins of one stream.

    Args:
        foresee: seconds of a stage here by what else is known, below 0 if nothing is.
    """

    def __init__(self, stream: Stream, fallback: Fallback, foresee: Callable[[int], float] | None = None) -> None:
        self._stream = stream
        self._fallback = fallback
        self._foresee = foresee or _nothing
        config = stream.config
        self._deadline, self._workers, self._pivot, self._n = config.deadline, config.workers, config.pivot, config.n
        self._varies = config.varies or (False,) * config.n
        self._seen: dict[tuple[int, str], _Seen] = {}
        self._heads = RollingQuantile(_SAMPLES)
        self._handing_over = RollingQuantile(_SAMPLES)
        self._begun: dict[int, float] = {}
        self._ended_at = self._looked_at = float("-inf")
        self._costs: dict[tuple[int, str], Cost] = {}
        self._taught_at = float("-inf")
        self._due = NEVER
        self.started = 0

    def ran(self, event: StagesDone, now: float) -> None:
        """A run ended here: it says what its stages take."""
        for stage, seconds in enumerate(event.times, event.start):
            seen = self._seen_of(stage, event.variant)
            seen.times.add(seconds)
            seen.at = now
        wanted_at = self._begun.pop(event.seq, None) if event.start else None
        if wanted_at is not None:
            self._handing_over.add(max(0.0, now - max(wanted_at, self._ended_at) - sum(event.times)))
            self._ended_at = now
        if event.nbytes:
            self._heads.add(sum(event.times) + event.encode_s)
        if event.start or self._foresee is not _nothing:
            self._costs.clear()
        elif self._costs:  # what ran before a cut is no part of what runs behind it
            self._costs = {key: cost for key, cost in self._costs.items() if key[0] >= event.stop}

    def start(self, now: float) -> bool:
        """Begin every twin that must not wait any longer, and note when the next one is due; True if any began."""
        began, stream, self._due = self.started, self._stream, NEVER
        ahead, oldest, twins = self._queue()
        for frame in list(stream.frames.values()):
            if frame.state not in (READY, SENT) or not self._fallback.may_run_here(frame):
                continue
            cost = self._cost(frame.split, frame.variant)
            end = frame.captured_at + self._deadline
            lesson = self._lesson_at(cost) if not twins else NEVER
            at = min(lesson, end - cost.high - self._margin() - self._blocked() - ahead / self._workers)
            if now < at:
                self._due = min(self._due, at)
            elif twins < 2 * self._workers and (now >= lesson or self._in_time(cost, ahead, oldest, end, now)):
                if now >= lesson:
                    self._taught_at = now
                self._run(frame, now, max(at, self._looked_at))
                ahead, oldest, twins = self._queue()
        self._looked_at = now
        return self.started > began

    def rescue(self, frame: Frame, now: float) -> bool:
        """Run here at once what the server will not do in time; False if this device cannot either."""
        ahead, oldest, _ = self._queue()
        if not self._fallback.may_run_here(frame):
            return False
        if not self._in_time(self._cost(frame.split, frame.variant), ahead, oldest, frame.captured_at + self._deadline, now):
            return False
        self._run(frame, now, now)
        return True

    def next_wakeup(self) -> float:
        """When the next twin must start, as things stand since `start`."""
        return self._due

    def _run(self, frame: Frame, now: float, wanted_at: float) -> None:
        self.started += 1
        self._begun[frame.seq] = wanted_at
        self._stream.run_twin(frame, now)

    def _queue(self) -> tuple[float, float, int]:
        """Of the twins at the workers: the typical seconds of all, when the first began, and how many there are."""
        twins = [frame for frame in self._stream.frames.values() if frame.state == TWIN]
        return sum(self._cost(twin.split, twin.variant).typical for twin in twins), min((t.twin_at for t in twins), default=0.0), len(twins)

    def _in_time(self, cost: Cost, ahead: float, oldest: float, end: float, now: float) -> bool:
        """True if a twin that begins behind those under way is probably in time; without drops it runs anyway."""
        return not self._stream.live or now + self._waits(ahead, oldest, now) + cost.typical <= end

    def _waits(self, ahead: float, oldest: float, now: float) -> float:
        """Seconds until a worker has time for one more."""
        return max(0.0, ahead - (now - oldest)) / self._workers

    def _lesson_at(self, cost: Cost) -> float:
        """When a twin is due for what it teaches, whatever its deadline."""
        if cost.typical > self._deadline:
            return max(self._taught_at + _LESSON, cost.seen_at + _HOPELESS)
        return self._taught_at + _LESSON if not cost.known else max(self._taught_at + _LESSON, cost.seen_at + _STALE)

    def _margin(self) -> float:
        least = max(_MARGIN, _SHARE * self._deadline)
        return min(max(least, self._handing_over.quantile(_WORST) or 0.0), self._deadline / 3)

    def _blocked(self) -> float:
        """Seconds for which a new frame's stages may keep every worker from a twin that outranks them."""
        return self._heads.quantile(_HIGH) or 0.0

    def _seen_of(self, stage: int, variant: str) -> _Seen:
        """What is known of a stage here; of one that varies, with this variant."""
        key = (stage, variant if self._varies[stage] else "")
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        return seen

    def _cost(self, start: int, variant: str) -> Cost:
        cost = self._costs.get((start, variant))
        if cost is None:
            cost = self._costs[start, variant] = self._reckon(start, variant)
        return cost

    def _reckon(self, start: int, variant: str) -> Cost:
        cost = Cost()
        for stage in range(start, self._n):
            seen = self._seen_of(stage, variant)
            high, typical = seen.times.quantile(_HIGH) or 0.0, seen.times.quantile(_TYPICAL) or 0.0
            if len(seen.times) < _KNOWN:
                foreseen = self._foresee(stage)
                cost.known = cost.known and foreseen >= 0.0
                high, typical = max(high, foreseen, 0.0), min(typical, foreseen) if foreseen >= 0.0 else 0.0
                cost.foresee(high)
            else:
                cost.add(seen.times)
                if stage < self._pivot:
                    cost.seen_at = min(cost.seen_at, seen.at)
            cost.high += high
            cost.typical += typical
        cost.add(self._handing_over)
        return cost
