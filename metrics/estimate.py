"""Running estimates of one quantity, in bounded memory. Pure: time comes in as `now`, in seconds.

Adding is O(1) amortised everywhere; what costs more (a sort) happens only when a quantile is asked for.
`now` never goes backwards between two calls on one object.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["DeliveryRate", "Ewma", "RateMeter", "RollingQuantile", "WindowedMax", "WindowedMin"]

SLOTS = 256
"""Steps of time in the span of a windowed extreme: its memory, and its error of at most span/256."""

MAX_EVENTS = 4096
"""Most events a RateMeter remembers; 5 s at 800 per second."""

MAX_IN_FLIGHT = 4096
"""Most messages whose receipt a DeliveryRate waits for."""


class Ewma:
    """An exponentially weighted mean: value += alpha * (sample - value); the first sample sets it.

    The formula is RFC 6298's smoothed round trip (there alpha is 1/8); a step is followed to 63 % after
    about 1/alpha samples.
    """

    def __init__(self, alpha: float) -> None:
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"alpha={alpha}: must be above 0 and at most 1")
        self._alpha = alpha
        self.value: float | None = None

    def add(self, sample: float) -> float:
        """Take one sample and return the new mean."""
        before = self.value
        self.value = sample if before is None else before + self._alpha * (sample - before)
        return self.value


class RollingQuantile:
    """Exact quantiles of the last `window` samples."""

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ValueError(f"window={window}: must be at least 1 sample")
        self._samples: deque[float] = deque(maxlen=window)
        self._sorted: list[float] | None = []

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def samples(self) -> tuple[float, ...]:
        """Those of the window, oldest first."""
        return tuple(self._samples)

    def add(self, sample: float) -> None:
        """Take one sample; the oldest goes when the window is full."""
        self._samples.append(sample)
        self._sorted = None

    def quantile(self, q: float) -> float | None:
        """The q-quantile, 0 <= q <= 1, or None without samples.

        Linear between neighbours at rank q * (n - 1): type 7 of Hyndman and Fan, "Sample Quantiles in
        Statistical Packages" (1996), the default of numpy. One sort after an add, none before the next.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q={q}: must be from 0 to 1")
        if self._sorted is None:
            self._sorted = sorted(self._samples)
        if not self._sorted:
            return None
        rank = q * (len(self._sorted) - 1)
        low = math.floor(rank)
        below, above = self._sorted[low], self._sorted[min(low + 1, len(self._sorted) - 1)]
        return below + (rank - low) * (above - below)


class WindowedMin:
    """The minimum over the last `span_s` seconds.

    A queue of ascending minima: a sample that is not below a younger one can never be the answer again. Time
    counts in steps of span/256, so a sample is kept for its span and at most one step more.
    """

    def __init__(self, span_s: float) -> None:
        self._per_step = SLOTS / _positive("span_s", span_s)
        self._minima: deque[tuple[int, float]] = deque()

    def add(self, sample: float, now: float) -> None:
        """Take one sample of time `now`."""
        minima, step = self._minima, math.floor(now * self._per_step)
        while minima and minima[-1][1] >= sample:
            minima.pop()
        if not minima or minima[-1][0] != step:
            minima.append((step, sample))
        self._expire(step)

    def value(self, now: float) -> float | None:
        """The minimum at `now`; None if no sample is young enough."""
        self._expire(math.floor(now * self._per_step))
        return self._minima[0][1] if self._minima else None

    def _expire(self, step: int) -> None:
        while self._minima and self._minima[0][0] < step - SLOTS:
            self._minima.popleft()


class WindowedMax:
    """The maximum over the last `span_s` seconds, to the same resolution as WindowedMin."""

    def __init__(self, span_s: float) -> None:
        self._negated = WindowedMin(span_s)

    def add(self, sample: float, now: float) -> None:
        """Take one sample of time `now`."""
        self._negated.add(-sample, now)

    def value(self, now: float) -> float | None:
        """The maximum at `now`; None if no sample is young enough."""
        negated = self._negated.value(now)
        return None if negated is None else -negated


class RateMeter:
    """Events (or amounts) per second over the last `span_s` seconds.

    The first event only opens the window: n events in n - 1 equal gaps are a rate of n - 1 per those gaps.
    Until a whole span has passed the rate is over the time since then. Beyond 4096 events in a span the
    window shortens to those remembered.
    """

    def __init__(self, span_s: float) -> None:
        self._span = _positive("span_s", span_s)
        self._events: deque[tuple[float, float]] = deque()
        self._amount = 0.0
        self._opened: float | None = None

    def add(self, now: float, amount: float = 1.0) -> None:
        """Count an event at `now`; `amount` is its weight, for example its bytes."""
        if self._opened is None:
            self._opened = now
            return
        self._events.append((now, amount))
        self._amount += amount
        if len(self._events) > MAX_EVENTS:
            self._opened = self._drop_oldest()
        self._expire(now - self._span)

    def rate(self, now: float) -> float:
        """Per second, over the span that ends at `now`; 0.0 before the second event."""
        if self._opened is None:
            return 0.0
        self._expire(now - self._span)
        elapsed = min(self._span, now - self._opened)
        return self._amount / elapsed if elapsed > 0.0 else 0.0

    def _expire(self, since: float) -> None:
        while self._events and self._events[0][0] <= since:
            self._drop_oldest()
        if not self._events:
            self._amount = 0.0  # sums of floats drift; an empty window is the moment to start afresh

    def _drop_oldest(self) -> float:
        at, amount = self._events.popleft()
        self._amount -= amount
        return at


class DeliveryRate:
    """Bytes per second that the link delivers, from the receipts of what was sent over it.

    The sampler and the filter of BBR: draft-cheng-iccrg-delivery-rate-estimation-02, section 3, and Cardwell
    et al., "BBR: Congestion-Based Congestion Control" (ACM Queue 2016). Each message remembers how much had
    been delivered when it left; its receipt gives the sample

        (delivered now - delivered then) / max(send interval, receipt interval)

    which exceeds what the link carried neither when messages nor when receipts bunch up. The estimate is the largest
    sample of the last `span_s` seconds. A sample says how fast the app sent, not what the link could do, if
    the sender held back (`app_limited`), if fewer than `min_bytes` were delivered, or if the link lay idle
    when the message left and nothing is known of its round trip: those may raise the estimate, never lower it,
    and without a better sample an old maximum does not fade either.
    """

    def __init__(self, span_s: float = 10.0, *, min_bytes: int = 16384) -> None:
        # 16 KiB is 10 segments, TCP's initial window (RFC 6928): less leaves in one burst and says nothing.
        self._min_bytes = min_bytes
        self._filter = WindowedMax(span_s)
        self._rate = 0.0
        self._in_flight: dict[int, _Sent] = {}
        self._delivered = 0
        self._delivered_at = self._first_sent_at = 0.0
        self._from_idle = True

    @property
    def rate(self) -> float:
        """The estimate in bytes per second; 0.0 before the first sample."""
        return self._rate

    def sent(self, key: int, nbytes: int, now: float, *, app_limited: bool = False) -> None:
        """A message of `nbytes` left at `now`; `app_limited` if the app could have filled the link but had no more."""
        if not self._in_flight:
            self._first_sent_at = self._delivered_at = now
            self._from_idle = True
        elif len(self._in_flight) >= MAX_IN_FLIGHT:
            del self._in_flight[next(iter(self._in_flight))]
        self._in_flight[key] = _Sent(nbytes, now, self, app_limited)

    def received(self, key: int, now: float, *, rtt_s: float = 0.0) -> float | None:
        """The receipt of `key` came at `now` (less the time it was held back); returns its sample, if any.

        `rtt_s` is the least round trip seen, 0.0 if unknown. A message that found the link idle pays one round
        trip on top of its transfer, and this much is taken off its interval; what is left counts as no less
        than rtt_s / 8, since the noise of a round trip would else pass for an endless rate.
        """
        sent = self._in_flight.pop(key, None)
        if sent is None:
            return None
        self._delivered += sent.nbytes
        amount = self._delivered - sent.delivered
        limited = sent.app_limited or amount < self._min_bytes or (sent.from_idle and not rtt_s)
        send_s, receipt_s = sent.at - sent.first_sent_at, now - sent.delivered_at
        if sent.from_idle and amount >= self._min_bytes:
            limited = limited or receipt_s < rtt_s * (1 + 1 / 8)
            receipt_s = max(receipt_s - rtt_s, rtt_s / 8)
        self._delivered_at, self._from_idle = now, False
        self._first_sent_at = max(self._first_sent_at, sent.at)
        interval = max(send_s, receipt_s)
        return self._take(amount / interval, now, limited) if interval > 0.0 else None

    def lost(self, key: int) -> None:
        """No receipt of `key` will come."""
        self._in_flight.pop(key, None)

    def reset(self) -> None:
        """The link broke: nothing is in flight any more. The estimate stays until a better sample comes."""
        self._in_flight.clear()

    def _take(self, sample: float, now: float, limited: bool) -> float:
        if not limited or sample > self._rate:
            self._filter.add(sample, now)
            self._rate = sample if limited else self._filter.value(now) or sample
        return sample


class _Sent:
    """A message in flight and the state of delivery when it left."""

    __slots__ = ("app_limited", "at", "delivered", "delivered_at", "first_sent_at", "from_idle", "nbytes")

    def __init__(self, nbytes: int, now: float, link: DeliveryRate, app_limited: bool) -> None:
        self.nbytes = nbytes
        self.at = now
        self.delivered = link._delivered
        self.delivered_at = link._delivered_at
        self.first_sent_at = link._first_sent_at
        self.from_idle = link._from_idle
        self.app_limited = app_limited


def _positive(name: str, value: float) -> float:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name}={value}: must be above 0 and finite")
    return value
