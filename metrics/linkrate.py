"""What the uplink carries now, in bytes per second, from receipts. Pure: time comes in as `now`, in seconds.

A link that serves messages in order at R bytes per second gives the receipt of message i at

    r_i = max(s_i + rtt, r_(i-1)) + n_i / R

when it left at s_i with n_i bytes. So each receipt yields its own transfer time n_i / R, whether the sender kept the
link busy (the second term of the maximum) or let it lie idle before (the first). `DeliveryRate` divides by whole
round trips instead: right as a floor, and blind to what an app-limited sender could have had.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from metrics.estimate import MAX_IN_FLIGHT, DeliveryRate, Ewma, WindowedMin

__all__ = ["LinkRate"]

MIN_BYTES = 16384
"""A message of less shows the noise of the round trip, not its transfer: 10 segments, TCP's initial window (RFC 6928)."""

RTT_SPAN_S = 10.0
"""How long a round trip counts as the least; BBR's window for RTprop."""

SPAN_S, MIN_SAMPLES = 0.5, 3
"""The estimate is over the samples of the last half second, and over three if there are fewer."""

BUNCH_S = 0.010
"""Receipts this close together are one sample: alone, the first of a bunch looks slow and the others endlessly fast."""

STEP = 1.25
"""Two samples running that are off by this factor the same way are a change of the link, which is not averaged over."""

STEP_S = 0.001
"""And off by this much, so that the grain of a fast link's receipts is no change."""

LATE_S = 0.005
"""A receipt overdue by less than this, or by an eighth of a round trip, says nothing yet."""

IDLE_RESTART_S = 1.0
"""After a pause TCP falls back to its initial window (RFC 5681, section 4.1; Linux halves it per retransmission timeout)."""

ONE_SEGMENT = 1448
"""A message up to this many bytes goes in one segment: its receipt is a round trip."""


class LinkRate:
    """Bytes per second the link carries now; messages are carried in the order of `sent`.

    The estimate is total bytes over total transfer seconds of the last 0.5 s (at least 3 samples), so receipts that
    bunch and jitter average out. Two samples running that both differ by more than 25 %, and by more than samples
    usually do, discard the older ones; one twice as slow counts alone until the next. A receipt that is overdue bounds
    the rate from above for as long as it is missing. A message under 16 KiB never lowers the rate; several without a
    gap between them count together. A receipt stands for all messages sent before, so one lost is no gap.

    Jitter makes the least round trip lower than the usual one, which would lengthen each transfer after an idle link.
    This much is taken off: the mean of what round trips exceed their least by, or 3/2 of the mean difference between
    successive transfers if that is less (both are J for jitter uniform in +-J), and at most a quarter of the transfer.

    The first messages of a connection, or after a pause, pay TCP's slow start: what it can cost them together is taken
    off before they lower a known rate.
    """

    def __init__(self) -> None:
        self._delivery = DeliveryRate()
        self._waiting: OrderedDict[int, tuple[int, float, bool]] = OrderedDict()  # key: bytes, sent at, in slow start
        self._bytes = 0
        self._samples = _Samples()
        self._floor = 0.0
        self._least = WindowedMin(RTT_SPAN_S)
        self._rtt = math.inf
        self._rtt_excess = self._held = 0.0
        self._differences = Ewma(1 / 8)
        self._last_idle: tuple[float, int] | None = None
        self._busy_until = -math.inf
        self._small = (0, 0.0)
        self._sent_at = self._unsure_until = -math.inf
        self._warm_at = -math.inf
        self._excuse = 0.0

    @property
    def outstanding(self) -> int:
        """Bytes sent that no receipt covers yet."""
        return self._bytes

    def min_rtt(self, now: float) -> float:
        """The least round trip of the last 10 s, else the last known; 0.0 before the first."""
        least = self._least.value(now)
        if least is not None:
            self._rtt = least
        return self._rtt if self._rtt < math.inf else 0.0

    def round_trip(self, seconds: float, now: float) -> None:
        """A small message and its answer took `seconds`; what is not above 0 and finite is ignored."""
        if not 0.0 < seconds < math.inf:
            return
        self._least.add(seconds, now)
        excess = seconds - self.min_rtt(now) - self._rtt_excess
        self._rtt_excess += excess / (4 if excess > 0.0 else 2)  # sooner down: a queue that has gone is not jitter

    def sent(self, key: int, nbytes: int, now: float) -> None:
        """A message of `nbytes` left at `now`; a second one with the same key replaces the first."""
        if key in self._waiting:
            self.lost(key)
        elif len(self._waiting) >= MAX_IN_FLIGHT:
            self.lost(next(iter(self._waiting)))
        warming = self._slow_start(now)
        self._delivery.sent(key, nbytes, now)
        self._waiting[key] = nbytes, now, warming
        self._bytes += nbytes
        self._sent_at = now

    def received(self, key: int, now: float, *, held: float = 0.0) -> None:
        """The receipt of `key` came at `now`, after the peer held it for `held` seconds; one not waited for is ignored."""
        if key not in self._waiting:
            return
        at, unsure = now - held, self._waiting[key][1] <= self._unsure_until
        self._held += (held - self._held) / (1 if held > self._held else 8)
        shown = self._delivery.received(key, max(at, self._busy_until)) or 0.0
        begin, amount, largest, idle, warming = self._carried(key, at, now)
        self._busy_until = max(self._busy_until, at)
        seconds = max(0.0, at - begin)
        if unsure:
            self._small = (0, 0.0)
        elif largest < MIN_BYTES:
            self._take_small(amount, seconds, idle, shown, warming, at)
        elif idle:
            self._take_idle(amount, seconds, warming, at)
        else:
            self._take_busy(amount, seconds, warming, at)

    def lost(self, key: int) -> None:
        """No receipt of `key` will come. Whether the link carried it is unknown, so those sent by now are no samples."""
        message = self._waiting.pop(key, None)
        if message is not None:
            self._bytes -= message[0]
            self._unsure_until = self._sent_at
            self._delivery.lost(key)

    def reset(self) -> None:
        """The link broke: nothing is outstanding, and the next message opens a connection. The rate stays until samples come."""
        self._delivery.reset()
        self._waiting.clear()
        self._bytes = 0
        self._small, self._last_idle = (0, 0.0), None
        self._busy_until = self._sent_at = self._unsure_until = -math.inf

    def rate(self, now: float) -> float:
        """Bytes per second; 0.0 while nothing is known."""
        known = max(self._samples.cautious, self._floor)
        if not self._waiting or not known or self._rtt == math.inf:
            return known
        nbytes, left, warming = next(iter(self._waiting.values()))
        late = LATE_S + self._rtt / 8 + self._noise() + self._held
        overdue = now - max(self._busy_until, left + self._rtt) - (self._excuse if warming else 0.0) - late
        # A small message at the head bounds nothing; all that waits behind it does, less sharply.
        amount = nbytes if nbytes >= MIN_BYTES else self._bytes
        if amount < MIN_BYTES or overdue * known <= STEP * amount:
            return known
        return amount / overdue

    def _carried(self, key: int, at: float, now: float) -> tuple[float, int, int, bool, bool]:
        """Take `key` and all before it from the waiting: (since when, bytes, the largest's, link idle before, slow start)."""
        begin, amount, largest, idle = self._busy_until, 0, 0, False
        free, rate = begin, self._samples.rate or math.inf
        while True:
            oldest, (nbytes, left, warming) = self._waiting.popitem(last=False)
            self._bytes -= nbytes
            start = left + self._rtt if self._rtt < math.inf else left
            if start > free:
                begin, free, amount, largest, idle = start, start, 0, 0, True
            amount += nbytes
            largest = max(largest, nbytes)
            if oldest == key:
                self._see_round_trip(nbytes, at - left, now)
                return begin, amount, largest, idle, warming
            self._delivery.lost(oldest)
            free += nbytes / rate

    def _slow_start(self, now: float) -> bool:
        """May slow start delay a message sent now? It lasts for the rounds until its window fills the link."""
        if self._waiting or now - self._sent_at <= IDLE_RESTART_S:
            return now < self._warm_at
        rtt, rate = self.min_rtt(now) or LATE_S, self._samples.rate or self._floor
        rounds = math.ceil(math.log2(2.0 + rate * rtt / MIN_BYTES)) if rate else 3
        self._excuse = rounds * rtt
        self._warm_at = now + self._excuse + LATE_S
        return True

    def _see_round_trip(self, nbytes: int, seconds: float, now: float) -> None:
        if nbytes <= ONE_SEGMENT:
            self.round_trip(seconds, now)
        elif 0.0 < seconds < self._rtt < math.inf:
            self._least.add(seconds, now)  # a whole transfer took less than the least round trip: that one stood in a queue
            self.min_rtt(now)

    def _noise(self) -> float:
        return min(1.5 * (self._differences.value or 0.0), self._rtt_excess)

    def _take_small(self, amount: int, seconds: float, idle: bool, shown: float, warming: bool, at: float) -> None:
        """Its time counts with those that follow on a busy link; alone it can only show that the link carries more."""
        self._small = (0, 0.0) if idle else (self._small[0] + amount, self._small[1] + seconds)
        if idle and self._rtt < math.inf:
            shown = max(shown, amount / max(seconds, LATE_S))
        self._raise(shown)
        if self._small[0] >= MIN_BYTES:
            self._take_busy(0, 0.0, warming, at)

    def _take_busy(self, amount: int, seconds: float, warming: bool, at: float) -> None:
        amount, seconds = amount + self._small[0], seconds + self._small[1]
        self._small = (0, 0.0)
        self._take(amount, seconds, warming, at)

    def _take_idle(self, amount: int, seconds: float, warming: bool, at: float) -> None:
        self._small = (0, 0.0)
        if self._rtt == math.inf:
            self._raise(amount / max(seconds, LATE_S))  # a round trip on top of the transfer
            return
        grain = max(self._rtt_excess, self._rtt / 64, 1e-4)
        if seconds < grain:
            self._raise(amount / grain)
            return
        if not warming:
            self._see_noise(amount, seconds)
        self._take(amount, max(seconds - self._noise(), 0.75 * seconds), warming, at)

    def _see_noise(self, amount: int, seconds: float) -> None:
        last, self._last_idle = self._last_idle, (seconds, amount)
        rate = self._samples.rate
        if last is not None and rate:
            difference = abs(seconds - last[0] - (amount - last[1]) / rate)
            if difference < 0.5 * seconds:  # more is a change of the link, no jitter
                self._differences.add(difference)

    def _take(self, amount: int, seconds: float, warming: bool, at: float) -> None:
        if warming:
            self._raise(amount / max(seconds, LATE_S))
            known = max(self._samples.rate, self._floor)
            excused = min(self._excuse, max(0.0, seconds - amount / known))
            self._excuse -= excused
            seconds -= excused
            if seconds * known <= STEP * amount:
                return
        self._samples.add(amount, seconds, at)
        self._floor = 0.0

    def _raise(self, shown: float) -> None:
        if shown > self._samples.rate:
            self._floor = max(self._floor, shown)


class _Samples:
    """Transfers of the last 0.5 s since the link last changed."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float, float]] = deque()  # bytes, seconds, when it was opened
        self._bytes = 0
        self._seconds = 0.0
        self._spread = Ewma(1 / 8)
        self.rate = self.cautious = 0.0

    def add(self, amount: int, seconds: float, at: float) -> None:
        """Take one transfer; sets `rate`, and `cautious`: the last sample's if it was twice as slow, until the next."""
        recent = self._recent
        if recent and at - recent[-1][2] < BUNCH_S:
            before = recent.pop()
            recent.append((before[0] + amount, before[1] + seconds, before[2]))
        else:
            if recent:
                self._see_spread()
            recent.append((amount, seconds, at))
        self._bytes += amount
        self._seconds += seconds
        while len(recent) > MIN_SAMPLES and recent[0][2] < at - SPAN_S:
            self._drop()
        if len(recent) >= MIN_SAMPLES:
            self._look_for_step()
        self.rate = self._bytes / max(self._seconds, 1e-4)
        self.cautious = self._with_caution()

    def _look_for_step(self) -> None:
        last, other = self._recent[-1], self._recent[-2]
        amount, seconds = self._bytes - last[0] - other[0], self._seconds - last[1] - other[1]
        if amount <= 0 or seconds <= 0.0:
            return
        rate = amount / seconds
        way = self._off(last, rate)
        if way and way == self._off(other, rate):
            self._keep(1 if self._off(other, last[0] / max(last[1], 1e-4)) else 2)  # the link may have changed amid the older one

    def _with_caution(self) -> float:
        if len(self._recent) < 2:
            return self.rate
        last = self._recent[-1]
        amount, seconds = self._bytes - last[0], self._seconds - last[1]
        if seconds > 0.0 and self._off(last, amount / seconds) == 1 and last[1] * amount > 2.0 * last[0] * seconds:
            return last[0] / last[1]
        return self.rate

    def _off(self, sample: tuple[int, float, float], rate: float) -> int:
        """1 if the sample is slower than `rate` by a step, -1 if it is faster, else 0."""
        amount, seconds, _ = sample
        usual = amount / rate
        if abs(seconds - usual) < STEP_S + 2.5 * (self._spread.value or 0.0):
            return 0
        return int(seconds > STEP * usual) - int(STEP * seconds < usual)

    def _see_spread(self) -> None:
        """What a sample that can grow no more is off by, unless it is a step."""
        amount, seconds, _ = self._recent[-1]
        usual = amount / self.rate
        if seconds < 2.0 * usual:
            self._spread.add(abs(seconds - usual))

    def _keep(self, count: int) -> None:
        while len(self._recent) > count:
            self._drop()
        self._seconds = math.fsum(seconds for _, seconds, _ in self._recent)  # no drift from one change to the next

    def _drop(self) -> None:
        amount, seconds, _ = self._recent.popleft()
        self._bytes -= amount
        self._seconds -= seconds
