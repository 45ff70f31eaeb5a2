"""The host's CPU for the machine: samples on their own thread, told as events."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from iot_client.events import HostSampled
from metrics.capacity import CpuShare, cpu_quota
from metrics.host import HostSample, HostSampler, usable_cores

__all__ = ["HostWatch"]

_HZ = 4.0


class HostWatch:
    """Feeds HostSampled while started; does nothing unless `wanted`.

    Attributes:
        available: CPU seconds per second this process may have, as far as is known before the first sample.
        cores: cores of the machine.
    """

    def __init__(self, wanted: bool) -> None:
        self.cores = float(psutil.cpu_count() or 1)
        self.available = min(cpu_quota(), float(usable_cores())) if wanted else float("inf")
        self._share = CpuShare()
        self._sampler = HostSampler(_HZ, callback=self._sampled) if wanted else None
        self._put: Callable[[HostSampled], None] = lambda event: None
        self._used, self._at = time.process_time(), time.monotonic()

    def start(self, put: Callable[[HostSampled], None]) -> None:
        """Begin to tell `put`."""
        self._put = put
        if self._sampler is not None:
            self._used, self._at = time.process_time(), time.monotonic()
            self._sampler.start()

    def stop(self) -> None:
        """End."""
        if self._sampler is not None:
            self._sampler.stop()

    def _sampled(self, sample: HostSample) -> None:
        self._share.add(sample)
        used, at = time.process_time(), time.monotonic()  # finer than the ticks of 10 ms a sample counts in
        seconds = at - self._at
        if seconds > 0.0:
            own = (used - self._used) / seconds
            self._used, self._at = used, at
            self._put(HostSampled(self._share.available(), own, self.cores, seconds))
