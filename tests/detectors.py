"""Tiny detectors on disk, of each kind that examples.detection.own runs; made without a network."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["save_detr", "save_onnx", "save_torchscript"]

_numbers = itertools.count()
_RED = """
def red(self, x):
    # type: (Tensor) -> Tuple[Tensor, Tensor, Tensor]
    there = torch.nonzero((x[0] > 0.9) & (x[1] < 0.1))
    if there.shape[0] == 0:
        return torch.zeros([0, 4]), torch.zeros([0]), torch.zeros([0], dtype=torch.int64)
    low, high = there.min(0)[0], there.max(0)[0] + 1
    box = torch.stack([low[1], low[0], high[1], high[0]]).to(torch.float32)
    return box[None], torch.tensor([0.5]), torch.zeros([1], dtype=torch.int64)
"""
_FORWARDS = {
    "parts": "def forward(self, x):\n    boxes, scores, labels = self.red(x[0])\n    return boxes[None], labels[None], scores[None]\n",
    "dict": "def forward(self, x):\n    boxes, scores, labels = self.red(x[0])\n"
            "    return {'boxes': boxes[None], 'scores': scores[None], 'labels': labels[None]}\n",
    "list": "def forward(self, x):\n    # type: (List[Tensor]) -> Tuple[Dict[str, Tensor], List[Dict[str, Tensor]]]\n"
            "    found: List[Dict[str, Tensor]] = []\n    for one in x:\n        boxes, scores, labels = self.red(one)\n"
            "        found.append({'boxes': boxes, 'labels': labels, 'scores': scores})\n"
            "    losses: Dict[str, Tensor] = {}\n    return losses, found\n",
    "corners": "def forward(self, x):\n    boxes, scores, labels = self.red(x[0])\n"
               "    return torch.cat([boxes, scores[:, None], labels[:, None].to(torch.float32)], 1)[None]\n",
}


def save_torchscript(path: Path, form: str, *, said: str = "") -> Path:
    """A module that boxes what is red and not green, with a score of one half; `said` is the text of its config.txt."""
    torch = pytest.importorskip("torch")
    module = type(f"Red{next(_numbers)}", (torch.jit.ScriptModule,), {})()  # a method is defined once for each class
    module.define(_RED)
    module.define(_FORWARDS[form])
    torch.jit.save(module, str(path), _extra_files={"config.txt": said} if said else {})
    return path


def save_onnx(path: Path, layout: str, *, answers: str = "parts") -> Path:
    """Three fixed boxes, whose scores are the means of the picture's red, green and blue; nhwc takes bytes, nchw floats."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    shape, kind = ([1, 3, 32, 64], kinds.FLOAT) if layout == "nchw" else ([1, 32, 64, 3], kinds.UINT8)
    boxes = np.array([[(0, 0, 10, 10), (10, 10, 20, 20), (20, 20, 30, 30)]], np.float32)
    constants = {
        "boxes_": boxes, "labels_": np.array([[0, 1, 2]], np.int64), "axes": np.array([2, 3] if layout == "nchw" else [1, 2], np.int64),
        "scale": np.array([1.0 if layout == "nchw" else 255.0], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["picture"], ["cast"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["cast", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["scores"]),
        helper.make_node("Identity", ["boxes_"], ["boxes"]),
        helper.make_node("Identity", ["labels_"], ["labels"]),
        helper.make_node("ReduceSum", ["cast"], ["out"], keepdims=0),
    ]
    outputs = {"scores": [1, 3], "boxes": [1, 3, 4], "labels": [1, 3]} if answers == "parts" else {"out": []}
    graph = helper.make_graph(
        nodes, "means", [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info(name, kinds.INT64 if name == "labels" else kinds.FLOAT, size) for name, size in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"names": "{0: 'red', 1: 'green', 2: 'blue'}"})
    onnx.save(model, str(path))
    return path


def save_detr(folder: Path) -> Path:
    """A random DETR with a backbone of two layers and five queries, which runs in milliseconds."""
    torch: Any = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(3)
    backbone = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"])
    config = transformers.DetrConfig(
        use_timm_backbone=False, backbone_config=backbone, backbone=None, use_pretrained_backbone=False, num_queries=5, d_model=16,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, id2label={0: "cat", 1: "dog", 2: "hen"},
    )
    transformers.DetrForObjectDetection(config).save_pretrained(folder)
    said = {"size": {"shortest_edge": 64, "longest_edge": 96}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder
