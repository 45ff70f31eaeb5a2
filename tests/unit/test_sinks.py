"""Result lines, annotated clips and windows."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from iot_client import Done, Dropped, Failed, Filtered, Result
from iot_client.media.pictures import VideoSink, WindowSink
from iot_client.media.sinks import JsonlSink, OutputError, ReaderGone, results_row

NAMES = ("read", "blur", "find")
REPO = Path(__file__).resolve().parents[2]


def result(seq=0, outcome=None, value=None, item=None, **fields):
    """A result of a run with split 2, unless `fields` say otherwise."""
    return Result("cam", seq, outcome or Done("cloud"), fields.pop("split", 2), value, 0.0123456, 5.0, item=item, **fields)


def image(grey=0, width=64, height=48):
    """A flat picture."""
    return np.full((height, width, 3), grey, np.uint8)


def test_a_row_has_exactly_the_documented_keys():
    """Names, order and units are those of the format."""
    mask = np.ones((2, 3), np.uint8)
    row = results_row(
        result(7, value={"x": 1.5, "mask": mask}, device_s=(0.001, 0.0020004), cloud_s=(0.25,), sent_bytes=640, codec="raw"), NAMES
    )
    assert list(row.items()) == [
        ("stream", "cam"), ("seq", 7), ("outcome", "done"), ("where", "cloud"), ("split", 2),
        ("value", {"x": 1.5, "mask": {"shape": [2, 3], "dtype": "uint8", "crc32": zlib.crc32(mask)}}), ("reason", ""),
        ("latency_ms", 12.346), ("device_ms", [1.0, 2.0]), ("cloud_ms", [250.0]), ("sent_bytes", 640), ("codec", "raw"),
    ]


def test_a_row_says_whose_answer_stood():
    """Where answers race, and only there."""
    row = results_row(result(variant="cloud", entrant="cloud2", late=True), NAMES)
    assert (row["variant"], row["entrant"], row["late"]) == ("cloud", "cloud2", True)
    assert "late" not in results_row(result(variant="wide"), NAMES)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Done("device"), ("done", "device", "")),
        (Done("cloud"), ("done", "cloud", "")),
        (Filtered(1), ("filtered", None, "blur")),
        (Dropped("late"), ("dropped", None, "late")),
        (Failed(2, "ValueError: no"), ("failed", None, "find: ValueError: no")),
        (Failed(-1, "the server lost it"), ("failed", None, "the server lost it")),
    ],
)
def test_each_outcome_says_where_and_why(outcome, expected):
    """A row explains itself without the app's source."""
    row = results_row(result(outcome=outcome), NAMES)
    assert (row["outcome"], row["where"], row["reason"]) == expected


def test_lines_are_in_the_file_before_the_sink_is_closed(tmp_path):
    """A run that is killed has lost no line; NaN does not break the JSON."""
    path = tmp_path / "r.jsonl"
    sink = JsonlSink(str(path), NAMES)
    for seq in range(3):
        sink.add(result(seq, value={"x": float("nan")}))
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["seq"] for line in lines] == list(range(seq + 1))
        assert json.loads(lines[-1])["value"] == {"x": None}
    sink.close()


def test_an_older_file_is_replaced(tmp_path):
    """Results of two runs are never mixed."""
    path = tmp_path / "r.jsonl"
    path.write_text("old\n" * 100)
    sink = JsonlSink(str(path), NAMES)
    sink.add(result())
    sink.close()
    assert len(path.read_text().splitlines()) == 1


def test_a_full_disk_is_an_error_that_names_the_file():
    """/dev/full refuses every write."""
    sink = JsonlSink("/dev/full", NAMES)
    with pytest.raises(OutputError, match="cannot write results to /dev/full after 0 lines: No space left"):
        sink.add(result())
    sink.close()


def test_a_file_that_may_not_grow_ends_in_a_whole_line(tmp_path):
    """The line that did not fit is taken back, so that what is there can be read."""
    path = tmp_path / "r.jsonl"
    sink = JsonlSink(str(path), NAMES)
    sink.add(result(0))
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 - 5, hard))  # Python ignores SIGXFSZ, so write() gives EFBIG
    try:
        with pytest.raises(OutputError, match="after 1 lines: File too large"):
            sink.add(result(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sink.close()
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()] == [0]


def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    """A directory in the file's place fails at the start, for root as well."""
    with pytest.raises(OutputError, match=f"cannot write results to {tmp_path}: Is a directory"):
        JsonlSink(str(tmp_path), NAMES)


def test_a_pipe_closed_by_its_reader_is_told_apart_from_a_failure(tmp_path):
    """`| head` is a reason to end, not an error."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(str(path), NAMES)
    sink.add(result())
    os.close(reader)
    with pytest.raises(ReaderGone, match="closed it after 1 results"):
        sink.add(result())
    sink.close()


def test_a_clip_has_one_frame_per_result_with_an_item(tmp_path):
    """Frames without a result are in it too, annotated with None; items not kept are passed over."""
    seen = []

    def annotate(item, value):
        seen.append(value)
        return item

    path = tmp_path / "v.mp4"
    sink = VideoSink(str(path), 12.0, annotate)
    for seq, outcome in enumerate((Done("cloud"), Filtered(1), Dropped("stale"))):
        sink.add(result(seq, outcome, value="v", item=image(80 * seq)))
    sink.add(result(3, value="v", item=None))
    sink.close()
    assert seen == ["v", None, None]
    clip = cv2.VideoCapture(str(path))
    assert clip.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    assert [round(float(clip.read()[1].mean()) / 80) for _ in range(3)] == [0, 1, 2]
    assert not clip.read()[0]


def test_items_of_other_sizes_and_depths_fit_into_the_clip(tmp_path):
    """OpenCV would leave them out without a word."""
    path = tmp_path / "v.avi"
    sink = VideoSink(str(path), 10.0, None)
    for item in (image(), image(width=100), image()[:, :, 0], np.dstack([image(), image()[:, :, :1]])):
        sink.add(result(item=item))
    sink.close()
    clip = cv2.VideoCapture(str(path))
    shapes = [clip.read()[1].shape for _ in range(4)]
    assert shapes == [(48, 64, 3)] * 4


def test_no_frame_leaves_no_clip(tmp_path):
    """A run without results writes no broken file."""
    sink = VideoSink(str(tmp_path / "v.mp4"), 10.0, None)
    sink.close()
    assert not (tmp_path / "v.mp4").exists()


def test_a_clip_that_cannot_be_opened_is_named(tmp_path):
    """A folder that vanished, and an ending OpenCV has no encoder for."""
    with pytest.raises(OutputError, match=r"cannot write a clip to .*gone/v\.mp4: No such file"):
        VideoSink(str(tmp_path / "gone" / "v.mp4"), 10.0, None).add(result(item=image()))


def test_a_clip_that_a_full_disk_cut_off_is_an_error_at_the_end(tmp_path):
    """OpenCV does not report failed writes; the sink looks whether the clip can be opened."""
    script = (
        "import resource, sys, numpy as np\n"
        "from tests.unit.test_sinks import VideoSink, OutputError, result\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "sink = VideoSink(sys.argv[1], 10.0, None)\n"
        "noise = np.random.default_rng(0).integers(0, 255, (20, 240, 320, 3), np.uint8)\n"
        "[sink.add(result(item=frame)) for frame in noise]\n"
        "try: sink.close()\n"
        "except OutputError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "v.mp4")], cwd=REPO, capture_output=True, text=True, timeout=60, check=False
    )
    assert "could not be finished after 20 frames: is the disk full?" in done.stdout, done.stderr


@pytest.mark.parametrize("item", [{"temperature": 3}, np.zeros(5), np.zeros((48, 64, 3), np.float32)])
def test_items_that_are_no_images_are_refused(tmp_path, item):
    """The text says what is needed."""
    with pytest.raises(OutputError, match=r"frame 4 is no image .* need \(H, W, 3\) uint8"):
        VideoSink(str(tmp_path / "v.mp4"), 10.0, None).add(result(4, item=item))


def test_an_annotate_that_raises_is_named(tmp_path):
    """A bug in the app is not reported as one of ours."""
    with pytest.raises(OutputError, match=r"annotate\(\) failed on frame 4: ZeroDivisionError"):
        VideoSink(str(tmp_path / "v.mp4"), 10.0, lambda item, value: 1 / 0).add(result(4, item=image()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a display is always there")
@pytest.mark.parametrize(("display", "words"), [("", "no display|no windows"), (":7777", "no window can be opened|no windows")])
def test_a_window_without_a_display_is_refused_at_the_start(monkeypatch, display, words):
    """Neither an unset nor a wrong DISPLAY takes the process down; --video is named as the way out."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(OutputError, match=rf"--show: .*({words}).*--video"):
        WindowSink("x", None)
