"""Who answered, in colour: bands, boxes and the legend."""

from __future__ import annotations

import numpy as np
import pytest

from examples.detection.answered import BAND, COLOURS, LATE, annotate, drawn
from examples.detection.tracker import Object

GREY = np.full((240, 640, 3), 90, np.uint8)
BALL = Object("ball", 0.9, (100.0, 80.0, 160.0, 140.0), 7)


@pytest.mark.parametrize("by", COLOURS)
def test_colour_says_who_answered(by: str) -> None:
    """The band on top and the box have the colour of the answerer; the captured frame stays as it is."""
    picture = drawn(GREY, [BALL], by)
    assert tuple(picture[BAND // 2, 500]) == COLOURS[by] and tuple(picture[100, 100]) == COLOURS[by]
    assert (GREY == 90).all()


def test_late_is_marked() -> None:
    """Half of the band is red."""
    picture = drawn(GREY, [BALL], "local", late=True)
    assert tuple(picture[2, 500]) == LATE and tuple(picture[2, 300]) == COLOURS["local"]


def test_the_legend_shows_every_colour() -> None:
    """At the bottom of a wide frame; of a narrow one as many as fit."""
    wide = {tuple(pixel) for pixel in drawn(GREY, (), "cloud")[-BAND:].reshape(-1, 3)}
    assert {*COLOURS.values(), LATE} <= wide
    narrow = {tuple(pixel) for pixel in drawn(np.ascontiguousarray(GREY[:, :120]), (), "cloud")[-BAND:].reshape(-1, 3)}
    assert COLOURS["local"] in narrow and LATE not in narrow


def test_a_value_says_it_itself() -> None:
    """A result's dict of fields; a frame without a value was answered by nobody."""
    assert tuple(annotate(GREY, {"by": "cloud2", "objects": (BALL,)})[2, 500]) == COLOURS["cloud2"]
    assert tuple(annotate(GREY, None)[2, 500]) == COLOURS["nobody"]
