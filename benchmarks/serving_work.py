"""The model of the serving benchmark, the same for every contender: frames in, one answer each, better in batches.

    torch   a convolutional net with random weights on one thread: real work, whose time depends on what else runs here
    timed   a stage that sleeps `TIMED[0] + TIMED[1] * batch` seconds: it takes no CPU, so its capacity is known exactly
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.wait import wait
from wire.heap import keep_freed_memory

__all__ = ["KINDS", "SHAPE", "TIMED", "Work", "frame", "load", "number"]

KINDS = ("torch", "timed")
SHAPE = (64, 64, 3)
"""Of a frame, uint8."""
TIMED = (0.006, 0.002)
"""Seconds of a batch, and of each frame in it."""
_NET = (48, 160, 320, 640)
"""Channels; each step halves the sides and is followed by `_DEPTH` layers of the same width."""
_DEPTH = 2

_NOISE = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), np.uint8)

Work = Callable[[Sequence[Any]], list[list[int]]]
"""Frames -> for each its number and a class."""


def frame(seq: int) -> Any:
    """Frame number `seq`: noise that begins with its number."""
    pixels = _NOISE[seq % len(_NOISE)].copy()
    pixels.reshape(-1)[:8] = np.frombuffer(seq.to_bytes(8, "little"), np.uint8)
    return pixels


def number(pixels: Any) -> int:
    """The number a frame begins with."""
    return int.from_bytes(pixels.reshape(-1)[:8].tobytes(), "little")


def load(kind: str) -> Work:
    """The work of one worker.

    Raises:
        ModuleNotFoundError: torch is not installed.
    """
    return _timed if kind == "timed" else _torch()


def _timed(frames: Sequence[Any]) -> list[list[int]]:
    wait(TIMED[0] + TIMED[1] * len(frames))
    return [[number(pixels), 0] for pixels in frames]


def _torch() -> Work:
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()  # as workers of cloud-server do, so that the capacity is the net's, whoever serves it
    torch.manual_seed(0)
    net = _net(torch.nn).eval()

    def work(frames: Sequence[Any]) -> list[list[int]]:
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float().div_(255)
            classes = net(batch).argmax(1).tolist()
        return [[number(pixels), found] for pixels, found in zip(frames, classes)]

    for size in (1, 2, 4, 8, 16):  # the first run of each shape prepares its kernels
        work([frame(seq) for seq in range(size)])
    return work


def _net(nn: Any) -> Any:
    layers = [nn.Conv2d(3, _NET[0], 4, 4), nn.ReLU()]
    for before, after in zip(_NET, _NET[1:]):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()]
        for _ in range(_DEPTH):
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_NET[-1], 32))
