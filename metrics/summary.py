"""What a run did so far: a fold over captured frames and their outcomes. Pure: time comes in as `now`.

Recent figures (`fps`, `latency`, `bytes_per_s`) look at a sliding window, for the live line; those of the whole
run come from counters and a histogram of fixed size, so a run may last for months.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from metrics.estimate import RateMeter, RollingQuantile
from metrics.histogram import LogHistogram

if TYPE_CHECKING:
    from metrics.host import HostSample

__all__ = ["Latency", "Summary", "SummarySnapshot"]

WINDOW_S = 5.0
"""The windows of a target FPS are 5 s, and so are those of the live line."""

RECENT_LATENCIES = 256
"""Results behind the recent quantiles: about 8 s at 30 FPS."""

MAX_REASONS = 32
"""Distinct drop reasons counted apart; more (a server may send any text) count as "other"."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from capture to delivery of the frames done or filtered; None before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class SummarySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment; seconds, bytes, and percent as HostSample defines them.

    `fps` and `fps_all` count frames done or filtered per second, over the last window and since the first
    capture. `latency` is exact over the last 256 results, `latency_all` within 1 % over the whole run.
    `device_stage_s[i]` and `cloud_stage_s[i]` are mean times of stage i where it ran there, else None.
    `conserved` says that captured = done + filtered + dropped + failed + in flight.
    """

    elapsed_s: float
    captured: int
    done_device: int
    done_cloud: int
    filtered: int
    dropped: dict[str, int]
    failed: int
    in_flight: int
    conserved: bool
    fps: float
    fps_all: float
    latency: Latency
    latency_all: Latency
    latency_mean: float | None
    latency_max: float | None
    device_stage_s: tuple[float | None, ...]
    cloud_stage_s: tuple[float | None, ...]
    sent_bytes: int
    bytes_per_s: float
    system_cpu: float | None
    process_cpu: float | None
    process_cpu_mean: float | None
    rss_max: int

    @property
    def done(self) -> int:
        """Frames done, wherever."""
        return self.done_device + self.done_cloud

    @property
    def dropped_total(self) -> int:
        """Frames dropped, for whatever reason."""
        return sum(self.dropped.values())

    def to_json(self) -> str:
        """The snapshot as an indented JSON object that ends in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


class Summary:
    """Counts what is captured and delivered."""

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._captured = 0
        self._started_at: float | None = None
        self._done = {"device": 0, "cloud": 0}
        self._filtered = self._failed = self._sent_bytes = 0
        self._dropped: dict[str, int] = {}
        self._rate, self._bytes = RateMeter(window_s), RateMeter(window_s)
        self._recent, self._latencies = RollingQuantile(RECENT_LATENCIES), LogHistogram()
        self._device, self._cloud = _StageTimes(), _StageTimes()
        self._host: HostSample | None = None
        self._cpu_seconds = self._cpu_span = 0.0
        self._rss_max = 0

    @property
    def latencies(self) -> LogHistogram:
        """Seconds from capture to delivery of all frames done or filtered."""
        return self._latencies

    def captured(self, now: float, count: int = 1) -> None:
        """`count` frames were captured; the first starts the run's time."""
        if self._started_at is None:
            self._started_at = now
        self._captured += count

    def add(
        self,
        outcome_kind: str,
        where: str = "",
        latency_s: float = 0.0,
        device_s: Sequence[float] = (),
        cloud_s: Sequence[float] = (),
        *,
        now: float,
        split: int = -1,
        sent_bytes: int = 0,
        reason: str = "",
    ) -> None:
        """A frame's outcome was delivered at `now`.

        Args:
            outcome_kind: done, filtered, dropped or failed.
            where: of a done frame, device or cloud.
            latency_s: seconds from capture to delivery.
            device_s: seconds of the stages that ran on the device: [0, split), then those after the cloud's.
            cloud_s: seconds of the stages from `split` on that ran in the cloud.
            now: when.
            split: how many stages the device ran first; default: all of `device_s`.
            sent_bytes: payload bytes sent for it.
            reason: of a dropped frame.

        Raises:
            ValueError: no such outcome, or done in no such place.
        """
        self._count(outcome_kind, where, reason)
        if outcome_kind in ("done", "filtered"):
            self._rate.add(now)
            self._recent.add(latency_s)
            self._latencies.add(latency_s)
        if cloud_s:
            split = len(device_s) if split < 0 else split
            self._device.add(0, device_s[:split])
            self._cloud.add(split, cloud_s)
            self._device.add(split + len(cloud_s), device_s[split:])
        else:
            self._device.add(0, device_s)
        self._sent_bytes += sent_bytes
        self._bytes.add(now, sent_bytes)

    def host(self, sample: HostSample) -> None:
        """A sample of the host came."""
        if self._host is not None:
            span = sample.at - self._host.at
            self._cpu_seconds += span * sample.process_cpu
            self._cpu_span += span
        self._host = sample
        self._rss_max = max(self._rss_max, sample.rss)

    def snapshot(self, now: float, *, in_flight: int | None = None) -> SummarySnapshot:
        """The run at `now`.

        `in_flight` is how many frames the session holds, which makes `conserved` a check of it; without it, what
        has no outcome counts as in flight, and only more outcomes than captures are an error.
        """
        open_frames = self._captured - sum(self._done.values()) - self._filtered - sum(self._dropped.values()) - self._failed
        elapsed = now - self._started_at if self._started_at is not None else 0.0
        answers = self._latencies.count
        host = self._host
        return SummarySnapshot(
            elapsed_s=elapsed,
            captured=self._captured,
            done_device=self._done["device"],
            done_cloud=self._done["cloud"],
            filtered=self._filtered,
            dropped=dict(self._dropped),
            failed=self._failed,
            in_flight=open_frames if in_flight is None else in_flight,
            conserved=open_frames >= 0 and in_flight in (None, open_frames),
            fps=self._rate.rate(now),
            fps_all=answers / elapsed if elapsed > 0.0 else 0.0,
            latency=_latency(self._recent),
            latency_all=_latency(self._latencies),
            latency_mean=self._latencies.mean,
            latency_max=self._latencies.max if answers else None,
            device_stage_s=self._device.means(),
            cloud_stage_s=self._cloud.means(),
            sent_bytes=self._sent_bytes,
            bytes_per_s=self._bytes.rate(now),
            system_cpu=host.system_cpu if host else None,
            process_cpu=host.process_cpu if host else None,
            process_cpu_mean=self._cpu_seconds / self._cpu_span if self._cpu_span else None,
            rss_max=self._rss_max,
        )

    def _count(self, kind: str, where: str, reason: str) -> None:
        if kind == "done" and where in self._done:
            self._done[where] += 1
        elif kind == "filtered":
            self._filtered += 1
        elif kind == "dropped":
            known = reason in self._dropped or len(self._dropped) < MAX_REASONS
            key = reason if known else "other"
            self._dropped[key] = self._dropped.get(key, 0) + 1
        elif kind == "failed":
            self._failed += 1
        else:
            raise ValueError(f"outcome {kind!r} {where!r}: must be done (device or cloud), filtered, dropped or failed")


class _StageTimes:
    """Sum and count of seconds per stage."""

    def __init__(self) -> None:
        self._sums: list[float] = []
        self._counts: list[int] = []

    def add(self, start: int, seconds: Sequence[float]) -> None:
        """The stages from `start` on took `seconds`."""
        if not seconds:
            return
        missing = start + len(seconds) - len(self._sums)
        if missing > 0:
            self._sums += [0.0] * missing
            self._counts += [0] * missing
        for stage, taken in enumerate(seconds, start):
            self._sums[stage] += taken
            self._counts[stage] += 1

    def means(self) -> tuple[float | None, ...]:
        """The mean per stage, None where none ran."""
        return tuple(total / count if count else None for total, count in zip(self._sums, self._counts, strict=True))


def _latency(quantiles: RollingQuantile | LogHistogram) -> Latency:
    return Latency(p50=quantiles.quantile(0.5), p95=quantiles.quantile(0.95), p99=quantiles.quantile(0.99))
