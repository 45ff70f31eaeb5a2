"""What one run of a fleet leaves behind, whichever system ran it. Times are seconds since the run began."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from experiments.links import LinkTrace

__all__ = ["BatchRow", "FleetRun", "OfferRow", "ShotRow", "offers_of"]


class ShotRow(msgspec.Struct, frozen=True, gc=False):
    """One frame a camera showed. `outcome` is done, dropped:REASON or unread (the device did not take it); `variant` it was made with."""

    device: int
    shown: float
    latency: float
    outcome: str
    variant: str = ""
    accuracy: float = 0.0


class BatchRow(msgspec.Struct, frozen=True, gc=False):
    """One batch at a worker; `late` jobs in it were answered after their deadline."""

    worker: int
    at: float
    seconds: float
    size: int
    variant: str = ""
    late: int = 0


class OfferRow(msgspec.Struct, frozen=True, gc=False):
    """From `at` on a device's link carried so many Mbit/s up."""

    device: int
    at: float
    mbit: float


class FleetRun(msgspec.Struct, frozen=True, kw_only=True):
    """One case run by one system with one seed. `facts` are figures of the whole run by name."""

    case: str
    link: str
    system: str
    seed: int
    shots: tuple[ShotRow, ...] = ()
    batches: tuple[BatchRow, ...] = ()
    offers: tuple[OfferRow, ...] = ()
    facts: dict[str, float] = {}


def offers_of(traces: Sequence[LinkTrace], seconds: float) -> tuple[OfferRow, ...]:
    """The uplinks of all devices over time."""
    return tuple(
        OfferRow(device, point.at, 0.0 if point.cut else point.up_mbit)
        for device, trace in enumerate(traces) for point in trace.points if point.at < seconds
    )
