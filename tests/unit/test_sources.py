"""What `--source` may be, and when its frames come."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from iot_client.media.readers import DEFAULT_FPS
from iot_client.media.sources import FrameSource, Pacer, SourceError, SourceLost, open_source
from tasks import END


def drain(source):
    """All frames of a source."""
    frames = []
    while (frame := source.read()) is not END:
        frames.append(frame)
    return frames


def write_clip(path: Path, count: int, fps: float = 20.0) -> Path:
    """A clip whose frame i is a flat grey of 4 * i (MJPG keeps that to within a level or two)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((48, 64, 3), 4 * index, np.uint8))
    writer.release()
    return path


def write_images(folder: Path, *names: str) -> Path:
    """Images whose grey is their number."""
    folder.mkdir(exist_ok=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), np.full((48, 64, 3), int("".join(filter(str.isdigit, name))), np.uint8))
    return folder


class Scripted:
    """A reader that gives what it was told: arrays, END, or an exception."""

    def __init__(self, *steps) -> None:
        self.skipped, self.released, self.steps = 0, 0, list(steps)

    def next(self, stopped):
        step = self.steps.pop(0) if self.steps else END
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step

    def release(self):
        self.released += 1


def test_a_clip_gives_every_frame_once_and_in_order(tmp_path):
    """Frame i of the file is the i-th read."""
    frames = drain(open_source(str(write_clip(tmp_path / "a.avi", 12))))
    assert [round(float(frame.mean()) / 4) for frame in frames] == list(range(12))
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((48, 64, 3), "uint8")}


def test_each_frame_is_a_fresh_array(tmp_path):
    """A frame that is kept is not overwritten by a later read."""
    source = open_source(str(write_clip(tmp_path / "a.avi", 2)))
    first = source.read()
    kept = first.copy()
    second = source.read()
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)


def test_a_path_with_spaces_and_a_file_url_work(tmp_path):
    """Both name the same clip."""
    path = write_clip(tmp_path / "my clip.avi", 3)
    assert len(drain(open_source(str(path)))) == len(drain(open_source(f"file://{path}"))) == 3


def test_files_are_lossless_by_nature_and_know_their_fps(tmp_path):
    """A clip is not live and states its own rate."""
    source = open_source(str(write_clip(tmp_path / "a.avi", 1, fps=12.5)))
    assert (source.live, source.fps) == (False, pytest.approx(12.5))


def test_images_come_in_natural_order(tmp_path):
    """2.png is read before 10.png, whatever the case of names."""
    folder = write_images(tmp_path / "shots", "img10.png", "IMG2.png", "img1.png")
    assert [int(frame[0, 0, 0]) for frame in drain(open_source(str(folder)))] == [1, 2, 10]


def test_an_image_that_cannot_be_decoded_is_skipped_and_counted(tmp_path):
    """The others still come, and the loss is not silent."""
    folder = write_images(tmp_path / "shots", "1.png", "3.png")
    (folder / "2.png").write_bytes(b"not a png")
    source = open_source(str(folder))
    assert [int(frame[0, 0, 0]) for frame in drain(source)] == [1, 3]
    assert (source.skipped, source.delivered) == (1, 2)


def test_a_folder_of_damaged_images_is_lost_not_empty(tmp_path):
    """No frame at all out of two files is an error that says so."""
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"junk")
    source = open_source(str(tmp_path))
    with pytest.raises(SourceLost, match="none of the 2 images"):
        source.read()
    assert "none of the 2 images" in source.lost


def test_a_single_image_is_given_as_often_as_frames_says(tmp_path):
    """Once by default, N fresh copies with frames=N."""
    path = str(write_images(tmp_path, "7.png") / "7.png")
    assert len(drain(open_source(path))) == 1
    first, second, third = drain(open_source(path, frames=3))
    assert not np.shares_memory(first, second) and np.array_equal(first, third)


def test_a_clip_with_a_damaged_stretch_goes_on_after_it(clip, tmp_path):
    """Frames that cannot be decoded are skipped and counted; those after them still come."""
    data = bytearray(clip("ball.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path = tmp_path / "scratched.mp4"
    path.write_bytes(data)
    source = open_source(str(path))
    frames = len(drain(source))
    assert source.skipped > 0
    assert frames + source.skipped == 1004
    assert frames > 900


def test_a_clip_cut_short_is_lost_with_both_counts(clip, tmp_path):
    """A truncated copy is not mistaken for a short clip."""
    data = clip("pedestrians.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) * 6 // 10])
    source = open_source(str(path))
    with pytest.raises(SourceLost, match=r"cut\.avi cannot be read on after \d+ frames of the 795 .* cut short"):
        drain(source)
    assert source.delivered > 300


def test_a_missing_file_is_named_with_the_legal_forms(tmp_path):
    """The text repeats what was asked for and lists what may be."""
    with pytest.raises(SourceError, match=r"source '.*nosuch\.mp4': No such file.*camera index.*stream URL"):
        open_source(str(tmp_path / "nosuch.mp4"))


@pytest.mark.parametrize("content", [b"", b"hello world" * 100, b"\x00" * 5000])
def test_a_file_that_is_no_video_is_refused(tmp_path, content):
    """Neither an empty file nor text is a clip of zero frames."""
    path = tmp_path / "words.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"words\.mp4' is not a video"):
        open_source(str(path))


def test_a_damaged_single_image_is_refused_at_once(tmp_path):
    """Before anything starts, not at the first read."""
    path = tmp_path / "photo.png"
    path.write_bytes(b"not a png")
    with pytest.raises(SourceError, match=r"photo\.png' is not an image"):
        open_source(str(path))


def test_a_folder_without_images_is_refused(tmp_path):
    """The text lists the endings looked for."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"has no images; looked for .*\.png"):
        open_source(str(tmp_path))


def test_a_pipe_is_refused(tmp_path):
    """Opening a FIFO would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is a pipe"):
        open_source(str(tmp_path / "pipe"))


def test_a_camera_that_is_not_there_is_refused():
    """Index 9999 exists nowhere; the text says where to look."""
    with pytest.raises(SourceError, match=r"camera 9999 cannot be opened.*/dev/video"):
        open_source("9999")


def test_a_stream_nobody_serves_is_refused_without_its_password():
    """Errors end up in logs; a password must not."""
    with pytest.raises(SourceError) as caught:
        open_source("http://me:secret@127.0.0.1:9/cam")
    assert "http://me@127.0.0.1:9/cam cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_pace_does_not_drift():
    """Frame i is due at t0 + i / rate even if every read comes a little late."""
    pacer = Pacer(10.0)
    delays = []
    for now in (5.0, 5.03, 5.13, 5.23):
        delays.append(round(pacer.delay(now), 9))
        pacer.took()
    assert delays == [0.0, 0.07, 0.07, 0.07]


def test_after_a_long_stall_the_schedule_starts_anew():
    """A late reader catches up within a second; beyond that there is no burst."""
    pacer = Pacer(10.0)
    pacer.delay(0.0), pacer.took()
    assert pacer.delay(0.9) == pytest.approx(-0.8)
    pacer.took()
    assert pacer.delay(60.0) == 0.0


@pytest.mark.parametrize(
    ("mode", "rate", "paced"),
    [(None, None, False), ("lossless", None, False), ("live", None, True), ("lossless", 5.0, True)],
)
def test_a_file_is_paced_in_live_mode_or_on_request(tmp_path, mode, rate, paced):
    """Lossless reads as fast as it may; live keeps the clip's fps; a rate rules in both."""
    source = open_source(str(write_clip(tmp_path / "a.avi", 1)), mode=mode, rate=rate)
    assert (source._pacer is not None) is paced
    if paced:
        assert source._pacer._period == pytest.approx(1 / (rate or 20.0))


def test_images_have_a_default_pace_in_live_mode(tmp_path):
    """A folder states no fps, so live mode uses DEFAULT_FPS."""
    source = open_source(str(write_images(tmp_path, "1.png")), mode="live")
    assert source.fps == DEFAULT_FPS and source._pacer is not None


def test_closing_wakes_a_reader_that_waits_for_its_time():
    """Nobody waits out a slow rate at exit; the read returns END and the reader is released."""
    reader = Scripted("first", "second")
    source = FrameSource(reader, name="x", live=False, fps=1.0, rate=1e-3)
    assert source.read() == "first"
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(source.read()))
    waiting.start()
    source.close()
    waiting.join(5.0)
    assert answers == [END]
    assert reader.released >= 1


def test_closing_during_a_read_leaves_the_release_to_the_reading_thread():
    """A capture is never released under a running read: that crashes OpenCV."""
    entered, leave, seen = threading.Event(), threading.Event(), []

    def slow():
        entered.set()
        leave.wait(5.0)
        seen.append(reader.released)
        return "late"

    reader = Scripted(slow)
    source = FrameSource(reader, name="x", live=True, fps=1.0, rate=None)
    reading = threading.Thread(target=source.read)
    reading.start()
    assert entered.wait(5.0)
    source.close()
    assert reader.released == 0
    leave.set()
    reading.join(5.0)
    assert seen == [0] and reader.released == 1
    assert source.read() is END


def test_a_camera_faster_than_the_rate_is_thinned_out_not_slowed_down():
    """Frames that are not due are read and let go, so that what is delivered is fresh."""
    source = FrameSource(Scripted(*range(100)), name="camera 0", live=True, fps=30.0, rate=1e-6)
    assert source.read() == 0
    assert source.read() is END, "the 99 others were not due within a million seconds"
    assert source.delivered == 1


def test_a_loss_is_remembered_with_its_words():
    """Whoever holds the source can say afterwards why it ended."""
    reader = Scripted("a", SourceLost("camera 0 stopped delivering after 1 frames"))
    source = FrameSource(reader, name="camera 0", live=True, fps=1.0, rate=None)
    assert source.read() == "a"
    with pytest.raises(SourceLost):
        source.read()
    assert source.lost == "camera 0 stopped delivering after 1 frames"
