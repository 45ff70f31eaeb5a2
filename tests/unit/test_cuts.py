"""What crosses a cut, and what a frame is made of again when the answer comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from examples.ball_tracking import clip
from examples.ball_tracking.app import Ball, positions
from examples.ball_tracking.app import app as ball
from iot_client.cuts import Crossings
from iot_client.events import FrameCaptured
from iot_client.shelf import Shelf
from tasks import App
from tasks.crossing import applies, returned
from tasks.run import DONE, Runner
from tasks.values import fields_of, freeze, keep_fields
from wire.payload import Packer
from wire.protocol import Result

APPS = pytest.mark.parametrize("app", [ball, positions], ids=lambda app: app.name)
IMAGE = next(iter(clip.frames(12)))


def equal(a: Any, b: Any) -> bool:
    """True if two values are the same bit for bit, arrays and their dtypes included."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is not None and b is not None and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[name], b[name]) for name in a)
    return type(a) is type(b) and a == b


def server(app: App, k: int, received: Any, want: Any) -> Any:
    """What a server sends back of a job from k on."""
    runner = Runner(app, lambda: 0.0, app.instances())
    runner.setup(1, app.n)
    ran = runner.run(k, app.n, received)
    assert ran.kind == DONE
    return returned(ran.value, applies(received, app.crossing(k, app.n)), want, False)


def halves(app: App, k: int, codec: str, want: Any) -> tuple[Any, Any, Any]:
    """A frame with all stages here; the same split at k; what was received there."""
    packer, crossings = Packer(app.types), Crossings(app, app.n)
    runner = Runner(app, lambda: 0.0, app.instances())
    runner.setup(0, app.n)
    item = IMAGE.copy()
    local = keep_fields(runner.run(0, app.n, item).value, want)
    kept = runner.run(0, k, item).value
    freeze(kept)
    received = packer.unpack(crossings.pack(packer, k, kept, codec))
    came = packer.unpack(packer.pack(server(app, k, received, want)))
    return local, crossings.merge(k, kept, came, want), received


@APPS
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("codec", ["raw", "bits", "png"])
@pytest.mark.parametrize("want", [None, ("*",), ("frame", "center")])
def test_without_loss_a_split_frame_is_the_local_one(app: App, k: int, codec: str, want: Any) -> None:
    """Bit for bit, pictures included, in the same order of fields."""
    local, merged, _ = halves(app, k, codec, want)
    assert equal(local, merged) and list(local) == list(merged)


@APPS
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_only_what_is_read_crosses(app: App, k: int) -> None:
    """All other fields arrive as nobody had set them."""
    _, _, received = halves(app, k, "raw", None)
    sends = app.crossing(k, app.n).sends
    assert sends is not None and sends
    there = {name for name, item in fields_of(received).items() if item is not None}
    assert there == sends


@APPS
def test_a_loss_on_the_way_shows_in_no_field_that_stayed(app: App) -> None:
    """With JPEG at k = 1 the picture in the result is the original, and the ball is where it was to a pixel."""
    local, merged, received = halves(app, 1, "jpeg:50", ("*",))
    assert equal(local["frame"], merged["frame"]) and not equal(received.frame, merged["frame"])
    assert merged["x"] == pytest.approx(local["x"], abs=2.0) and merged["radius"] == pytest.approx(local["radius"], abs=2.0)


def test_a_field_that_bears_no_loss_crosses_without() -> None:
    """At k = 2 the colours are needed as they are, the frame to draw on is not: a JPEG codec touches only that."""
    _, _, received = halves(ball, 2, "jpeg:50", None)
    packer, runner = Packer(ball.types), Runner(ball, lambda: 0.0, ball.instances())
    runner.setup(0, ball.n)
    kept = runner.run(0, 2, IMAGE.copy()).value
    assert equal(received.hsv, kept.hsv) and not equal(received.frame, kept.frame)
    assert packer.pack(kept).nbytes > Crossings(ball, ball.n).pack(packer, 2, kept, "jpeg:50").nbytes


# -- answers ---------------------------------------------------------------------------------------


def shelf(**values: Any) -> Shelf:
    """One that keeps frame 0 with these values, {0: item, k: value}."""
    made = Shelf(Packer(positions.types), 6, crossings=Crossings(positions, 6))
    made.captured(FrameCaptured(0, 0.0), IMAGE)
    made.kept[0].values.update({int(k[1:]): value for k, value in values.items()})
    return made


def test_a_result_for_a_cut_never_made_is_a_failed_frame_with_words() -> None:
    """The server answers from stage 3 on, but the frame was cut at 5: nothing is merged, and it says why."""
    packer, made = Packer(positions.types), shelf(k5=Ball(x=1.0, y=2.0, radius=3.0))
    found = made.answered(Result(0, "done", 3, 6), packer.pack((True, {"place": (1.0, 2.0, 3.0)})))
    assert found.outcome == "failed" and "stage 3" in found.reason and "nothing was cut" in found.reason
    assert 6 not in made.kept[0].values


@pytest.mark.parametrize("answer", [None, 7, (True, {"frame": 1}), (1, {"place": 2}), (True, 3), {"place": 1}])
def test_an_answer_no_server_gives_is_a_failed_frame_with_words(answer: Any) -> None:
    """Whatever it holds, the frame fails and the client goes on."""
    packer, made = Packer(positions.types), shelf(k5=Ball(x=1.0, y=2.0, radius=3.0))
    found = made.answered(Result(0, "done", 5, 6), packer.pack(answer))
    assert found.outcome == "failed" and found.reason.startswith("result unreadable: ")


@pytest.mark.parametrize("start", [0, 6, 9])
def test_a_result_that_starts_where_no_cut_can_be_is_a_failed_frame(start: int) -> None:
    """Also where a value is kept at that stage: the item itself is one."""
    packer, made = Packer(positions.types), shelf(k5=Ball(x=1.0, y=2.0, radius=3.0))
    stop = max(6, start + 1)
    found = made.answered(Result(0, "done", start, stop), packer.pack((True, {"place": (1.0, 2.0, 3.0)})))
    assert found.outcome == "failed"


def test_the_first_answer_stands() -> None:
    """A second one changes nothing, even if it is another."""
    packer, made = Packer(positions.types), shelf(k5=Ball(x=1.0, y=2.0, radius=3.0))
    made.answered(Result(0, "done", 5, 6), packer.pack((True, {"place": (1.0, 2.0, 3.0)})))
    made.answered(Result(0, "done", 5, 6), packer.pack((True, {"place": (9.0, 9.0, 9.0)})))
    assert made.kept[0].values[6]["place"] == (1.0, 2.0, 3.0)


def test_a_study_may_pack_behind_where_jobs_end() -> None:
    """Jobs that end before stage 2 have no cut at 3; what a frame weighs there is told as of a job to the last stage."""
    packer, value = Packer(ball.types), Runner(ball, lambda: 0.0, ball.instances()).run(0, 3, IMAGE).value
    assert Crossings(ball, 2).pack(packer, 3, value, "raw").nbytes == Crossings(ball, ball.n).pack(packer, 3, value, "raw").nbytes
