"""Who answered, in colour: a frame with its objects, a band of the answerer's colour, and a legend.

A value says who made it in its field `by`; whether it came late, and why a frame has no answer, only its result knows.
"""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np

__all__ = ["BAND", "COLOURS", "LATE", "annotate", "drawn"]

_Array = np.ndarray[Any, Any]

COLOURS = {
    "local": (0, 150, 255),
    "cloud": (80, 200, 60),
    "cloud2": (230, 150, 40),
    "merged": (210, 70, 200),
    "extrapolated": (0, 235, 235),
    "nobody": (110, 110, 110),
}
"""Of each answerer, BGR: orange, green, blue, violet, yellow, grey."""
LATE = (40, 40, 230)
"""The right half of the band where an answer stood after its deadline: red."""
BAND = 16
"""Height of the band on top and of the legend at the bottom, pixels."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(item: _Array, value: Any) -> _Array:
    """The app's own way to draw: all that a value says."""
    fields = value if isinstance(value, dict) else msgspec.structs.asdict(value) if value is not None else {}
    return drawn(item, fields.get("objects") or (), fields.get("by") or "nobody")


def drawn(item: _Array, objects: Any, by: str, *, late: bool = False, note: str = "") -> _Array:
    """A copy of the captured frame, in which colour says who answered.

    Args:
        item: (H, W, 3) uint8 BGR.
        objects: of the result.
        by: a key of COLOURS.
        late: the answer stood after its deadline.
        note: more words for the band, for example why there is no answer.
    """
    picture = item.copy()
    colour = COLOURS.get(by, COLOURS["nobody"])
    for each in objects:
        _box(picture, each, colour)
    _band(picture, colour, " ".join(filter(None, (by, "LATE" if late else "", note))), late)
    _legend(picture)
    return picture


def _box(picture: _Array, each: Any, colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = (round(side) for side in each.box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2 if each.id else 1)
    text = f"{each.label} {each.id}" if each.id else f"{each.label}?"
    cv2.putText(picture, text, (x1 + 3, max(BAND + 12, y1 - 4)), _FONT, 0.45, colour, 1, cv2.LINE_AA)


def _band(picture: _Array, colour: tuple[int, int, int], text: str, late: bool) -> None:
    picture[:BAND] = colour
    if late:
        picture[:BAND, picture.shape[1] // 2 :] = LATE
    cv2.putText(picture, text, (6, BAND - 4), _FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)


def _legend(picture: _Array) -> None:
    """Each answerer's colour and name, along the bottom; what does not fit the width is left out."""
    top, x = picture.shape[0] - BAND, 4
    picture[top:] = (20, 20, 20)
    for name, colour in ((*COLOURS.items(), ("late", LATE))):
        width = 18 + cv2.getTextSize(name, _FONT, 0.4, 1)[0][0]
        if x + width > picture.shape[1]:
            return
        picture[top + 3 : top + BAND - 3, x : x + 10] = colour
        cv2.putText(picture, name, (x + 13, top + BAND - 4), _FONT, 0.4, (230, 230, 230), 1, cv2.LINE_AA)
        x += width + 8
