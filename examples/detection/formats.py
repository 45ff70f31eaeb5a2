"""What a user's model file says of itself: its kind, what picture it takes, what its classes are called.

    TorchScript   a .pt, .ts or .torchscript file that torch.jit.save wrote; an extra file config.txt in it (JSON with
                  `imgsz` or `shape`, and `names`; exporters of the YOLO family write one) says size and classes
    ONNX          an .onnx file; its input says size, layout and type, its metadata (`imgsz`, `names`) the rest
    DETR          a Hugging Face folder with config.json and model.safetensors; preprocessor_config.json says the size

Nothing here needs torch or transformers; ONNX files are read by onnxruntime. A model file is code: run only what you trust.
"""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["BYTES", "IMAGENET", "INSTALL", "UNIT", "ModelFile", "Pixels", "extra_of", "read_model_file"]

INSTALL = "pip install -c constraints.txt '.[{extra}]'"
ONNX_MISSING = "{path}: an ONNX file needs onnxruntime, which is missing here; in Spillway's checkout: {install}"

_SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".jit")
_LEGAL = f"legal are a TorchScript file ({', '.join(_SUFFIXES)}), an ONNX file (.onnx) and a Hugging Face folder with config.json"
_NO_SIZE = "{path} does not say how large a picture it takes: give --param size=PIXELS, the side of the square it was trained with"
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8", "tensor(double)": "float64"}
_EDGES = (800, 1333)
"""Shortest and longest side that DETR was trained with, and its processor's defaults (Carion et al., ECCV 2020)."""


class Pixels(msgspec.Struct, frozen=True):
    """What is made of a grey level g from 0 to 255, for red, green and blue: (g * factor - mean) / deviation."""

    factor: float
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


BYTES = Pixels(1.0)
UNIT = Pixels(1 / 255)
IMAGENET = Pixels(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The statistics of ImageNet, which backbones of torchvision and DETR are trained with."""


class ModelFile(msgspec.Struct, frozen=True):
    """A model on disk."""

    path: Path
    kind: str
    """"torchscript", "onnx" or "detr\""""
    size: tuple[int, int]
    """(height, width) of the canvas; of a DETR that keeps the picture's shape, its (shortest, longest) side at most"""
    stretched: bool = False
    """True: the whole picture at `size`; False: its shape is kept, with grey beside it or, by a DETR, none"""
    layout: str = "nchw"
    dtype: str = "float32"
    pixels: Pixels = UNIT
    names: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Import names of what runs it."""
        return {"torchscript": ("torch",), "onnx": ("onnxruntime",), "detr": ("torch", "transformers")}[self.kind]


def extra_of(model: ModelFile) -> str:
    """The extra of Spillway that brings what runs it."""
    return {"torchscript": "detection"}.get(model.kind, model.kind)


def read_model_file(path: Path, size: int = 0) -> ModelFile:
    """What is known of the model at `path`.

    Args:
        size: side of its input, pixels; 0: as the file says.

    Raises:
        ValueError: it is no model that can be run, or does not say what must be known; the text says what to do.
    """
    if path.is_dir():
        return _detr(path, size)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _onnx(path, size)
    if suffix in _SUFFIXES:
        return _torchscript(path, size)
    raise ValueError(f"{path} is no model: {_LEGAL}")


def _torchscript(path: Path, size: int) -> ModelFile:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            said = next((_json(archive.read(name)) for name in names if name.endswith("/extra/config.txt")), {})
    except zipfile.BadZipFile:
        names, said = [], {}
    if not any("/code/" in name for name in names):
        raise ValueError(
            f"{path} is no TorchScript file: weights alone, or a pickled module, cannot be run without their code. Save the model with "
            "torch.jit.trace(model.eval(), example).save(path) or torch.jit.script(model.eval()).save(path)"
        )
    side = said.get("imgsz") or list(said.get("shape") or ())[-2:]
    return ModelFile(path, "torchscript", _canvas(path, side, size), names=_names(said.get("names")))


def _onnx(path: Path, size: int) -> ModelFile:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(ONNX_MISSING.format(path=path, install=INSTALL.format(extra="onnx"))) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is only looked at
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise ValueError(f"{path} cannot be read as ONNX: {str(error).strip()}") from error
    if len(session.get_inputs()) != 1:
        raise ValueError(f"{path} takes {', '.join(each.name for each in session.get_inputs())}: legal is one input, the picture")
    (picture,) = session.get_inputs()
    shape, dtype = [each if isinstance(each, int) else 0 for each in picture.shape], _TYPES.get(picture.type, "")
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or not dtype:
        raise ValueError(
            f"{path} takes {picture.type} of shape {picture.shape}: legal are pictures of shape (batch, 3, height, width) or "
            f"(batch, height, width, 3), as {', '.join(_TYPES.values())}"
        )
    layout = "nchw" if shape[1] == 3 else "nhwc"
    side = shape[2:] if layout == "nchw" else shape[1:3]
    said = session.get_modelmeta().custom_metadata_map
    if size and all(side) and side != [size, size]:
        raise ValueError(f"{path} takes pictures of {side[0]}x{side[1]}, so size={size} cannot be: leave --param size out")
    canvas = _canvas(path, side if all(side) else _literal(said.get("imgsz")), size)
    return ModelFile(
        path, "onnx", canvas, layout=layout, dtype=dtype, pixels=BYTES if dtype == "uint8" else UNIT,
        names=_names(_literal(said.get("names"))),
    )


def _detr(path: Path, size: int) -> ModelFile:
    if not (path / "config.json").is_file():
        raise ValueError(f"{path} has no config.json: {_LEGAL}")
    if not (path / "model.safetensors").is_file() and not (path / "model.safetensors.index.json").is_file():
        raise ValueError(
            f"{path} has no model.safetensors; weights that were pickled (pytorch_model.bin) are not read. Load them once with "
            "transformers and save_pretrained() them"
        )
    config = _json((path / "config.json").read_bytes())
    kinds = config.get("architectures") or ["nothing"]
    if not str(kinds[0]).endswith("ForObjectDetection"):
        raise ValueError(f"{path} holds {kinds[0]}: legal is a model for object detection, DETR or one of its relatives")
    said: dict[str, Any] = {}
    if (path / "preprocessor_config.json").is_file():
        said = _json((path / "preprocessor_config.json").read_bytes())
    edges, stretched = _edges(said.get("size"), size)
    return ModelFile(
        path, "detr", edges, stretched=stretched, pixels=_pixels(said), names=_names(config.get("id2label")),
    )


def _edges(said: Any, size: int) -> tuple[tuple[int, int], bool]:
    """What its processor does: the sides of the picture, and whether its shape is given up."""
    if isinstance(said, Mapping) and {"height", "width"} <= set(said):
        return (size or int(said["height"]), size or int(said["width"])), True
    shortest, longest = _EDGES
    if isinstance(said, Mapping):
        shortest, longest = int(said.get("shortest_edge") or shortest), int(said.get("longest_edge") or longest)
    elif isinstance(said, int):
        shortest = said
    return ((size, round(size * longest / shortest)) if size else (shortest, longest)), False


def _pixels(said: Mapping[str, Any]) -> Pixels:
    factor = float(said.get("rescale_factor") or 1 / 255) if said.get("do_rescale", True) else 1.0
    if not said.get("do_normalize", True):
        return Pixels(factor)
    mean, deviation = said.get("image_mean") or IMAGENET.mean, said.get("image_std") or IMAGENET.deviation
    return Pixels(factor, tuple(map(float, mean)), tuple(map(float, deviation)))  # type: ignore[arg-type]


def _canvas(path: Path, said: Any, size: int) -> tuple[int, int]:
    if size:
        return size, size
    sides = [said, said] if isinstance(said, int) else list(said or ())
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(_NO_SIZE.format(path=path))
    return sides[0], sides[1]


def _names(said: Any) -> tuple[str, ...]:
    """Class names by label, of a list or of {label: name}; () if there are none."""
    if isinstance(said, Mapping):
        by_label = {int(label): str(name) for label, name in said.items()}
        return tuple(by_label.get(label, str(label)) for label in range(max(by_label, default=-1) + 1))
    return tuple(map(str, said)) if isinstance(said, (list, tuple)) else ()


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _literal(text: str | None) -> Any:
    """A Python literal, as exporters write lists and dicts into an ONNX file's metadata."""
    try:
        return ast.literal_eval(text or "None")
    except (ValueError, SyntaxError):
        return None
