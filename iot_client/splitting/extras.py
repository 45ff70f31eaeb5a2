"""By how much frames take longer than the sum of their parts: queues, jitter, scheduling, turns of the loop.

What a model leaves out it can still measure: the difference between a frame's latency and what its parts predict,
kept for each way over the cut, and pooled for ways not taken lately (local and remote apart).
"""

from __future__ import annotations

from iot_client.splitting.costs import Costs, Option
from metrics.estimate import RollingQuantile

__all__ = ["Extras", "mixture", "parts"]

_WINDOW = 120
"""Frames of one way that count: four seconds at 30 fps."""
_ENOUGH, _FEWEST = 20, 8
_FRESH = 3.0
"""Seconds after which a way's own samples tell less than those of the ways in use: queues come and go."""
_ANOTHER = 1.35
"""A rate changed by this factor is a change of the link, not noise of its estimate."""
_MATTERS = 0.01
"""Seconds a payload must take longer or shorter for it to matter."""
_SHOWS = 0.25
"""Of a frame's latency, likewise: a weak device makes the link itself look now slow, now fast."""
_DRAIN = 0.2
"""Seconds in which what was sent for the old rate gets out of the way."""
_GUESS = 0.15
"""Before anything is seen: p95 lies so far above the parts' sum."""


class Extras:
    """Residuals of latency, by way."""

    def __init__(self) -> None:
        self._by_way: dict[tuple[int, str], RollingQuantile] = {}
        self._seen: dict[tuple[int, str], float] = {}
        self._pools = {True: RollingQuantile(_WINDOW), False: RollingQuantile(_WINDOW)}
        self._up = 0.0
        self._since = float("-inf")
        self._sent = self._latency = 0.0

    def follow(self, up: float, now: float) -> None:
        """The uplink carries `up` bytes per second now; on another link the queues of the last one tell nothing."""
        if not self._up or up <= 0.0:
            self._up = max(0.0, up)
        elif not 1.0 / _ANOTHER < up / self._up < _ANOTHER and self._felt(up):
            self._up = up
            self.restart(now)
        else:
            self._up += 0.1 * (up - self._up)

    def restart(self, now: float) -> None:
        """Frames that leave take another way from now on."""
        self._since = now + _DRAIN
        self._by_way = {way: samples for way, samples in self._by_way.items() if not way[1]}
        self._pools[True] = RollingQuantile(_WINDOW)

    def _felt(self, up: float) -> bool:
        """True if a payload takes so much longer or shorter at this rate that a frame's latency shows it."""
        return self._sent * abs(1.0 / up - 1.0 / self._up) > max(_MATTERS, _SHOWS * self._latency)

    def sent(self, nbytes: int) -> None:
        """A payload left: what a change of the link is worth depends on how large they are."""
        self._sent += 0.2 * (nbytes - self._sent)

    def add(self, k: int, codec: str, residual: float, captured_at: float, now: float) -> None:
        """One frame took `residual` seconds more than its parts; one from before the link changed tells nothing."""
        if codec and captured_at < self._since:
            return
        self._seen[k, codec] = now
        if codec:
            self._latency += 0.1 * (now - captured_at - self._latency)
        own = self._by_way.get((k, codec))
        if own is None:
            own = self._by_way[k, codec] = RollingQuantile(_WINDOW)
        own.add(residual)
        self._pools[codec != ""].add(residual)

    def of(self, k: int, codec: str, costs: Costs, option: Option, now: float) -> tuple[float, float]:
        """The median and the 95th percentile of what is to be added to the parts' sum, in seconds."""
        samples = self._by_way.get((k, codec))
        if samples is None or len(samples) < _ENOUGH or now - self._seen[k, codec] > _FRESH:
            samples = self._pools[codec != ""]
        middle, high = samples.quantile(0.5), samples.quantile(0.95)
        if middle is None or high is None or len(samples) < 5:
            return 0.0, _GUESS * parts(costs, option)
        return middle, high

    def latencies(self, k: int, codec: str, costs: Costs, option: Option) -> tuple[float, ...]:
        """What frames that went this way would take now, in seconds; () if too few have gone it."""
        samples = self._by_way.get((k, codec))
        if samples is None or len(samples) < _FEWEST:
            return ()
        usual = parts(costs, option)
        return tuple(usual + residual for residual in samples.samples)


def mixture(first: tuple[float, ...], second: tuple[float, ...], share: float, q: float) -> float:
    """The q-quantile of values of which `share` are like those in `second` and the others like those in `first`."""
    weighted = sorted([(value, (1.0 - share) / len(first)) for value in first] + [(value, share / len(second)) for value in second])
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= q:
            return value
    return weighted[-1][0]


def parts(costs: Costs, option: Option) -> float:
    """Seconds a frame takes that goes all the way and waits for nobody."""
    here = (*range(option.k), *range(max(option.k, costs.stop), costs.n))
    total: float = sum(costs.stages[i].cpu_s * costs.stretch + costs.stages[i].idle_s for i in here)
    if option.k < costs.n and option.codec:
        total += option.encode_s * costs.stretch + option.decode_s + costs.rtt + costs.server_wait
        total += option.nbytes / costs.up + option.back_nbytes / costs.down
        total += sum(stage.server_s for stage in costs.stages[option.k : costs.stop])
    return total
