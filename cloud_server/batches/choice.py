"""Which of the jobs that wait run together now, if not all of them can be in time in one batch."""

from __future__ import annotations

from collections.abc import Sequence

from cloud_server.batches.latency import Latency, Segment

__all__ = ["choose"]


def choose(slacks: Sequence[float], segment: Segment, latency: Latency, *, behind: int, crowded: bool = False) -> tuple[int, int]:
    """How many of the most urgent jobs are given up, and how many of the next ones run now; the rest waits.

    A job with little time left forces a small batch. If all that waits can still be done after it, it is run so. If not, something is
    lost either way, and what counts is what the worker's time is used for: it could run all n jobs in T(n), so a batch of b that takes
    T(b) is worth b less the n * T(b) / T(n) jobs which that time could have gone into. (Nexus, SOSP'19, drops early for the same reason.)

    Args:
        slacks: seconds until each job must be answered, in rising order; the first can be in time if it runs alone.
        behind: how many others wait behind these.
        crowded: more comes than can be done, so time that these do not need is not lost.
    """
    n = len(slacks)
    most = latency.largest(segment, slacks[0], n)
    if most >= n or n == 1:
        return 0, n
    first = max(most, 1)
    took = latency.tail(segment, first)
    whole, rest = divmod(n - first + behind, n)
    after = whole * latency.tail(segment, n) + (latency.tail(segment, rest) if rest else 0.0)
    if not crowded and slacks[first] >= took + after:
        return 0, first
    price = n / latency.tail(segment, n)
    best, skip, size = first - price * took, 0, first
    for k in range(1, n):
        b = min(latency.largest(segment, slacks[k], n), n - k)
        worth = b - price * latency.tail(segment, b)
        if worth > best + 1e-9:
            best, skip, size = worth, k, b
        if b == n - k:
            break
    return skip, size
