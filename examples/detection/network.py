"""The detector's wiring: five stages, each from one tensor to one tensor, so the chain can be cut between any two.

    input (n, 3, h, w)  stem -> 1/2  stage1 -> 1/4  stage2 -> 1/8, 12 channels  stage3 -> 1/8  head -> (n, 9, h/8, w/8)

`stage2` ends in a waist of 12 channels: the smallest tensor on the way, 1/16 of the input's bytes at equal precision. `stage3` looks
around at 1/16 and comes back, so no connection skips a cut. The head gives for each cell of 8 x 8 pixels a logit per
class, the offset of the middle from the cell's middle in cells, and the logarithms of width and height in cells, after the
one-stage detectors without anchors (CenterNet, arXiv:1904.07850; TTFNet, arXiv:1909.00700).

The wiring is written once, over a function `conv(name, x)`; training gives one with batch normalisation, inference one with
that folded into the weights, and a device without torch one of numpy (small_engine.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["STAGES", "WIDTHS", "Layer", "layers", "run_stage", "shape_before"]

STAGES = ("stem", "stage1", "stage2", "stage3", "head")

WIDTHS = {"narrow": (8, 16, 32, 32, 48), "wide": (16, 32, 64, 64, 96)}
"""Channels after the stem, stage1, inside stage2, after stage3, and at its lowest resolution."""

WAIST = 12
OUTPUTS = 9
"""Five classes, then x, y, width, height."""
_AROUND = 3
"""Residual blocks at the lowest resolution."""

Conv = Callable[[str, Any], Any]


class Layer(NamedTuple):
    """A convolution; one with a bias has no normalisation behind it."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    bias: bool = False


def layers(width: str) -> dict[str, Layer]:
    """The convolutions of a network of this width, by name, in the order they are used.

    Raises:
        KeyError: there is no such width.
    """
    a, b, c, d, e = WIDTHS[width]
    found = {
        "stem.in": Layer(3, a, stride=2),
        "stage1.in": Layer(a, b, stride=2), "stage1.0.a": Layer(b, b), "stage1.0.b": Layer(b, b),
        "stage2.in": Layer(b, c, stride=2), "stage2.0.a": Layer(c, c), "stage2.0.b": Layer(c, c),
        "stage2.out": Layer(c, WAIST, kernel=1),
        "stage3.in": Layer(WAIST, d), "stage3.down": Layer(d, e, stride=2),
    }
    for index in range(_AROUND):
        found |= {f"stage3.{index}.a": Layer(e, e), f"stage3.{index}.b": Layer(e, e)}
    return found | {
        "stage3.up": Layer(e, d, kernel=1),
        "head.in": Layer(d, d), "head.out": Layer(d, OUTPUTS, kernel=1, bias=True),
    }


def shape_before(stage: str, width: str, canvas: tuple[int, int]) -> tuple[int, int, int]:
    """(h, w, c) of what a stage is given, for an input of (height, width) pixels."""
    index = STAGES.index(stage)
    halvings, channels = (0, 1, 2, 3, 3)[index], (3, *WIDTHS[width][:2], WAIST, WIDTHS[width][3])[index]
    return canvas[0] >> halvings, canvas[1] >> halvings, channels


def run_stage(stage: str, conv: Conv, x: Any) -> Any:
    """One stage of the network.

    Args:
        stage: one of STAGES.
        conv: `conv(name, x)`: the convolution of that name with all that is linear behind it.
        x: (n, c, h, w); at the first stage h and w are multiples of 16.
    """
    if stage == "stem":
        return conv("stem.in", x).relu_()
    if stage == "stage1":
        return _residual(conv, "stage1.0", conv("stage1.in", x).relu_())
    if stage == "stage2":
        return conv("stage2.out", _residual(conv, "stage2.0", conv("stage2.in", x).relu_()))
    if stage == "stage3":
        near = conv("stage3.in", x).relu_()
        far = conv("stage3.down", near).relu_()
        for index in range(_AROUND):
            far = _residual(conv, f"stage3.{index}", far)
        return (near + _doubled(conv("stage3.up", far))).relu_()
    return conv("head.out", conv("head.in", x).relu_())


def _residual(conv: Conv, name: str, x: Any) -> Any:
    return (x + conv(f"{name}.b", conv(f"{name}.a", x).relu_())).relu_()


def _doubled(x: Any) -> Any:
    """Twice as high and wide, each cell four times."""
    if hasattr(x, "doubled"):
        return x.doubled()
    import torch

    return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
