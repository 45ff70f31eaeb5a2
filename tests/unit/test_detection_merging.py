"""Two answers as one: the union of what both saw."""

from __future__ import annotations

import numpy as np
import pytest

from examples.detection.boxes import NOTHING, Detections
from examples.detection.merging import union


def one(left: float, score: float, label: int = 0) -> Detections:
    """A square of 100 pixels."""
    box = np.array([[left, 50.0, left + 100.0, 150.0]], np.float32)
    return Detections(box, np.array([score], np.float32), np.array([label], np.int64))


def test_what_both_saw_is_one_thing_in_between() -> None:
    """Its box is the mean of both, weighted by score, its score the better one."""
    found = union(one(100.0, 0.3), one(110.0, 0.6))
    assert found.count == 1 and found.scores[0] == pytest.approx(0.6)
    assert np.allclose(found.boxes[0], ((100 * 0.3 + 110 * 0.6) / 0.9, 50, (200 * 0.3 + 210 * 0.6) / 0.9, 150), atol=1e-4)


def test_what_one_of_them_saw_stays() -> None:
    """Another class or another place is another thing; the order is by score."""
    found = union(one(100.0, 0.9), Detections(*map(np.concatenate, zip(*(
        (each.boxes, each.scores, each.labels) for each in (one(100.0, 0.5, label=2), one(400.0, 0.7))
    )))))
    assert found.count == 3 and found.labels.tolist() == [0, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])


def test_the_less_trusted_has_to_be_surer() -> None:
    """With a trust of a half a score of 0.6 counts 0.3: less than the bound, and a third of the weight beside 0.6."""
    assert union(one(100.0, 0.6), NOTHING, trust=0.5, least=0.35).count == 0
    assert union(one(100.0, 0.8), NOTHING, trust=0.5, least=0.35).scores[0] == pytest.approx(0.4)
    assert union(one(100.0, 0.6), one(109.0, 0.6), trust=0.5).boxes[0, 0] == pytest.approx(106.0)


def test_nothing_seen_is_nothing() -> None:
    """And a trust out of range is named."""
    assert union(NOTHING, NOTHING).count == 0
    with pytest.raises(ValueError, match=r"trust=1\.5: legal are 0 to 1"):
        union(NOTHING, NOTHING, trust=1.5)
