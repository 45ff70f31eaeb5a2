"""A clip rendered on the spot: a green ball bounces through a cluttered room, seen by one fixed camera.

    for image in frames(count=300, seed=0):         # (480, 640, 3) uint8 BGR, a fresh array each time
        ...

Equal seeds give equal frames. As in a real clip the light flickers, the sensor is noisy, the ball blurs
where it is fast, leaves the view, hides behind a pole, and a small green lamp blinks on a shelf. `truth`
gives what no real clip has: where the ball was.

    python -m examples.ball_tracking.clip OUT.mp4 [--frames N] [--seed S]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

__all__ = ["FPS", "HEIGHT", "WIDTH", "Position", "frames", "main", "truth", "write"]

WIDTH, HEIGHT, FPS = 640, 480, 30.0

_Array = np.ndarray[Any, Any]

_FLOOR = 440  # the ball's lowest point, px
_WALLS = (-80, WIDTH + 80)  # the room is wider than the view, so the ball leaves it now and then
_GRAVITY = 1400.0  # px/s^2
_POLE = (430, 482, 50)  # x from, x to, y from: nearer than the ball
_LAMP = (112, 205)
_EXPOSURE = 0.3  # share of the frame time in which the shutter is open
_NOISE = 5.0  # standard deviation of the sensor's noise, grey levels
_BALL_HSV = (44, 200)  # hue and saturation, OpenCV's scales


class Position(NamedTuple):
    """Where the ball is in one frame, in pixels of the 640 x 480 image.

    `visible` is the share of its disc that is in view and not behind the pole.
    """

    x: float
    y: float
    radius: float
    visible: float


def frames(count: int = 300, seed: int = 0) -> Iterator[_Array]:
    """Render `count` frames, each a fresh (480, 640, 3) uint8 BGR array."""
    dice = np.random.default_rng([seed, 0])
    rooms, pole, sprite = _rooms(dice), _pole(dice), _sprite()
    bright, dark = _noise(dice)
    previous: Position | None = None
    for number, ball in enumerate(_flight(count, seed)):
        image = rooms[_lamp_is_on(number)].copy()
        _draw_ball(image, sprite, previous or ball, ball)
        image[_POLE[2] :, _POLE[0] : _POLE[1]] = pole
        top, left = dice.integers(0, 64, 2)
        here = np.s_[top : top + HEIGHT, left : left + WIDTH]
        image = cv2.convertScaleAbs(image, alpha=1.0 + 0.06 * math.sin(number / 9.0) + 0.02 * dice.standard_normal())
        cv2.add(image, bright[here], dst=image)
        cv2.subtract(image, dark[here], dst=image)
        yield image
        previous = ball


def truth(count: int = 300, seed: int = 0) -> list[Position]:
    """Where the ball is in each of these frames."""
    return list(_flight(count, seed))


def write(path: str, count: int = 300, seed: int = 0) -> None:
    """Write the clip as MPEG-4.

    Raises:
        OSError: the file cannot be written.
    """
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"cannot write a video to {path!r}: is the folder there, and does the name end in .mp4?")
    try:
        for image in frames(count, seed):
            writer.write(image)
    finally:
        writer.release()


def _flight(count: int, seed: int) -> Iterator[Position]:
    """A juggled ball: gravity, a hit upwards at each touch of the floor, a bounce off each wall."""
    dice = np.random.default_rng([seed, 1])
    x, y = dice.uniform(150, 350), 200.0
    vx, vy = dice.uniform(180, 320), -300.0
    phase = dice.uniform(0, 2 * math.pi)
    for number in range(count):
        radius = 26 + 11 * math.sin(2 * math.pi * number / 210 + phase)  # nearer and farther every seven seconds
        if y > _FLOOR - radius and vy > 0:
            y, vy = _FLOOR - radius, -dice.uniform(700, 1100)
        if x < _WALLS[0] + radius and vx < 0 or x > _WALLS[1] - radius and vx > 0:
            vx = -math.copysign(dice.uniform(160, 380), vx)
        yield Position(x, y, radius, _visible(x, y, radius))
        x, y, vy = x + vx / FPS, y + vy / FPS, vy + _GRAVITY / FPS


def _visible(x: float, y: float, radius: float) -> float:
    step = np.arange(200)
    reach, angle = np.sqrt((step + 0.5) / 200) * radius, step * 2.39996  # the golden angle spreads points evenly
    px, py = x + reach * np.cos(angle), y + reach * np.sin(angle)
    behind = (px >= _POLE[0]) & (px < _POLE[1]) & (py >= _POLE[2])
    seen = (px >= 0) & (px < WIDTH) & (py >= 0) & (py < HEIGHT) & ~behind
    return float(np.mean(seen))


def _draw_ball(image: _Array, sprite: _Array, before: Position, now: Position) -> None:
    """Blend the ball into `image`, averaged over the time the shutter was open."""
    dx, dy = (now.x - before.x) * _EXPOSURE / 2, (now.y - before.y) * _EXPOSURE / 2
    reach_x, reach_y = now.radius + abs(dx) + 2, now.radius + abs(dy) + 2
    left, top = max(0, int(now.x - reach_x)), max(0, int(now.y - reach_y))
    right, bottom = min(WIDTH, int(now.x + reach_x) + 1), min(HEIGHT, int(now.y + reach_y) + 1)
    if left >= right or top >= bottom:
        return
    scale = now.radius / _SPRITE_RADIUS
    x, y = now.x - left - scale * _SPRITE_CENTRE, now.y - top - scale * _SPRITE_CENTRE
    layers = [
        cv2.warpAffine(sprite, np.array([[scale, 0, x + t * dx], [0, scale, y + t * dy]]), (right - left, bottom - top))
        for t in (-1.0, 0.0, 1.0)
    ]
    ball = sum(layers[1:], layers[0]) / len(layers)
    patch = image[top:bottom, left:right]
    patch[...] = patch * (1.0 - ball[:, :, 3:]) + ball[:, :, :3]


_SPRITE_RADIUS, _SPRITE_CENTRE = 48.0, 51.5


def _sprite() -> _Array:
    """The ball lit from the upper left: (104, 104, 4) float32, BGR premultiplied by the alpha in channel 3."""
    ys, xs = np.mgrid[0:104, 0:104].astype(np.float32)
    nx, ny = (xs - _SPRITE_CENTRE) / _SPRITE_RADIUS, (ys - _SPRITE_CENTRE) / _SPRITE_RADIUS
    distance = np.hypot(nx, ny)
    nz = np.sqrt(np.clip(1.0 - distance**2, 0.0, 1.0))
    light = np.clip(-0.45 * nx - 0.6 * ny + 0.66 * nz, 0.0, 1.0)
    hsv = np.empty((104, 104, 3), np.uint8)
    hsv[:, :, 0], hsv[:, :, 1], hsv[:, :, 2] = _BALL_HSV[0], _BALL_HSV[1] - 60 * light**8, 70 + 165 * light
    alpha = np.clip((1.0 - distance) * _SPRITE_RADIUS + 0.5, 0.0, 1.0)[:, :, None]
    return np.concatenate([cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * alpha, alpha], axis=2).astype(np.float32)


def _rooms(dice: np.random.Generator) -> tuple[_Array, _Array]:
    """The empty room with the lamp off and on."""
    room = np.empty((HEIGHT, WIDTH, 3), np.float32)
    room[:380] = (168, 172, 178) + 22 * _texture(dice, 380, WIDTH)
    room[380:] = (70, 96, 138) + 26 * _texture(dice, HEIGHT - 380, WIDTH // 16).repeat(16, axis=1)  # wood grain
    image = np.clip(room, 0, 255).astype(np.uint8)
    for x in range(0, WIDTH, 64):
        cv2.line(image, (x, 380), (x * 2 - 320, HEIGHT), (48, 66, 96), 2, cv2.LINE_AA)  # joints of the floor boards
    _add_clutter(image, dice)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    light = 1.08 - 0.45 * np.hypot((xs - 220) / WIDTH, (ys - 150) / HEIGHT) ** 2  # a window on the left
    off = np.clip(image * light[:, :, None], 0, 255).astype(np.uint8)
    on = off.copy()
    cv2.circle(on, _LAMP, 5, (60, 230, 110), -1, cv2.LINE_AA)
    return off, on


def _add_clutter(image: _Array, dice: np.random.Generator) -> None:
    """Shelves, books, frames and a plant, none of the ball's green."""
    colours = [(120, 60, 40), (50, 50, 170), (90, 40, 110), (40, 40, 46), (200, 196, 190), (140, 110, 60), (30, 60, 140)]
    for shelf in (210, 300):
        cv2.rectangle(image, (20, shelf), (260, shelf + 8), (44, 62, 88), -1)
        x = 130
        while x < 250:
            width, height = (int(v) for v in dice.integers((7, 30), (18, 66)))
            cv2.rectangle(image, (x, shelf - height), (x + width, shelf - 1), colours[int(dice.integers(len(colours)))], -1)
            x += width + 1
    cv2.rectangle(image, (330, 90), (415, 160), (36, 40, 50), -1)
    cv2.rectangle(image, (338, 98), (407, 152), (150, 120, 90), -1)
    for _ in range(40):  # leaves of a blueish green, beside the ball's range
        x, y = (int(v) for v in dice.normal((575, 320), (22, 34)))
        cv2.ellipse(image, (x, y), (12, 4), float(dice.uniform(0, 180)), 0, 360, (92, 104, 30), -1, cv2.LINE_AA)
    cv2.rectangle(image, (550, 360), (600, 410), (44, 58, 120), -1)


def _pole(dice: np.random.Generator) -> _Array:
    height, width = HEIGHT - _POLE[2], _POLE[1] - _POLE[0]
    round_shade = np.sin(np.linspace(0.35, math.pi - 0.1, width))[None, :, None]
    grain = (92, 96, 112) + 16 * _texture(dice, height, width)
    return np.clip(grain * (0.5 + 0.6 * round_shade), 0, 255).astype(np.uint8)


def _texture(dice: np.random.Generator, height: int, width: int) -> _Array:
    """(height, width, 1) float32 around 0: coarse stains, finer ones, and grain."""
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((6, 0.5), (24, 0.3), (120, 0.2)):
        grid = dice.uniform(-1, 1, (cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return total[:, :, None]


def _noise(dice: np.random.Generator) -> tuple[_Array, _Array]:
    """What the sensor adds and takes: one tile larger than the image, cut out anew for each frame."""
    tile = dice.normal(0.0, _NOISE, (HEIGHT + 64, WIDTH + 64, 3))
    return np.clip(tile, 0, 255).astype(np.uint8), np.clip(-tile, 0, 255).astype(np.uint8)


def _lamp_is_on(number: int) -> bool:
    return number % 72 < 40


def main(arguments: list[str] | None = None) -> int:
    """Write the clip to the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.ball_tracking.clip", description="Write the rendered clip.")
    parser.add_argument("out", help="a file ending in .mp4")
    parser.add_argument("--frames", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    asked = parser.parse_args(arguments)
    try:
        write(asked.out, asked.frames, asked.seed)
    except OSError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
