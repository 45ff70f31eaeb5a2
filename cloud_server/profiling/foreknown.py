"""What batches take, told before any ran. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_server.batches.latency import Latency
from cloud_server.events import Profiled

__all__ = ["foretell"]

_LEAST = 1.05
"""The margin to begin with, at least: under load batches scatter more than alone."""


def foretell(latency: Latency, event: Profiled) -> None:
    """Let the latency model begin with what was measured; what batches have shown already stays as it is.

    The margin for slow batches begins with what the profile saw of them. Without that each variant would begin with one for
    strangers, and one that then just does not fit would never run and so never show that it does.
    """
    segments = [(event.app, start, stop, variant) for start, stop, variant, *_ in event.samples]
    new = {segment for segment in segments if not latency.knows(segment)}
    for segment in new:
        slow = [tail / seconds for of, (*_, seconds, tail) in zip(segments, event.samples) if of == segment and tail and seconds]
        if slow:
            latency.expect(segment, max(_LEAST, _middle(slow)))
    for segment, (_, _, _, jobs, seconds, _) in zip(segments, event.samples):
        if segment in new:
            latency.learn(segment, jobs, seconds)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
