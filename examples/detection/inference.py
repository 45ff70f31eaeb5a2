"""A stage of the network at work: on a GPU where there is one, else on one core of the CPU.

    part = part_of("stem", "narrow")
    features = part.run([image])                # arrays (h, w, c) float32 in, the same out

Arrays are channels last, as torch's convolutions are fastest on a CPU. Import this module in `setup()` or `load()` only.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from examples.detection.network import layers, run_stage, shape_before
from examples.detection.weights import FOLDER, read_weights

__all__ = ["Part", "device_name", "part_of", "use_one_core"]

_Array = np.ndarray[Any, Any]

_CACHED = 1 << 20
"""Floats of input: 4 MB."""
_AT_ONCE = 256


def use_one_core() -> None:
    """One thread for torch, since there are as many workers as cores; OMP_NUM_THREADS says otherwise."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def device_name() -> str:
    """"cuda" where torch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Part:
    """One stage of the network with its weights, on one device.

    Args:
        stage: one of network.STAGES.
        width: one of network.WIDTHS.
        device: a name that torch knows.
    """

    def __init__(self, stage: str, width: str, device: str) -> None:
        self.stage, self.device = stage, torch.device(device)
        # conv2d takes another kernel for one small input than for several: slower, and with other roundings.
        mkldnn: Any = torch.backends.mkldnn
        self._one_kernel = self.device.type == "cpu" and bool(mkldnn.is_available())
        self._width = width
        arrays = _weights(width)
        self._layers = {name: layer for name, layer in layers(width).items() if name.startswith(f"{stage}.")}
        self._tensors = {name: tuple(self._placed(arrays[f"{name}.{kind}"]) for kind in ("weight", "bias")) for name in self._layers}

    def run(self, features: list[_Array]) -> list[_Array]:
        """The stage's output for each input (h, w, c), in their order; those of one shape are computed together."""
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, array in enumerate(features):
            shapes.setdefault(array.shape, []).append(index)
        found: list[Any] = [None] * len(features)
        with torch.inference_mode():
            for shape, rows in shapes.items():
                for some in _parted(rows, self._most(shape)):
                    for row, output in zip(some, self._together([features[row] for row in some])):
                        found[row] = output
        return found

    def warm(self, canvas: tuple[int, int]) -> None:
        """Compute once for a picture of (height, width) pixels: the first time torch makes its kernels, which takes a while."""
        self.run([np.zeros(shape_before(self.stage, self._width, canvas), np.float32)])

    def _most(self, shape: tuple[int, ...]) -> int:
        """How many inputs of this shape are computed at once: on a CPU as many as its cache holds, since more are slower each."""
        return max(1, _CACHED // math.prod(shape)) if self.device.type == "cpu" else _AT_ONCE

    def _together(self, features: list[_Array]) -> _Array:
        """(n, h, w, c): one transfer to the device and one back."""
        there = self._sent(features).permute(0, 3, 1, 2)
        output = run_stage(self.stage, self._convolved, there).permute(0, 2, 3, 1).contiguous()
        if self.device.type == "cpu":
            return np.asarray(output.numpy())
        here = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        here.copy_(output, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return np.asarray(here.numpy())

    def _sent(self, features: list[_Array]) -> Any:
        if self.device.type == "cpu":
            whole = features[0][None] if len(features) == 1 else np.stack(features)
            return torch.from_numpy(_view(whole.astype(np.float32, copy=False)))
        pinned = torch.empty((len(features), *features[0].shape), dtype=torch.float32, pin_memory=True)
        for row, array in zip(pinned.numpy(), features):
            row[...] = array
        return pinned.to(self.device, non_blocking=True)

    def _convolved(self, name: str, x: Any) -> Any:
        layer = self._layers[name]
        weight, bias = self._tensors[name]
        stride, padding = [layer.stride] * 2, [layer.kernel // 2] * 2
        if self._one_kernel:
            return torch.mkldnn_convolution(x, weight, bias, padding, stride, [1, 1], 1)
        return torch.nn.functional.conv2d(x, weight, bias, stride, padding)

    def _placed(self, array: _Array) -> Any:
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


@functools.lru_cache(maxsize=32)
def part_of(stage: str, width: str, device: str = "") -> Part:
    """The stage of this width, one for all that ask: it keeps nothing of what it is given."""
    return Part(stage, width, device or device_name())


@functools.lru_cache(maxsize=4)
def _weights(width: str) -> dict[str, _Array]:
    return read_weights(FOLDER / f"{width}.npz")


def _parted(rows: list[int], most: int) -> Iterator[list[int]]:
    return (rows[first : first + most] for first in range(0, len(rows), most))


def _view(array: _Array) -> _Array:
    """The same memory, said to be writable: values between stages are not, and torch warns of that, but it only reads here."""
    if array.flags.writeable:
        return array
    interface = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}
    return np.asarray(SimpleNamespace(__array_interface__=interface, array=array))
