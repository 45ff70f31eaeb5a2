"""A convolutional net for the GPU benchmark: pinned memory, one transfer there and one back for each batch; else on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks import App, Input, Task, factory

__all__ = ["Net", "app"]

_LAYERS = 4
"""Each halves the sides and doubles the channels, with a layer of the same size behind it."""


class Net(Task):
    """(side, side, 3) uint8 -> a class."""

    placement = "cloud"
    requires = ("torch",)
    parameters = ("side", "width")

    def __init__(self, side: int, width: int) -> None:
        self.side, self.width = side, width

    def setup(self) -> None:
        import torch

        torch.manual_seed(0)
        self._torch = torch
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._half = self.device.type == "cuda"
        torch.backends.cudnn.benchmark = True
        net = _net(torch.nn, self.width).eval().to(self.device, memory_format=torch.channels_last)
        self._net = net.half() if self._half else net
        self.run_batch([np.zeros((self.side, self.side, 3), np.uint8)])

    def run(self, item: Any) -> Any:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[Any]) -> list[Any]:
        torch = self._torch
        with torch.inference_mode():
            batch = torch.empty((len(items), self.side, self.side, 3), dtype=torch.uint8, pin_memory=self._half)
            for index, item in enumerate(items):
                batch[index] = torch.from_numpy(np.array(item))  # what arrives is read-only, and torch has no such arrays
            there = batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            found = self._net((there.half() if self._half else there.float()) / 255)
            return [int(each) for each in found.argmax(1).tolist()]  # which waits for the GPU


def _net(nn: Any, width: int) -> Any:
    layers = [nn.Conv2d(3, width, 7, 2, 3), nn.ReLU()]
    for step in range(_LAYERS):
        before, after = width * 2**step, width * 2 ** (step + 1)
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width * 2**_LAYERS, 80))


@factory
def app(side: int = 320, width: int = 48) -> App:
    """The net for pictures of `side` pixels, with `width` channels in its first layer."""
    return App("gpu", [Input(), Net(side, width)])
