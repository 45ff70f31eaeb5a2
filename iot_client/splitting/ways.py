"""The legal ways of a frame: every cut in every codec that loses no more than the stages behind it accept."""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.splitting.costs import LOSSLESS
from iot_client.splitting.policy import LOCAL, Region
from tasks import App
from tasks.crossing import Loss
from wire.codecs import parse_codec

__all__ = ["FLOATS", "QUALITIES", "regions_of", "ways_of"]

QUALITIES = (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20)
"""JPEG qualities tried: steps of about a tenth in bytes, so that a mix of neighbours fills any link."""
FLOATS = {"fp16": 99, "int8": 97}
"""What floats in fewer bits count as a quality: a detector loses less by them than by a JPEG of 95, see docs/neural.md."""
_REDUCED = 0.5
"""What a reduced picture's quality counts."""


def ways_of(app: App, cuts: Sequence[int], stop: int, mode: str, min_quality: int | None) -> tuple[tuple[int, str, int], ...]:
    """All (k, codec, quality) for these stage counts, (n, "", 100) included where legal.

    In lossless mode nothing is lost unless a least quality is given.
    """
    ways: list[tuple[int, str, int]] = []
    for k in cuts:
        if k == app.n:
            ways.append((k, LOCAL, LOSSLESS))
            continue
        ways += [(k, "raw", LOSSLESS), (k, "bits", LOSSLESS)]
        losses = app.crossing(k, stop).lossy.values()
        if not losses or (mode == "lossless" and min_quality is None):
            ways.append((k, "png", LOSSLESS))
            continue
        pictures = [loss for loss in losses if loss.quality]
        ways += _pictures(k, pictures, min_quality) if pictures else [(k, "png", LOSSLESS)]
        kinds = [kind for kind in FLOATS if any(loss.permits(kind) for loss in losses)]
        ways += [(k, kind, FLOATS[kind]) for kind in kinds if FLOATS[kind] >= (min_quality or 0)]
    return tuple(ways)


def _pictures(k: int, losses: Sequence[Loss], min_quality: int | None) -> list[tuple[int, str, int]]:
    """A ladder of JPEGs, and a sparser one of reduced pictures where all that are sent may be reduced."""
    least = max([min_quality or 1, *(loss.quality for loss in losses)])
    ladder = [quality for quality in QUALITIES if quality >= least] or [least]
    ways = [(k, f"jpeg:{quality}", quality) for quality in ladder]
    width = max(loss.width for loss in losses)
    if width and all(loss.width for loss in losses):
        reduced = [(k, f"jpeg:{quality}@{width}", int(_REDUCED * quality)) for quality in ladder[::4]]
        ways += [way for way in reduced if way[2] >= (min_quality or 0) and _exists(way[1])]
    return ways


def regions_of(app: App, lacks: frozenset[int], k: int, mode: str, min_quality: int | None) -> tuple[Region, ...]:
    """All regions of an app whose state may move, given the stages this device lacks.

    In the first one k stages may run here, and if possible those with state do.
    """
    cuts: dict[tuple[int, int], list[int]] = {}
    whole = not app.why_not(app.n, lacks)
    for start in range(1, app.n):
        for stop in app.stops(start, lacks):
            first = next((stage for stage in range(start, stop) if app.chain[stage].stateful), -1)
            cuts.setdefault((stop, first), []).append(start)
    if whole:
        cuts.setdefault((app.n, -1), [])
        for (_, first), starts in cuts.items():
            starts += [app.n] * (first < 0)
    regions = [Region(stop, first, ways_of(app, starts, stop, mode, min_quality)) for (stop, first), starts in cuts.items()]
    return tuple(sorted(regions, key=lambda region: (all(way[0] != k for way in region.ways), region.stage >= 0, region.stop)))


def _exists(codec: str) -> bool:
    """False for a width that stages may accept and no codec has."""
    try:
        parse_codec(codec)
    except ValueError:
        return False
    return True
