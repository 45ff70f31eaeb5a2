"""Scenes rendered on the spot: shapes that move over a cluttered background, with the exact box of each.

    scene = Scene(seed=7)
    image, things = scene.frame(12)         # (480, 640, 3) uint8 BGR, and what is to be found in it

A ball, a box, a cone, a star or a ring of 9 to 150 pixels drifts, turns and bounces; posts, plates and things that only look
similar hide them in part. The camera sways, the light changes, fast things blur, the lens is sometimes soft and the
sensor noisy. Equal seeds give equal frames, and frames need no order: everything is a function of the frame number.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from examples.detection.shapes import CLASSES, DECOYS, silhouette

__all__ = ["CLASSES", "FPS", "HEIGHT", "WIDTH", "Scene", "Thing"]

WIDTH, HEIGHT, FPS = 640, 480, 25.0

VISIBLE = 0.3
"""Of a thing less than this share is in view: it counts neither as missed nor as wrong when it is found."""
SMALLEST = 6.0
"""The same holds where the longer side of its box is shorter than this, pixels."""

_Array = np.ndarray[Any, Any]

_MARGIN = 48  # the background is larger than the view by this on each side, so that the camera can sway
_EXPOSURE = 0.02  # seconds the shutter is open
_NOISE_LEVELS = (2.0, 5.0, 9.0, 14.0)  # standard deviations, grey levels

class Thing(NamedTuple):
    """What can be seen of one shape: its class, the box around its visible pixels, and their share of the whole.

    `box` is left, top, right, bottom in pixels of the 640 x 480 image, right and bottom exclusive. Where `ignored`, too
    little is visible to ask for it.
    """

    kind: int
    box: tuple[float, float, float, float]
    visible: float
    ignored: bool


class _Body(NamedTuple):
    """A shape that moves; one with a kind beyond CLASSES is a decoy or a post, which is not to be found."""

    kind: int
    radius: float
    aspect: float
    colour: _Array
    shade: tuple[float, float]
    place: tuple[float, float]
    velocity: tuple[float, float]
    angle: float
    spin: float


class Scene:
    """One place with its things, over all its frames.

    Args:
        seed: says everything about it.
        fps: frames per second of the camera.
    """

    def __init__(self, seed: int, fps: float = FPS) -> None:
        self.seed, self.fps = seed, fps
        dice = np.random.default_rng([seed, 0])
        self._background = _background(dice)
        self._bodies = _bodies(dice)
        self._sway = dice.uniform(0, 2 * math.pi, 4)
        self._light = (dice.uniform(0.65, 1.15), dice.uniform(0.0, 0.15), dice.uniform(0, 2 * math.pi))
        self._soft = float(dice.choice((0.0, 0.0, 0.6, 1.0, 1.5)))
        self._noise = _NOISE_LEVELS[int(dice.integers(len(_NOISE_LEVELS)))]

    def frame(self, number: int) -> tuple[_Array, list[Thing]]:
        """Frame `number` (0 or more) as a fresh (480, 640, 3) uint8 BGR array, and the things in it."""
        seconds = number / self.fps
        image = self._backdrop(seconds)
        owners = np.zeros((HEIGHT, WIDTH), np.uint8)
        whole = [_paint(image, owners, body, seconds, mark) for mark, body in enumerate(self._bodies, 1)]
        things = [
            thing
            for mark, (body, pixels) in enumerate(zip(self._bodies, whole), 1)
            if body.kind < len(CLASSES) and pixels and (thing := _seen(owners, mark, body.kind, pixels))
        ]
        return self._expose(image, number, seconds), things

    def _backdrop(self, seconds: float) -> _Array:
        sway = self._sway
        left = _MARGIN + _MARGIN * 0.9 * math.sin(0.7 * seconds + sway[0]) * math.sin(0.31 * seconds + sway[1])
        top = _MARGIN + _MARGIN * 0.9 * math.sin(0.6 * seconds + sway[2]) * math.sin(0.23 * seconds + sway[3])
        return self._background[int(top) : int(top) + HEIGHT, int(left) : int(left) + WIDTH].copy()

    def _expose(self, image: _Array, number: int, seconds: float) -> _Array:
        """The image as a camera gives it: soft, lit, noisy."""
        if self._soft:
            image = cv2.GaussianBlur(image, (0, 0), self._soft)
        level, swing, phase = self._light
        dice = np.random.default_rng([self.seed, 1, number])
        gain = level * (1.0 + swing * math.sin(1.3 * seconds + phase) + 0.02 * dice.standard_normal())
        image = cv2.convertScaleAbs(image, alpha=float(gain), beta=float(dice.uniform(-6, 6)))
        bright, dark = _grain(self._noise)
        top, left = dice.integers(0, 64, 2)
        here = np.s_[top : top + HEIGHT, left : left + WIDTH]
        cv2.add(image, bright[here], dst=image)
        cv2.subtract(image, dark[here], dst=image)
        return image


def _bodies(dice: np.random.Generator) -> list[_Body]:
    """What moves, the farthest first: 4 to 14 things to find, some decoys, some posts."""
    kinds = [int(dice.integers(len(CLASSES))) for _ in range(int(dice.integers(4, 15)))]
    kinds += [len(CLASSES) + int(dice.integers(len(DECOYS))) for _ in range(int(dice.integers(2, 9)))]
    dice.shuffle(kinds)
    return [_body(kind, dice) for kind in kinds]


def _body(kind: int, dice: np.random.Generator) -> _Body:
    radius = float(np.exp(dice.uniform(math.log(5.0), math.log(72.0))))
    speed = float(dice.gamma(1.5, 45.0))
    heading = float(dice.uniform(0, 2 * math.pi))
    return _Body(
        kind, radius,
        aspect=float(dice.uniform(0.62, 1.0)),
        colour=dice.uniform(20, 235, 3).astype(np.float32),
        shade=(float(dice.uniform(-0.45, 0.45)), float(dice.uniform(-0.45, 0.45))),
        place=(float(dice.uniform(0, WIDTH)), float(dice.uniform(0, HEIGHT))),
        velocity=(speed * math.cos(heading), speed * math.sin(heading)),
        angle=float(dice.uniform(0, 2 * math.pi)),
        spin=float(dice.normal(0, 0.7)),
    )


def _bounce(start: float, velocity: float, seconds: float, length: float) -> float:
    """A place that moves to and fro between 0 and `length`."""
    where = (start + velocity * seconds) % (2 * length)
    return where if where <= length else 2 * length - where


def _paint(image: _Array, owners: _Array, body: _Body, seconds: float, mark: int) -> int:
    """Draw a body over what is there; its pixels if nothing hid it and the view had no end, 0 if none is in view."""
    x = _bounce(body.place[0], body.velocity[0], seconds, float(WIDTH))
    y = _bounce(body.place[1], body.velocity[1], seconds, float(HEIGHT))
    reach = int(body.radius * 1.05) + 3
    left, top = int(x) - reach, int(y) - reach
    side = 2 * reach + 1
    mask = silhouette(body.kind, (x - left, y - top), body.radius, body.aspect, body.angle + body.spin * seconds, side)
    whole = int(cv2.countNonZero(cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]))
    x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + side), min(HEIGHT, top + side)
    if x0 >= x1 or y0 >= y1:
        return 0
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    view = np.s_[y0:y1, x0:x1]
    owners[view][mask[inside] > 127] = mark
    alpha = _smear(mask, body, side)[inside].astype(np.float32)[:, :, None] * (1 / 255.0)
    patch = image[view].astype(np.float32)
    patch += (_surface(body, side)[inside] - patch) * alpha
    image[view] = np.clip(patch, 0, 255).astype(np.uint8)
    return whole


def _smear(mask: _Array, body: _Body, side: int) -> _Array:
    """The mask as a shutter sees it that is open for a while."""
    dx, dy = body.velocity[0] * _EXPOSURE, body.velocity[1] * _EXPOSURE
    if math.hypot(dx, dy) < 1.5:
        return mask
    layers = [cv2.warpAffine(mask, np.array([[1, 0, dx * t], [0, 1, dy * t]], np.float64), (side, side)) for t in (-0.5, 0.0, 0.5)]
    return cv2.addWeighted(cv2.addWeighted(layers[0], 0.5, layers[2], 0.5, 0), 2 / 3, layers[1], 1 / 3, 0)


def _surface(body: _Body, side: int) -> _Array:
    """(side, side, 3) float32: the body's colour, lit from one side; a ball has a highlight, some have stripes."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    light = 1.0 + body.shade[0] * line[None, :] + body.shade[1] * line[:, None]
    if body.kind == 0:
        light *= 1.15 - 0.55 * np.minimum(1.0, (line[None, :] + 0.3) ** 2 + (line[:, None] + 0.3) ** 2)
    if body.spin > 0.6:  # a look that has nothing to do with the class
        light *= 1.0 + 0.25 * np.sign(np.sin(line[None, :] * (3 + body.radius / 6) + body.angle))
    return light[:, :, None] * body.colour


def _seen(owners: _Array, mark: int, kind: int, whole: int) -> Thing | None:
    """The thing drawn with this mark, None where nothing is left of it."""
    pixels = owners == mark
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not rows.size:
        return None
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    visible = min(1.0, float(np.count_nonzero(pixels)) / whole)
    small = max(box[2] - box[0], box[3] - box[1]) < SMALLEST
    return Thing(kind, box, visible, small or visible < VISIBLE)


def _background(dice: np.random.Generator) -> _Array:
    """A wall of stains and clutter, larger than the view."""
    height, width = HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN
    first, second = dice.uniform(30, 220, 3).astype(np.float32), dice.uniform(-60, 60, 3).astype(np.float32)
    wall = np.zeros((height, width), np.float32)
    for cells, weight in ((4, 1.0), (14, 0.6), (60, 0.35), (220, 0.25)):
        wall += weight * cv2.resize(dice.uniform(-1, 1, (cells, cells)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    rise = dice.uniform(-0.9, 0.9, 2)  # waves per pixel: a weave, a grille, blinds
    ys, xs = np.ogrid[0:height, 0:width]
    wall += np.float32(dice.choice((0.0, 0.15, 0.4))) * np.sin(xs * rise[0] + ys * rise[1]).astype(np.float32)
    tint = cv2.resize(dice.uniform(-25, 25, (5, 5, 3)).astype(np.float32), (width, height))
    image: _Array = np.clip(first + wall[:, :, None] * second + tint, 0, 255).astype(np.uint8)
    for _ in range(int(dice.integers(15, 90))):
        _clutter(image, dice)
    return image


def _clutter(image: _Array, dice: np.random.Generator) -> None:
    """One line, bar, blot or word: what is to be found is never drawn this way."""
    height, width = image.shape[:2]
    colour = [float(v) for v in dice.uniform(0, 255, 3)]
    x, y = (int(v) for v in dice.uniform((0, 0), (width, height)))
    size = float(np.exp(dice.uniform(math.log(6), math.log(160))))
    what, angle, thick = int(dice.integers(4)), float(dice.uniform(0, math.pi)), int(dice.integers(1, 4))
    if what == 0:
        end = (int(x + size * math.cos(angle)), int(y + size * math.sin(angle)))
        cv2.line(image, (x, y), end, colour, thick, cv2.LINE_AA)
    elif what == 1:
        cv2.rectangle(image, (x, y), (int(x + size), int(y + max(2.0, size * 0.2))), colour, -1)
    elif what == 2:
        cv2.ellipse(image, (x, y), (int(size * 0.6) + 2, int(size * 0.15) + 1), math.degrees(angle), 0, 360, colour, -1, cv2.LINE_AA)
    else:
        letters = "".join(chr(int(c)) for c in dice.integers(65, 91, 4))
        cv2.putText(image, letters, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.2 + size / 90, colour, thick, cv2.LINE_AA)


_grains: dict[float, tuple[_Array, _Array]] = {}


def _grain(sigma: float) -> tuple[_Array, _Array]:
    """Noise to add and noise to take away, larger than the view."""
    if sigma not in _grains:
        field = np.random.default_rng([int(sigma), 2]).normal(0, sigma, (HEIGHT + 64, WIDTH + 64, 3))
        _grains[sigma] = (np.clip(field, 0, 255).astype(np.uint8), np.clip(-field, 0, 255).astype(np.uint8))
    return _grains[sigma]
