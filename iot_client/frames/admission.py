"""How many frames may be under way at once.

Too few and the stages wait for one another; too many and every frame only waits in a queue (Little's law:
latency = window / rate). The window that keeps everything busy is rate x the latency of a frame that never
queues, the bandwidth-delay product of TCP, here with frames for bytes (as BBR: highest rate x lowest round trip).

Where frames are worth the same until a deadline and nobody but the server can finish them, the time they wait there counts as well:
it serves others in between, and who had no more under way than an idle server needs would miss turns. How long that queue gets is for
the server to say, which refuses at once what would be late.
"""

from __future__ import annotations

import math

__all__ = ["Window"]

_SMALLEST, _LARGEST, _FIRST = 2, 64, 4
_GAIN = 1.25
"""Room to find out that a higher rate is possible (BBR probes with the same gain)."""
_JITTER = 0.001
"""Seconds of thread hand-over and batching that any frame may meet on its way."""
_ALPHA = 0.1
_HIGH = 0.95
_STEP = 0.0001
"""Seconds by which the slow way moves at the least, so that it never stands still."""
_QUEUES = 0.1
"""Of the age bound: the server charges the uplink's queue as well, and what counts twice must stay small."""
_PAUSE = 0.25
"""A gap longer than this is a pause of the source, not a rate."""


class Window:
    """Frames allowed under way; follows rate and unqueued latency.

    Args:
        workers: device threads; each needs a frame to work on and one to pick up next.
        fixed: a constant window instead.
        least: a floor.
        waits: True if a job's wait at the server counts.
    """

    def __init__(self, workers: int, fixed: int = 0, least: int = 0, *, waits: bool = False) -> None:
        self._floor = max(_SMALLEST, workers + 1, least)
        self._fixed = fixed
        self._device = 0.0
        self._cloud = 0.0
        self._network = 0.0
        self._network_at = 0.0
        self._slow = self._scatter = 0.0
        self._interval = self._waited = 0.0
        self.waits = waits
        self._last = float("-inf")
        self.size = fixed or max(_FIRST, self._floor)

    def device_took(self, seconds: float) -> None:
        """One frame's stages and encoding on the device."""
        old = self._device
        self._device = old + _ALPHA * (seconds - old) if old else seconds

    def cloud_took(self, execution: float, network: float, now: float) -> None:
        """One job: seconds in its stages, and seconds on the way there and back."""
        old = self._cloud
        self._cloud = old + _ALPHA * (execution - old) if old else execution
        self.way_took(network, now)

    def way_took(self, network: float, now: float) -> None:
        """One job that the server refused, or ran: seconds on the way there and back.

        Who learned from the answers alone would, after a slow second, leave the server too little time to give one.
        """
        # The lowest of the last ten seconds: queues pass, the path stays (BBR's min_rtt filter).
        if network < self._network or not self._network or now - self._network_at > 10.0:
            self._network, self._network_at = network, now
        # 19 of 20 take no longer than `_slow`: up by much where one did, else down by little (Robbins & Monro, 1951).
        slow = self._slow or network
        self._scatter += _ALPHA * (abs(network - slow) - self._scatter)
        self._slow = slow + (0.5 * self._scatter + _STEP) * (_HIGH if network > slow else _HIGH - 1.0)

    def waited(self, seconds: float) -> None:
        """One job that ran waited so long at the server for its turn."""
        self._waited += _ALPHA * (seconds - self._waited)

    def way(self, bound: float) -> float:
        """Seconds that 19 of 20 answers take there and back, 0.0 if unknown; of queues no more than a tenth of `bound`."""
        most = self._network + _QUEUES * bound
        return self._network if self._slow < self._network else self._slow if self._slow < most else most

    def cloud_ran(self, execution: float) -> None:
        """One job whose frame is gone: seconds in its stages."""
        old = self._cloud
        self._cloud = old + _ALPHA * (execution - old) if old else execution

    def completed(self, now: float) -> None:
        """One frame has its outcome."""
        old, interval = self._interval, now - self._last
        self._last = now
        if interval < _PAUSE:
            self._interval = old + _ALPHA * (interval - old) if old else interval
        if not self._fixed and self._interval:
            latency = self._device + self._cloud + self._network + self._waited + _JITTER
            wanted = 1 + math.ceil(_GAIN * latency / self._interval)
            self.size = wanted if self._floor < wanted < _LARGEST else min(_LARGEST, max(self._floor, wanted))
