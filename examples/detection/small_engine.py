"""The detector's network on a device without torch: numpy alone, for the small inputs of a local twin.

    part = part_of("stem", "narrow")
    features = part.run([image])                # arrays (h, w, c) float32 in, the same out

A convolution is one product of matrices, over all places that its kernel covers. The answers differ from torch's in the last digits.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from examples.detection.network import Layer, layers, run_stage, shape_before
from examples.detection.weights import FOLDER, read_weights

__all__ = ["Part", "part_of"]

_Array = np.ndarray[Any, Any]


class _Map:
    """A tensor (h, w, c) with the four operations that the wiring asks of one."""

    __slots__ = ("cells",)

    def __init__(self, cells: _Array) -> None:
        self.cells = cells

    def __add__(self, other: _Map) -> _Map:
        return _Map(self.cells + other.cells)

    def relu_(self) -> _Map:
        """Itself, with what is negative set to 0."""
        np.maximum(self.cells, 0.0, out=self.cells)
        return self

    def doubled(self) -> _Map:
        """Twice as high and wide, each cell four times."""
        return _Map(self.cells.repeat(2, axis=0).repeat(2, axis=1))


class Part:
    """One stage of the network with its weights.

    Args:
        stage: one of network.STAGES.
        width: one of network.WIDTHS.
    """

    def __init__(self, stage: str, width: str) -> None:
        self.stage, self._width = stage, width
        arrays = read_weights(FOLDER / f"{width}.npz")
        self._layers = {name: layer for name, layer in layers(width).items() if name.startswith(f"{stage}.")}
        self._weights = {name: _matrix(arrays[f"{name}.weight"]) for name in self._layers}
        self._biases = {name: arrays[f"{name}.bias"] for name in self._layers}

    def run(self, features: list[_Array]) -> list[_Array]:
        """The stage's output for each input (h, w, c), one after the other."""
        return [run_stage(self.stage, self._convolved, _Map(array.astype(np.float32, copy=False))).cells for array in features]

    def warm(self, canvas: tuple[int, int]) -> None:
        """Compute once for a picture of (height, width) pixels."""
        self.run([np.zeros(shape_before(self.stage, self._width, canvas), np.float32)])

    def _convolved(self, name: str, x: _Map) -> _Map:
        return _Map(_patches(x.cells, self._layers[name]) @ self._weights[name] + self._biases[name])


@functools.lru_cache(maxsize=16)
def part_of(stage: str, width: str) -> Part:
    """The stage of this width, one for all that ask: it keeps nothing of what it is given."""
    return Part(stage, width)


def _matrix(weight: _Array) -> _Array:
    """(out, in, k, k) as (k * k * in, out)."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0]))


def _patches(cells: _Array, layer: Layer) -> _Array:
    """(h', w', k * k * c): what the kernel covers at each place."""
    if layer.kernel == 1:
        return cells[:: layer.stride, :: layer.stride]
    margin = layer.kernel // 2
    padded = np.pad(cells, ((margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (layer.kernel, layer.kernel), axis=(0, 1))[:: layer.stride, :: layer.stride]
    return windows.transpose(0, 1, 3, 4, 2).reshape(*windows.shape[:2], -1)
