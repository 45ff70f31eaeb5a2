"""The ball tracking app: equal to the plain loop at every split, right about where the ball is, and bounded."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pytest

from examples.ball_tracking import app as module
from examples.ball_tracking import clip as rendered
from examples.ball_tracking import sequential
from examples.ball_tracking.app import Ball, Tracks, annotate, app, positions
from tasks import END, App, Loss, Runner, applies, check_declarations, merged, returned
from tasks.plain import to_plain
from tasks.run import Ran
from tasks.values import keep_fields
from wire.payload import Packer

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def images() -> list[Any]:
    """The rendered clip, read-only as captured items are."""
    made = list(rendered.frames(300))
    for image in made:
        image.flags.writeable = False
    return made


@pytest.fixture(scope="module")
def expected(images: list[Any]) -> Rows:
    """What the plain loop says of it."""
    return [sequential.row(*found) for found in sequential.positions(images)]


def as_row(seq: int, ran: Ran) -> dict[str, Any]:
    """A run in the form of the plain loop's rows."""
    if ran.kind == "filtered":
        return {"seq": seq, "outcome": "filtered", "stage": ran.stage, "value": None}
    assert ran.kind == "done", ran.error
    value = keep_fields(ran.value, None)
    return {"seq": seq, "outcome": "done", "stage": None, "value": {**value, "center": list(value["center"])}}


def every_split(runner: Runner, image: Any) -> list[Ran]:
    """Stages [0, k), then [k, n) on what they gave, for k = 1..n."""
    first, runs = Ran("done", image, ()), []
    for k in range(1, app.n + 1):
        first = runner.run(k - 1, k, first.value) if first.kind == "done" else first
        runs.append(runner.run(k, app.n, first.value) if first.kind == "done" else first)
    return runs


def frames_of(path: Path) -> Iterator[Any]:
    """The frames of a video file."""
    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield read[1]
    capture.release()


def test_stages_are_those_of_the_original() -> None:
    """Six stages and an aggregate, by their names; every cut is legal."""
    assert app.names == ("get_frame", "calculate_hsv", "calculate_mask", "find_contours", "calculate_circle", "draw_circle")
    assert app.aggregate is not None and app.aggregate.stage_name == "tracks"
    assert app.legal_cuts() == (1, 2, 3, 4, 5, 6)


def test_its_own_clip_goes_on_behind_what_a_spool_has(images: list[Any]) -> None:
    """After skip(298) come the last two frames, and the end: a run that was killed does not play the clip twice."""
    source = module.GetFrame()
    source.skip(298)
    assert [np.array_equal(source.read(), image) for image in images[298:]] == [True, True] and source.read() is END


def test_all_local_equals_the_plain_loop(images: list[Any], expected: Rows) -> None:
    """Frame by frame the app says what the plain loop says, to the last bit; both filters fire."""
    runner = Runner(app, perf_counter)
    assert [as_row(seq, runner.run(0, app.n, image)) for seq, image in enumerate(images)] == expected
    stages = Counter(row["stage"] for row in expected)
    assert stages[3] > 0 and stages[4] > 0 and 15 <= stages[3] + stages[4] <= 60


def test_every_split_equals_the_plain_loop(images: list[Any], expected: Rows) -> None:
    """A frame may be cut before any stage without a difference."""
    runner = Runner(app, perf_counter)
    for seq, image in enumerate(images):
        assert [as_row(seq, ran) for ran in every_split(runner, image)] == [expected[seq]] * app.n


@pytest.mark.slow
def test_real_clip_equals_the_plain_loop(clip: Callable[[str], Path]) -> None:
    """A filmed ball is tracked as the plain loop does it, at every split and all-local, in every frame."""
    runner, count = Runner(app, perf_counter), 0
    for image in frames_of(clip("ball.mp4")):
        ((_, found, stage),) = sequential.positions([image])
        assert [as_row(0, ran) for ran in every_split(runner, image)] == [sequential.row(0, found, stage)] * app.n
        count += 1
    assert count == 1004


def test_annotated_picture_equals_the_plain_loop_s(images: list[Any]) -> None:
    """The picture with the circle is the same, and the frame it is drawn on stays clean."""
    runner = Runner(app, perf_counter)
    for seq, found, _ in sequential.positions(images[:40]):
        value = runner.run(0, app.n, images[seq]).value
        if found is None:
            assert value is None
        else:
            assert np.array_equal(value.annotated, found.annotated)
            assert np.array_equal(value.frame, cv2.resize(images[seq], (500, 375), interpolation=cv2.INTER_AREA))


def test_result_carries_positions_only(images: list[Any]) -> None:
    """By default a result has no pictures; a wanted one comes."""
    value = Runner(app, perf_counter).run(0, app.n, images[0]).value
    assert list(keep_fields(value, None)) == ["x", "y", "radius", "center"]
    assert keep_fields(value, ("annotated",))["annotated"].shape == (375, 500, 3)


@pytest.mark.parametrize("which", [app, positions], ids=lambda which: which.name)
def test_stages_set_what_they_declare(which: App, images: list[Any]) -> None:
    """Each stage sets and clears exactly the fields in `writes`, and needs only those in `reads`."""
    runner = Runner(which, perf_counter)
    value = runner.run(0, 1, images[0]).value
    for index, stage in enumerate(which.chain[1:], start=1):
        assert stage.reads is not None and stage.writes is not None
        after = runner.run(index, index + 1, value).value
        changed = {name for name in Ball.__struct_fields__ if getattr(after, name) is not getattr(value, name)}
        assert changed == set(stage.writes)
        alone = Ball(**{name: getattr(value, name) for name in stage.reads})
        sparse = runner.run(index, index + 1, alone)
        assert sparse.kind == "done", sparse.error
        for name in stage.writes:
            assert repr(to_plain(getattr(sparse.value, name))) == repr(to_plain(getattr(after, name)))
        value = after


@pytest.mark.parametrize("which", [app, positions], ids=lambda which: which.name)
def test_declarations_hold_on_the_clip(which: App, images: list[Any]) -> None:
    """No stage of either app reads or writes a field that it does not declare."""
    assert check_declarations(which, images[::25]) == []


def test_only_what_is_read_is_sent() -> None:
    """With the circle drawn last the frame crosses at every cut; without, only numbers cross after the circle."""
    sends = [[set(which.crossing(k, which.n).sends or ()) for k in range(1, 6)] for which in (app, positions)]
    assert sends[0] == [
        {"frame"}, {"frame", "hsv"}, {"frame", "mask"}, {"frame", "contours"}, {"frame", "x", "y", "radius", "center"},
    ]
    assert sends[1] == [{"frame"}, {"hsv"}, {"mask"}, {"contours"}, {"x", "y", "radius"}]


def test_only_the_frame_may_be_lossy() -> None:
    """A JPEG may stand for the frame wherever it crosses, never for what is computed from it."""
    lossy = [[which.crossing(k, which.n).lossy for k in range(1, 6)] for which in (app, positions)]
    assert lossy == [[{"frame": Loss(50)}] * 5, [{"frame": Loss(50)}, {}, {}, {}, {}]]


def test_payload_of_a_position_is_small(images: list[Any]) -> None:
    """After the circle stage at most 100 bytes cross, and a result split there equals one that was not split."""
    packer, runner = Packer([Ball]), Runner(positions, perf_counter)
    kept, here = runner.run(0, 5, images[0]).value, runner.run(0, 6, images[0]).value
    crossing = applies(kept, positions.crossing(5, 6))
    payload = packer.pack(kept, fields=crossing.sends)
    assert payload.nbytes <= 100
    received = packer.unpack(payload)
    answer = returned(runner.run(5, 6, received).value, applies(received, positions.crossing(5, 6)), None, False)
    assert merged(kept, packer.unpack(packer.pack(answer)), crossing, None, False) == keep_fields(here, None)
    assert list(answer[1]) == ["place"]


def test_place_is_that_of_a_pinhole_camera() -> None:
    """The clip's ball would be a tennis ball half a metre away; one at the middle is straight ahead."""
    locate = module.Locate(focal=400.0, ball=0.03)
    assert locate.run(Ball(x=250.0, y=187.5, radius=24.0)).place == (0.0, 0.0, 0.5)
    assert locate.run(Ball(x=250.0 + 40, y=187.5 - 80, radius=12.0)).place == pytest.approx((0.1, -0.2, 1.0))


def test_only_what_later_stages_need_crosses_a_cut(images: list[Any]) -> None:
    """The arrays at the cuts are 562, 1125, 750, 563 and 563 kB."""
    runner = Runner(app, perf_counter)
    sizes = []
    for k in range(1, 6):
        value = runner.run(0, k, images[0]).value
        held = [getattr(value, name) for name in Ball.__struct_fields__]
        arrays = [item for field in held for item in (field if isinstance(field, tuple) else [field]) if isinstance(item, np.ndarray)]
        sizes.append(round(sum(array.nbytes for array in arrays) / 1000))
    assert sizes == [562, 1125, 750, 563, 562]


def test_source_plays_the_rendered_clip() -> None:
    """Without another source the app reads the rendered clip, then END, and may be started anew."""
    source = module.GetFrame(count=3, seed=5)
    assert source.owns_input and source.fps == 30.0
    items = [source.read() for _ in range(4)]
    assert items[3] is END
    assert all(np.array_equal(item, image) for item, image in zip(items, rendered.frames(3, seed=5)))
    source.close()
    assert np.array_equal(source.read(), items[0])


def test_thresholds_are_part_of_the_fingerprint() -> None:
    """Two sides with different thresholds or widths do not match."""
    def with_circle(**options: Any) -> str:
        circle = module.CalculateCircle()
        vars(circle).update(options)
        return App("ball_tracking", [module.GetFrame(), circle]).fingerprint()

    assert with_circle() == with_circle(min_radius=5.0) != with_circle(min_radius=6.0)


def test_small_and_odd_images_are_tracked() -> None:
    """Any size of image goes through, also one that is 500 wide already."""
    runner = Runner(app, perf_counter)
    for height, width in ((375, 500), (1, 1), (1080, 1920), (101, 37)):
        image = np.zeros((height, width, 3), np.uint8)
        image[height // 3 : 2 * height // 3 + 1, width // 3 : 2 * width // 3 + 1] = (40, 200, 80)
        ((_, found, stage),) = sequential.positions([image])
        assert as_row(0, runner.run(0, app.n, image)) == sequential.row(0, found, stage)


def test_tracker_finds_the_ball() -> None:
    """Median error under 3 px at a width of 500 where the ball is in view, and no ball in view is missed."""
    places = rendered.truth(300)
    errors = []
    for seq, found, _ in sequential.positions(rendered.frames(300)):
        place = places[seq]
        if place.visible > 0.5:
            assert found is not None
        if place.visible > 0.98 and found is not None:
            errors.append(np.hypot(found.x - place.x * 500 / 640, found.y - place.y * 500 / 640))
    assert len(errors) > 150
    assert np.median(errors) < 3 and max(errors) < 8


@pytest.mark.parametrize("seed", [1, 2])
def test_clip_filters_about_a_tenth(seed: int) -> None:
    """Whatever the seed, the ball is away or hidden in about a tenth of the frames."""
    filtered = [found is None for _, found, _ in sequential.positions(rendered.frames(200, seed))]
    assert 0.04 < np.mean(filtered) < 0.25


def test_clip_is_the_same_each_time() -> None:
    """Equal seeds give equal frames, other seeds others; a longer clip begins like a shorter one."""
    first, again, other = (list(rendered.frames(12, seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other))
    assert all(np.array_equal(a, b) for a, b in zip(first, rendered.frames(4, 7)))
    assert rendered.truth(12, 7) == rendered.truth(30, 7)[:12]
    assert first[0].shape == (480, 640, 3) and first[0].dtype == np.uint8 and first[0].flags.writeable


def test_clip_is_written_as_a_video(tmp_path: Path) -> None:
    """The command writes a file that OpenCV reads back; a path that cannot be written is refused in words."""
    assert rendered.main([str(tmp_path / "out.mp4"), "--frames", "5"]) == 0
    assert len(list(frames_of(tmp_path / "out.mp4"))) == 5
    with pytest.raises(OSError, match="cannot write a video to"):
        rendered.write(str(tmp_path / "no" / "out.mp4"), 1)


def test_plain_loop_as_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script reads a file, stops after N frames, writes one row per frame and says how many."""
    rendered.write(str(tmp_path / "in.mp4"), 8)
    out = tmp_path / "rows.jsonl"
    assert sequential.main(["--source", str(tmp_path / "in.mp4"), "--frames", "6", "--results", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(6))
    assert set(rows[0]["value"]) == {"x", "y", "radius", "center"}
    assert capsys.readouterr().out.startswith("6 frames, ball found in ")
    with pytest.raises(SystemExit, match="cannot read a video from"):
        sequential.main(["--source", str(tmp_path / "none.mp4")])


def test_plain_loop_uses_no_framework() -> None:
    """The script imports neither the tasks nor the app it is compared with."""
    tree = ast.parse(Path(sequential.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not {name for name in imported if name and name.split(".")[0] in ("tasks", "iot_client", "wire")}
    assert "examples.ball_tracking.app" not in imported


def test_annotate_marks_the_captured_image() -> None:
    """The mark is drawn at the image's own size, on a copy; without a position the image is as it was."""
    image = np.zeros((480, 640, 3), np.uint8)
    marked = annotate(image, {"x": 250.0, "y": 100.0, "radius": 20.0, "center": (250, 100)})
    assert marked.shape == image.shape and image.sum() == 0
    assert marked[128, 320].tolist() == [0, 0, 255]
    assert marked[128, 320 + 25].tolist() == [0, 255, 255]
    assert annotate(image, None) is image and annotate(image, {"radius": 3.0}) is image


def test_tracks_are_kept_apart_and_in_order() -> None:
    """Each device has its own count and path; late values take their place by seq."""
    tracks = Tracks()
    for device, seq in (("pi", 0), ("cam", 0), ("pi", 2), ("pi", 1)):
        tracks.add(device, seq, {"x": 1.5, "y": 2.5, "radius": 6.0, "center": (seq, 2)})
    tracks.add("cam", 1, {})
    assert tracks.summary() == {
        "pi": {"count": 3, "path": [[0, 0, 2, 6.0], [1, 1, 2, 6.0], [2, 2, 2, 6.0]]},
        "cam": {"count": 2, "path": [[0, 0, 2, 6.0]]},
    }
    assert json.loads(json.dumps(tracks.summary())) == tracks.summary()


def test_tracks_take_whole_records(images: list[Any]) -> None:
    """A value may come as the record itself as well as by its kept fields."""
    value = Runner(app, perf_counter).run(0, app.n, images[0]).value
    whole, kept = Tracks(), Tracks()
    whole.add("pi", 0, value)
    kept.add("pi", 0, keep_fields(value, None))
    assert whole.summary() == kept.summary() != {}


def test_tracks_are_bounded() -> None:
    """Only the recent positions of the devices heard last are kept."""
    tracks = Tracks(recent=4, devices=3)
    for seq in range(1000):
        tracks.add(f"pi{seq % 5}", seq, {"center": (1, 2), "radius": 6.0})
    tracks.add("pi2", 1000, {"center": (1, 2), "radius": 6.0})
    assert set(tracks.summary()) == {"pi4", "pi3", "pi2"}
    tracks = Tracks(recent=4)
    for seq in range(100):
        tracks.add("pi", seq, {"center": (seq, 2), "radius": 6.0})
    assert tracks.summary()["pi"]["count"] == 100
    assert [place[0] for place in tracks.summary()["pi"]["path"]] == [96, 97, 98, 99]


def test_tracks_can_be_seen() -> None:
    """The picture has each device's path in a colour of its own."""
    tracks = Tracks()
    assert tracks.picture().sum() == 0
    for device, y in (("pi", 100), ("cam", 200)):
        for x in (100, 300):
            tracks.add(device, x, {"center": (x, y), "radius": 6.0})
    picture = tracks.picture()
    assert picture.shape == (375, 500, 3)
    assert picture[100, 200].any() and picture[200, 200].any()
    assert picture[100, 200].tolist() != picture[200, 200].tolist()
