"""The legal ways of a frame: every cut in every codec that loses no more than the stages behind it accept."""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.costs import LOSSLESS
from iot_client.policy import LOCAL
from tasks import App
from wire.codecs import parse_codec

__all__ = ["QUALITIES", "ways_of"]

QUALITIES = (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20)
"""JPEG qualities tried: steps of about a tenth in bytes, so that a mix of neighbours fills any link."""
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
        least = max([min_quality or 1, *(loss.quality for loss in losses)])
        ladder = [quality for quality in QUALITIES if quality >= least] or [least]
        ways += [(k, f"jpeg:{quality}", quality) for quality in ladder]
        width = max(loss.width for loss in losses)
        if width and all(loss.width for loss in losses):
            reduced = [(k, f"jpeg:{quality}@{width}", int(_REDUCED * quality)) for quality in ladder[::4]]
            ways += [way for way in reduced if way[2] >= (min_quality or 0) and _exists(way[1])]
    return tuple(ways)


def _exists(codec: str) -> bool:
    """False for a width that stages may accept and no codec has."""
    try:
        parse_codec(codec)
    except ValueError:
        return False
    return True
