"""Ball tracking: find the green ball in each frame, and keep its tracks over all devices.

The value is a `Ball` from stage 1 on. Each stage sets its own fields, clears those that no later stage needs, and
declares what it reads and writes, so only what the rest of the chain works on crosses a cut: for a 4:3 camera and
k = 1 to 5 that is 562, 1125, 750, 563 and 563 kB without loss.

`app` draws the circle last, so the frame crosses at every cut. `positions` ends in `Locate`, which needs three
numbers, so there the frame crosses only where the colours are still to be computed: 562, 562 and 188 kB, then about
400 and 43 bytes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import cv2
import msgspec
import numpy as np
from msgspec.structs import replace

from examples.ball_tracking import clip
from tasks import DROP, END, Aggregate, App, Source, Task

__all__ = [
    "Ball", "CalculateCircle", "CalculateHsv", "CalculateMask", "DrawCircle", "FindContours", "GetFrame", "Locate", "Tracks",
    "annotate", "app", "positions", "wide",
]

WIDTH = 500
"""Frames are worked on at this width, in pixels."""
BLUR = 11
"""Kernel of the blur at that width, in pixels."""
GREEN = ((29, 86, 6), (64, 255, 255))
"""The ball's colour, lowest and highest hue, saturation and value on OpenCV's scales."""
MIN_RADIUS = 5.0
"""What is not larger than this is noise, in pixels."""
FOCAL = 433.0
"""Focal length of the camera in pixels at a width of 500: that of a webcam which sees 60 degrees from side to side."""
BALL = 0.033
"""Radius of the ball, in metres: that of a tennis ball."""

_SQUARE = np.ones((3, 3), np.uint8)
_Array = np.ndarray[Any, Any]


class Ball(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one frame; a field is None until its stage has set it and after its last reader."""

    frame: _Array | None = None
    """(H, 500, 3) uint8 BGR"""
    hsv: _Array | None = None
    """(H, 500, 3) uint8, blurred; until the mask is made"""
    mask: _Array | None = None
    """(H, 500) uint8, 255 where the colour is the ball's; until contours are found"""
    contours: tuple[_Array, ...] | None = None
    """each (points, 1, 2) int32; until the circle is known"""
    x: float | None = None
    """centre of the smallest circle around the ball, pixels of `frame`"""
    y: float | None = None
    radius: float | None = None
    center: tuple[int, int] | None = None
    """centre of mass, whole pixels"""
    annotated: _Array | None = None
    """`frame` with the circle drawn"""
    place: tuple[float, float, float] | None = None
    """how far right of, below and in front of the camera the ball is, metres"""


class GetFrame(Source):
    """The item, a (H, W, 3) uint8 BGR image, at a width of 500; without another source, the rendered clip."""

    requires = ("cv2",)
    parameters = ("width",)
    writes = ("frame",)
    fps = clip.FPS

    def __init__(self, count: int = 300, seed: int = 0, width: int = WIDTH) -> None:
        self.count, self.seed, self.width = count, seed, width
        self._frames: Iterator[_Array] | None = None

    def read(self) -> Any:
        if self._frames is None:
            self._frames = clip.frames(self.count, self.seed)
        return next(self._frames, END)

    def skip(self, count: int) -> None:
        """Go on behind the first `count` frames, which an earlier run has in its spool."""
        self._frames = islice(clip.frames(self.count, self.seed), count, None)

    def run(self, item: _Array) -> Ball:
        height, width = item.shape[:2]
        size = (self.width, int(height * (self.width / float(width))))
        return Ball(frame=cv2.resize(item, size, interpolation=cv2.INTER_AREA))

    def close(self) -> None:
        self._frames = None


class CalculateHsv(Task):
    """Blur away the noise, with a kernel of `blur` pixels (odd), then separate colour from brightness."""

    requires = ("cv2",)
    parameters = ("blur",)
    reads = ("frame",)
    writes = ("hsv",)
    accepts = ("jpeg:50",)

    def __init__(self, blur: int = BLUR) -> None:
        self.blur = blur

    def run(self, item: Ball) -> Ball:
        assert item.frame is not None
        return replace(item, hsv=cv2.cvtColor(cv2.GaussianBlur(item.frame, (self.blur, self.blur), 0), cv2.COLOR_BGR2HSV))


class CalculateMask(Task):
    """Where the colour is the ball's, without specks."""

    requires = ("cv2",)
    parameters = ("low", "high")
    reads = ("hsv",)
    writes = ("mask", "hsv")
    low, high = GREEN

    def run(self, item: Ball) -> Ball:
        assert item.hsv is not None
        mask = cv2.inRange(item.hsv, np.array(self.low), np.array(self.high))
        mask = cv2.erode(mask, _SQUARE, iterations=2)
        return replace(item, hsv=None, mask=cv2.dilate(mask, _SQUARE, iterations=2))


class FindContours(Task):
    """The outlines in the mask; a frame without any is filtered."""

    requires = ("cv2",)
    reads = ("mask",)
    writes = ("contours", "mask")

    def run(self, item: Ball) -> Any:
        assert item.mask is not None
        contours = cv2.findContours(item.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        return replace(item, mask=None, contours=tuple(contours)) if contours else DROP


class CalculateCircle(Task):
    """Circle and centre of mass of the largest outline; a frame with none over 5 pixels is filtered."""

    requires = ("cv2",)
    parameters = ("min_radius",)
    reads = ("contours",)
    writes = ("x", "y", "radius", "center", "contours")
    min_radius = MIN_RADIUS

    def run(self, item: Ball) -> Any:
        assert item.contours is not None
        largest = max(item.contours, key=cv2.contourArea)
        (x, y), radius = cv2.minEnclosingCircle(largest)
        if radius <= self.min_radius:
            return DROP
        m = cv2.moments(largest)
        center = (int(m["m10"] / m["m00"]), int(m["m01"] / m["m00"]))
        return replace(item, contours=None, x=x, y=y, radius=radius, center=center)


class DrawCircle(Task):
    """The circle and its centre, on a copy of the frame."""

    requires = ("cv2",)
    reads = ("frame", "x", "y", "radius", "center")
    writes = ("annotated",)
    accepts = {"frame": ("jpeg:50",)}

    def run(self, item: Ball) -> Ball:
        assert item.frame is not None and item.x is not None and item.y is not None and item.radius is not None
        annotated = item.frame.copy()
        _draw(annotated, (item.x, item.y), item.radius, item.center)
        return replace(item, annotated=annotated)


class Locate(Task):
    """Where the ball is, from the size it appears in: a pinhole camera, whose rays meet at distance `focal`.

    Args:
        focal: focal length, pixels of `frame`.
        ball: radius of the ball, metres.
        middle: the pixel of `frame` that the camera looks at; by default that of a 4:3 camera.
    """

    parameters = ("focal", "ball", "middle")
    reads = ("x", "y", "radius")
    writes = ("place",)

    def __init__(self, focal: float = FOCAL, ball: float = BALL, middle: tuple[float, float] = (WIDTH / 2, WIDTH * 3 / 8)) -> None:
        self.focal, self.ball, self.middle = focal, ball, middle

    def run(self, item: Ball) -> Ball:
        assert item.x is not None and item.y is not None and item.radius is not None
        metres = self.ball / item.radius  # of one pixel, at the ball
        right, down = (item.x - self.middle[0]) * metres, (item.y - self.middle[1]) * metres
        return replace(item, place=(right, down, self.focal * metres))


class Tracks(Aggregate):
    """The recent path of the ball on every device, in bounded memory.

    Args:
        recent: positions kept for each device.
        devices: devices kept; the one silent for longest goes first.
    """

    def __init__(self, recent: int = 64, devices: int = 256) -> None:
        self.recent, self.devices = recent, devices
        self._tracks: OrderedDict[str, _Track] = OrderedDict()

    def add(self, device: str, seq: int, value: Any) -> None:
        track = self._tracks.pop(device, None) or _Track(deque(maxlen=self.recent))
        self._tracks[device] = track
        if len(self._tracks) > self.devices:
            self._tracks.popitem(last=False)
        track.count += 1
        fields = value if isinstance(value, dict) else msgspec.structs.asdict(value)
        if fields.get("center") is not None:
            track.path.append((seq, fields["center"][0], fields["center"][1], fields.get("radius")))

    def summary(self) -> dict[str, Any]:
        """For each device: how many positions came, and the recent ones as [seq, x, y, radius], oldest first."""
        return {
            device: {"count": track.count, "path": [list(place) for place in sorted(track.path, key=lambda place: place[0])]}
            for device, track in self._tracks.items()
        }

    def picture(self, height: int = 375) -> _Array:
        """The recent paths as lines, one colour for each device: (height, 500, 3) uint8 BGR."""
        canvas = np.zeros((height, WIDTH, 3), np.uint8)
        for number, (device, track) in enumerate(self.summary().items()):
            hue = np.array([[[number * 67 % 180, 200, 255]]], np.uint8)
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist()
            points = np.array([place[1:3] for place in track["path"]], np.int32).reshape(-1, 1, 2)
            cv2.polylines(canvas, [points], False, colour, 2)
            cv2.putText(canvas, f"{device}: {track['count']}", (8, 16 + 16 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour)
        return canvas


class _Track:
    """What is kept of one device."""

    __slots__ = ("count", "path")

    def __init__(self, path: deque[tuple[int, int, int, float | None]]) -> None:
        self.count = 0
        self.path = path


def annotate(item: _Array, value: Any) -> _Array:
    """The captured image, at its own size, with the ball marked; unmarked where no position is known."""
    if not value or not value.keys() >= {"x", "y", "radius", "center"}:
        return item
    image = item.copy()
    scale = item.shape[1] / WIDTH
    center = tuple(int(v * scale) for v in value["center"])
    _draw(image, (value["x"] * scale, value["y"] * scale), value["radius"] * scale, center)
    return image


def _draw(image: _Array, middle: tuple[float, float], radius: float, center: Any) -> None:
    cv2.circle(image, (int(middle[0]), int(middle[1])), int(radius), (0, 255, 255), 2)
    cv2.circle(image, center, 5, (0, 0, 255), -1)


app = App(
    "ball_tracking",
    [GetFrame(), CalculateHsv(), CalculateMask(), FindContours(), CalculateCircle(), DrawCircle(), Tracks()],
    types=[Ball],
    annotate=annotate,
)

positions = App(
    "ball_positions",
    [GetFrame(), CalculateHsv(), CalculateMask(), FindContours(), CalculateCircle(), Locate(), Tracks()],
    types=[Ball],
    annotate=annotate,
)

wide = App(
    "ball_tracking_wide",
    [GetFrame(width=1800), CalculateHsv(blur=39), CalculateMask(), FindContours(), CalculateCircle(), DrawCircle()],
    types=[Ball],
)
"""The same at the width of a camera of some megapixels, and blurred as far for it: the stages behind the first are most of the work."""
