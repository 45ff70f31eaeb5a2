"""Results as pictures: an annotated clip, a window."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iot_client.media.opencv import require_opencv
from iot_client.media.sinks import OutputError
from iot_client.outcome import Done
from tasks.values import is_image

if TYPE_CHECKING:
    from iot_client.client import Result

__all__ = ["VideoSink", "WindowSink"]

Annotate = Callable[[Any, Any], Any]

_SHOW_EVERY_S = 1 / 60
_PROBE_S = 20.0
"""A window that takes longer than this to open will not."""


class VideoSink:
    """Writes every frame, annotated with its result where it has one. An existing file is replaced.

    Args:
        path: .mp4, .mov, .mkv or .avi.
        fps: at which the clip plays.
        annotate: the app's; None leaves the items as they are.

    The file is opened on the first frame; frames of another size are scaled to the first one's.

    Raises:
        OutputError: the clip cannot be opened or, from `close`, is not readable afterwards (disk full).
    """

    closed = False

    def __init__(self, path: str, fps: float, annotate: Annotate | None) -> None:
        require_opencv()
        self.frames = 0
        self._path, self._fps, self._annotate = path, fps, annotate
        self._writer: Any = None
        self._size = (0, 0)

    def add(self, result: Result) -> None:
        """Append the result's frame; a result whose item was not kept is passed over."""
        import cv2

        image = _picture(result, self._annotate)
        if image is None:
            return
        if self._writer is None:
            self._open(image)
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size)
        self._writer.write(image)
        self.frames += 1

    def close(self) -> None:
        """Finish the file. OpenCV does not say when a disk is full, so the clip is opened again to see."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        import cv2

        check = cv2.VideoCapture(self._path)
        readable = check.isOpened()
        check.release()
        if not readable:
            raise OutputError(f"the clip {self._path} could not be finished after {self.frames} frames: is the disk full?")

    def _open(self, image: Any) -> None:
        import cv2

        code = "MJPG" if self._path.lower().endswith(".avi") else "mp4v"
        self._size = image.shape[1], image.shape[0]
        _check_writable(self._path)
        self._writer = cv2.VideoWriter(self._path, cv2.VideoWriter_fourcc(*code), self._fps, self._size)  # type: ignore[attr-defined]
        if not self._writer.isOpened():
            raise OutputError(f"cannot write a clip to {self._path}: OpenCV has no encoder for it; use a name that ends in .mp4 or .avi")


class WindowSink:
    """Shows annotated frames, at most 60 a second; call it from the main thread.

    Attributes:
        closed: True once the user pressed q or closed the window.

    Raises:
        OutputError: there is no display, or this OpenCV has no windows.
    """

    def __init__(self, title: str, annotate: Annotate | None) -> None:
        require_opencv()
        _check_display()
        self.closed = False
        self._title, self._annotate = title, annotate
        self._shown_at = -1.0

    def add(self, result: Result) -> None:
        """Show the result's frame, unless the last one was shown less than 1/60 s ago."""
        import cv2

        now = time.monotonic()
        if self.closed or now - self._shown_at < _SHOW_EVERY_S:
            return
        image = _picture(result, self._annotate)
        if image is None:
            return
        first, self._shown_at = self._shown_at < 0.0, now
        cv2.imshow(self._title, image)
        key = cv2.waitKey(1) & 0xFF
        self.closed = key == ord("q") or not (first or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)

    def close(self) -> None:
        """Take the window away."""
        import cv2

        if self._shown_at >= 0.0:
            cv2.destroyAllWindows()


def _picture(result: Result, annotate: Annotate | None) -> Any:
    """The annotated item as (H, W, 3) uint8, or None if the item was not kept."""
    if result.item is None:
        return None
    value = result.value if isinstance(result.outcome, Done) else None
    try:
        image = result.item if annotate is None else annotate(result.item, value)
    except Exception as error:
        raise OutputError(f"the app's annotate() failed on frame {result.seq}: {type(error).__name__}: {error}") from error
    if not is_image(image) or image.dtype.name != "uint8":
        raise OutputError(f"frame {result.seq} is no image but {type(image).__name__}: --video and --show need (H, W, 3) uint8")
    return image if image.ndim == 3 and image.shape[2] == 3 else _three_channels(image)


def _three_channels(image: Any) -> Any:
    import cv2

    channels = 1 if image.ndim == 2 else image.shape[2]
    return image if channels == 3 else cv2.cvtColor(image, cv2.COLOR_BGRA2BGR if channels == 4 else cv2.COLOR_GRAY2BGR)


def _check_writable(path: str) -> None:
    try:
        Path(path).open("wb").close()
    except OSError as error:
        raise OutputError(f"cannot write a clip to {path}: {error.strerror or error}") from None


def _check_display() -> None:
    """Find out in words, and in a process of its own: where Qt finds no display it aborts the process."""
    import cv2

    gui = next((line.split()[1] for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    if gui == "NONE":
        raise OutputError("--show: this OpenCV has no windows (opencv-python-headless); install opencv-python, or use --video FILE.mp4")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError("--show: no display (DISPLAY is not set); use --video FILE.mp4, opencv-python-headless is enough for that")
    probe = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=_PROBE_S, check=False)
        problem = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    except subprocess.TimeoutExpired:
        problem = f"no window within {_PROBE_S:.0f} s"
    if problem:
        raise OutputError(f"--show: no window can be opened ({problem}); use --video FILE.mp4 instead")
