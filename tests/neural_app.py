"""A small convolutional network as a chain of stages, in numpy: what runs through it is what runs through larger ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks import App, Source, Task

__all__ = ["app", "image"]

_Array = np.ndarray[Any, Any]


class Pictures(Source):
    """Small pictures, and what is submitted."""

    name = "input"
    _given = 0

    def read(self) -> _Array:
        self._given += 1
        return image(48, 64, self._given % 7)


class Normalize(Task):
    """A picture (H, W, 3) uint8 -> (1, 3, H, W) float32 around 0."""

    accepts = ("jpeg:50",)

    def run(self, item: _Array) -> _Array:
        return np.ascontiguousarray((item.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None])


class Convolution(Task):
    """3 x 3 with stride 2 and a ReLU: (1, C, H, W) -> (1, channels, H / 2 - 1, W / 2 - 1) float32; the weights are always the same."""

    accepts = ("int8",)
    parameters = ("channels",)

    def __init__(self, name: str, channels: int) -> None:
        self.name, self.channels = name, channels

    def run(self, item: _Array) -> _Array:
        inputs = item.shape[1]
        weights = np.random.default_rng(self.channels).normal(size=(self.channels, inputs * 9)).astype(np.float32) / np.sqrt(4.5 * inputs)
        windows = np.lib.stride_tricks.sliding_window_view(item[0], (3, 3), axis=(1, 2))[:, ::2, ::2]
        rows, columns = windows.shape[1:3]
        columned = windows.transpose(0, 3, 4, 1, 2).reshape(inputs * 9, -1)
        return np.maximum(weights @ columned, 0).reshape(1, self.channels, rows, columns)


class Head(Task):
    """(1, C, H, W) -> the mean of each channel, as ten numbers in [0, 1]."""

    accepts = ("int8",)

    def run(self, item: _Array) -> list[float]:
        means = item.mean((0, 2, 3))[:10]
        return [float(value) for value in means / max(1e-9, float(means.max()))]


def image(rows: int = 128, columns: int = 160, seed: int = 1) -> _Array:
    """A picture of soft hills and a little noise."""
    y, x = np.mgrid[:rows, :columns]
    hills = [127 + 90 * np.sin(x / (20 + 9 * c) + seed) * np.cos(y / 30 - c) for c in range(3)]
    noisy = np.stack(hills, -1) + np.random.default_rng(seed).normal(0, 3, (rows, columns, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


app = App("toy-network", [Pictures(), Normalize(), Convolution("one", 16), Convolution("two", 24), Convolution("three", 32), Head()])
