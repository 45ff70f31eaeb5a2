"""What training makes small: the focal loss of CornerNet (arXiv:1808.01244) for classes, DIoU (arXiv:1911.08287) for boxes."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["boxes_of", "loss_of"]

_BOXES = 5.0
"""Weight of the boxes, as in TTFNet."""


def loss_of(output: Any, heat: Any, boxes: Any, weights: Any, care: Any) -> tuple[Any, Any]:
    """Losses of classes and of boxes, both scalars; shapes as in `samples.targets_of` with a batch in front.

    Args:
        output: (n, 9, h, w) float32, as the head gives it.
    """
    logits = output[:, :5].clamp(-9.0, 9.0)
    score = logits.sigmoid()
    middle = heat > 0.99
    found = middle * (1 - score) ** 2 * torch.nn.functional.logsigmoid(logits)
    empty = ~middle * care[:, None] * (1 - heat) ** 4 * score**2 * torch.nn.functional.logsigmoid(-logits)
    count = middle.sum().clamp(min=1)
    classes = -(found + empty).sum() / count
    where = weights > 0
    if not bool(where.any()):
        return classes, output.sum() * 0
    given, wanted = boxes_of(output).permute(0, 2, 3, 1)[where], boxes.permute(0, 2, 3, 1)[where]
    return classes, _BOXES * (_distance(given, wanted) * weights[where]).sum() / count


def boxes_of(output: Any) -> Any:
    """(n, 4, h, w): x, y, width, height in cells, of what the head gives."""
    h, w = output.shape[-2:]
    xs = torch.arange(w, device=output.device, dtype=torch.float32) + 0.5
    ys = torch.arange(h, device=output.device, dtype=torch.float32)[:, None] + 0.5
    sides = output[:, 7:9].clamp(-4.0, 4.0).exp()
    return torch.cat([(output[:, 5] + xs)[:, None], (output[:, 6] + ys)[:, None], sides], dim=1)


def _distance(given: Any, wanted: Any) -> Any:
    """1 - IoU + the distance of the middles over the diagonal of both, squared."""
    low = torch.maximum(given[:, :2] - given[:, 2:] / 2, wanted[:, :2] - wanted[:, 2:] / 2)
    high = torch.minimum(given[:, :2] + given[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2)
    both = (high - low).clamp(min=0).prod(dim=1)
    iou = both / (given[:, 2:].prod(dim=1) + wanted[:, 2:].prod(dim=1) - both + 1e-6)
    outer_low = torch.minimum(given[:, :2] - given[:, 2:] / 2, wanted[:, :2] - wanted[:, 2:] / 2)
    outer_high = torch.maximum(given[:, :2] + given[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2)
    diagonal = ((outer_high - outer_low) ** 2).sum(dim=1)
    apart = ((given[:, :2] - wanted[:, :2]) ** 2).sum(dim=1)
    return 1 - iou + apart / (diagonal + 1e-6)
