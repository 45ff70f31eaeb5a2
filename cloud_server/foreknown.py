"""What batches take, told before any ran. Pure."""

from __future__ import annotations

from cloud_server.events import Profiled
from cloud_server.latency import Latency

__all__ = ["foretell"]


def foretell(latency: Latency, event: Profiled) -> None:
    """Let the latency model begin with what was measured; what batches have shown already stays as it is."""
    segments = [(event.app, start, stop, variant) for start, stop, variant, _, _ in event.samples]
    new = {segment for segment in segments if not latency.knows(segment)}
    for segment, (_, _, _, jobs, seconds) in zip(segments, event.samples):
        if segment in new:
            latency.learn(segment, jobs, seconds)
