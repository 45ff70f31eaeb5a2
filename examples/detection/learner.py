"""A network while it learns: weights, batch normalisation, their average over time, and AdamW.

`state` is all of it as arrays by name, so a training that was interrupted goes on exactly where it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from examples.detection.loss import loss_of
from examples.detection.network import STAGES, Layer, layers, run_stage
from examples.detection.samples import Batch

__all__ = ["Learner", "rate"]

_EPSILON, _MOMENTUM = 1e-5, 0.05
_PEAK, _WARM, _DECAY = 4e-3, 0.08, 2e-3  # of the learning rate: its height, its rise as a share of all steps; weight decay
_AVERAGE = 0.998  # the exponential moving average of the weights forgets over some 500 steps
_PRIOR = -3.0  # logits begin where one cell in twenty holds something (RetinaNet, arXiv:1708.02002)

_Array = np.ndarray[Any, Any]


def rate(step: int, steps: int) -> float:
    """The learning rate: up in a line, then down half a cosine."""
    warm = max(1.0, _WARM * steps)
    if step < warm:
        return _PEAK * (step + 1) / warm
    return _PEAK * (0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1.0, steps - warm))) + 1e-6


class Learner:
    """One width of the detector.

    Args:
        width: one of network.WIDTHS.
        seed: of its first weights.
    """

    def __init__(self, width: str, seed: int = 0) -> None:
        self.layers = layers(width)
        dice = np.random.default_rng([seed, 77])
        self.learned: dict[str, Any] = {}
        self.running: dict[str, Any] = {}
        for name, layer in self.layers.items():
            self._begin(name, layer, dice)
        self.average = {name: value.detach().clone() for name, value in self.learned.items()}
        decayed = [value for value in self.learned.values() if value.dim() > 1]
        others = [value for value in self.learned.values() if value.dim() == 1]
        groups = [{"params": decayed, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=_PEAK, betas=(0.9, 0.99))

    def learn(self, batch: Batch, step: int, steps: int) -> tuple[float, float]:
        """One step; the losses of classes and of boxes."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(step, steps)
        images, *wanted = (torch.from_numpy(part) for part in batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self._forward(images.contiguous(memory_format=torch.channels_last))
        classes, boxes = loss_of(output.float(), *wanted)
        self.optimizer.zero_grad(set_to_none=True)
        (classes + boxes).backward()
        torch.nn.utils.clip_grad_norm_(list(self.learned.values()), 10.0)
        self.optimizer.step()
        keep = min(_AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.learned.items():
                self.average[name].lerp_(value, 1 - keep)
        return float(classes.detach()), float(boxes.detach())

    def folded(self) -> dict[str, _Array]:
        """The averaged network for inference: `name.weight` and `name.bias` of each convolution, float32."""
        found = {}
        for name, layer in self.layers.items():
            weight = self.average[f"{name}.weight"]
            if layer.bias:
                bias = self.average[f"{name}.bias"]
            else:
                scale = self.average[f"{name}.scale"] / (self.running[f"{name}.variance"] + _EPSILON).sqrt()
                bias = self.average[f"{name}.shift"] - self.running[f"{name}.mean"] * scale
                weight = weight * scale[:, None, None, None]
            found[f"{name}.weight"], found[f"{name}.bias"] = weight.numpy().copy(), bias.numpy().copy()
        return found

    def state(self) -> dict[str, _Array]:
        """All that the next step depends on."""
        found = {f"learned/{name}": value.detach().numpy() for name, value in self.learned.items()}
        found |= {f"running/{name}": value.numpy() for name, value in self.running.items()}
        found |= {f"average/{name}": value.numpy() for name, value in self.average.items()}
        for name, value in self.learned.items():
            for key, moment in self.optimizer.state.get(value, {}).items():
                found[f"moment/{name}/{key}"] = moment.numpy()
        return found

    def restore(self, state: dict[str, _Array]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            for kind, values in (("learned", self.learned), ("running", self.running), ("average", self.average)):
                for name, value in values.items():
                    value.copy_(torch.from_numpy(state[f"{kind}/{name}"]))
        for name, value in self.learned.items():
            moments = {key: f"moment/{name}/{key}" for key in ("step", "exp_avg", "exp_avg_sq")}
            if all(key in state for key in moments.values()):
                self.optimizer.state[value] = {key: torch.from_numpy(np.array(state[at])) for key, at in moments.items()}

    def _begin(self, name: str, layer: Layer, dice: np.random.Generator) -> None:
        spread = math.sqrt(2 / (layer.inputs * layer.kernel**2))
        shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        weight = torch.from_numpy(dice.normal(0, spread, shape).astype(np.float32))
        self.learned[f"{name}.weight"] = weight.contiguous(memory_format=torch.channels_last).requires_grad_()
        if layer.bias:
            with torch.no_grad():
                weight.mul_(0.1)
            first = torch.zeros(layer.outputs)
            first[:5] = _PRIOR
            self.learned[f"{name}.bias"] = first.requires_grad_()
            return
        self.learned[f"{name}.scale"] = torch.full((layer.outputs,), 0.5 if name.endswith(".b") else 1.0).requires_grad_()
        self.learned[f"{name}.shift"] = torch.zeros(layer.outputs).requires_grad_()
        self.running[f"{name}.mean"], self.running[f"{name}.variance"] = torch.zeros(layer.outputs), torch.ones(layer.outputs)

    def _forward(self, x: Any) -> Any:
        for stage in STAGES:
            x = run_stage(stage, self._convolved, x)
        return x

    def _convolved(self, name: str, x: Any) -> Any:
        layer = self.layers[name]
        bias = self.learned.get(f"{name}.bias")
        x = torch.nn.functional.conv2d(x, self.learned[f"{name}.weight"], bias, layer.stride, layer.kernel // 2)
        if layer.bias:
            return x
        mean, variance = self.running[f"{name}.mean"], self.running[f"{name}.variance"]
        scale, shift = self.learned[f"{name}.scale"], self.learned[f"{name}.shift"]
        return torch.nn.functional.batch_norm(x, mean, variance, scale, shift, training=True, momentum=_MOMENTUM, eps=_EPSILON)
