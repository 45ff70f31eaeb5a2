"""How long a batch takes, for each segment: what batches of each size took lately, and a margin for the slow ones.

Pure. It begins with one batch, follows a machine that gets busier, and knows what batching saves as soon as batches of several sizes ran.
"""

from __future__ import annotations

from cloud_server.batches.latency_curve import FIRST_MARGIN, Curve

__all__ = ["UNKNOWN", "Latency", "Segment"]

Segment = tuple[str, int, int, str]
"""(app, start, stop, variant)."""

UNKNOWN = 0.001
"""Seconds that a batch is taken to last of which none ever ran."""


class Latency:
    """Seconds of a batch, by segment and size. `curves` are those of the segments that ever ran."""

    def __init__(self) -> None:
        self.curves: dict[Segment, Curve] = {}
        self._margins: dict[Segment, float] = {}

    def expect(self, segment: Segment, margin: float) -> None:
        """Its slow batches take so many times what is expected of them; to begin with, if none ran yet."""
        self._margins[segment] = margin

    def learn(self, segment: Segment, size: int, seconds: float, share: float = 0.0) -> None:
        """A batch of so many jobs took so long; a job of this segment cost `share` of it, if not an equal part."""
        curve = self.curves.get(segment)
        if curve is None:
            self.curves[segment] = Curve(size, seconds, self._margins.pop(segment, FIRST_MARGIN))
        else:
            curve.learn(size, seconds, share)

    def knows(self, segment: Segment) -> bool:
        """True if a batch of it ever ran."""
        return segment in self.curves

    def seconds(self, segment: Segment, size: int = 1, unknown: float = UNKNOWN) -> float:
        """Seconds to expect of a batch; `unknown` for what never ran. Never falls with size."""
        curve = self.curves.get(segment)
        return unknown if curve is None else curve.seconds(size)

    def tail(self, segment: Segment, size: int = 1, unknown: float = UNKNOWN) -> float:
        """Seconds within which 98 of 100 such batches end."""
        curve = self.curves.get(segment)
        return unknown if curve is None else curve.tail(size)

    def share(self, segment: Segment, unknown: float = UNKNOWN) -> float:
        """Seconds of the server that one job costs, in batches as they were lately."""
        curve = self.curves.get(segment)
        return unknown if curve is None else curve.share

    def largest(self, segment: Segment, seconds: float, most: int, waits: float = 0.0) -> int:
        """How many jobs a batch may have, up to `most`, that ends within `seconds` by `tail`; 0 if not even one. Before it, there
        must be time for `waits` such batches as they are in the mean.

        What is not known is tried: with one size seen, twice that is taken to fit where it fits itself. Nothing beyond twice the
        largest size known is.
        """
        curve = self.curves.get(segment)
        if curve is None:
            return most
        most = min(most, curve.most)
        if not curve.known and curve.seconds(curve.most // 2) <= seconds:
            return most
        fits, over = 0, most + 1
        while over - fits > 1:
            size = (fits + over) // 2 if over <= most else most
            if curve.tail(size) + waits * curve.seconds(size) <= seconds:
                fits = size
            else:
                over = size
        return fits

    def forget(self, app: str) -> None:
        """An app is gone."""
        for segment in [segment for segment in self.curves if segment[0] == app]:
            del self.curves[segment]
