"""A user's model at work: pictures in, arrays out. Each engine imports its library when it is made.

    engine = engine_of(read_model_file(path))
    answers = engine([canvas, canvas])          # (h, w, 3) uint8 BGR in; one dict of arrays for each out

On a CPU pictures are computed one by one, so that a result never depends on what shared its batch, not even in its last bit,
and since batches gain next to nothing there. On a GPU those of one shape are computed together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from examples.detection.formats import INSTALL, ModelFile, extra_of

__all__ = ["Engine", "engine_of", "in_batches", "tensor_of"]

_Array = np.ndarray[Any, Any]
Engine = Callable[[Sequence[_Array]], list[dict[str, _Array]]]


def engine_of(model: ModelFile, device: str = "auto", threads: int = 0) -> Engine:
    """The model, loaded.

    Args:
        device: "cpu", "cuda", or "auto": a GPU where there is one.
        threads: of the CPU for one picture; 0: what OMP_NUM_THREADS says, else one, since a server has a worker for each core.

    Raises:
        ImportError: its library is missing; the text names the extra.
        RuntimeError: there is no GPU, or the file cannot be loaded.
    """
    threads = threads or int(os.environ.get("OMP_NUM_THREADS", "1"))
    kinds: dict[str, Callable[..., Engine]] = {"torchscript": _TorchScript, "onnx": _Onnx, "detr": _Detr}
    try:
        return kinds[model.kind](model, device, threads)
    except ImportError as error:
        needed = " and ".join(model.needs)
        raise ImportError(
            f"{model.path} needs {needed} ({error}); in Spillway's checkout: {INSTALL.format(extra=extra_of(model))}"
        ) from error


def tensor_of(canvas: _Array, model: ModelFile) -> _Array:
    """(h, w, 3) uint8 BGR as the model takes it: RGB, of its range, layout and type, without the batch's axis."""
    picture = canvas[..., ::-1]
    if model.dtype != "uint8":
        pixels = model.pixels
        scaled = picture.astype(np.float32) * np.float32(pixels.factor) - np.array(pixels.mean, np.float32)
        picture = (scaled / np.array(pixels.deviation, np.float32)).astype(model.dtype)
    return np.ascontiguousarray(picture.transpose(2, 0, 1) if model.layout == "nchw" else picture)


class _TorchScript:
    """torch.jit; a module that takes a list of pictures, as torchvision's detectors do, gets one."""

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        import torch

        self._model, self._torch = model, torch
        self._device = _torch_device(torch, device)
        torch.set_num_threads(threads)
        try:
            jit: Any = torch.jit
            self._module = jit.load(str(model.path), map_location=self._device).eval()
        except RuntimeError as error:
            raise RuntimeError(f"{model.path} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
        first = [str(argument.type) for argument in self._module.forward.schema.arguments][1:2]
        self._takes_list = first == ["List[Tensor]"]

    def __call__(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        return in_batches(canvases, self._device.type == "cuda", self._run)

    def _run(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        whole = self._torch.from_numpy(np.stack([tensor_of(canvas, self._model) for canvas in canvases])).to(self._device)
        with self._torch.inference_mode():
            answer = self._module(list(whole)) if self._takes_list else self._module(whole)
        return _apart(answer, len(canvases))


class _Detr:
    """transformers, with weights from safetensors only: nothing is unpickled, nothing is downloaded."""

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        import torch
        import transformers

        self._model, self._torch = model, torch
        self._device = _torch_device(torch, device)
        torch.set_num_threads(threads)
        library: Any = transformers
        library.logging.disable_progress_bar()
        try:
            loaded = library.AutoModelForObjectDetection.from_pretrained(
                str(model.path), local_files_only=True, use_safetensors=True
            )
        except ImportError as error:
            if "timm" not in str(error):
                raise
            raise RuntimeError(
                f"{model.path} has a backbone of the package timm: pip install timm, or take a revision without it (of the original DETR "
                "it is called no_timm)"
            ) from error
        self._module = loaded.eval().to(self._device)

    def __call__(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        return in_batches(canvases, self._device.type == "cuda", self._run)

    def _run(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        whole = self._torch.from_numpy(np.stack([tensor_of(canvas, self._model) for canvas in canvases])).to(self._device)
        with self._torch.inference_mode():
            answer = self._module(pixel_values=whole)
        return _apart({"logits": answer.logits, "pred_boxes": answer.pred_boxes}, len(canvases))


class _Onnx:
    """onnxruntime, on a GPU where its GPU build finds one."""

    def __init__(self, model: ModelFile, device: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        if device == "cuda" and "CUDAExecutionProvider" not in there:
            raise RuntimeError(f"device='cuda': this onnxruntime has {', '.join(there)}; the package onnxruntime-gpu has CUDA")
        wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in there]
        session = onnxruntime.InferenceSession(str(model.path), options, providers=wanted[-1:] if device == "cpu" else wanted)
        self._model, self._session = model, session
        self._input = session.get_inputs()[0].name
        self._names = [output.name for output in session.get_outputs()]
        any_batch = not isinstance(session.get_inputs()[0].shape[0], int)
        self._together = any_batch and session.get_providers()[0].startswith("CUDA")

    def __call__(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        return in_batches(canvases, self._together, self._run)

    def _run(self, canvases: Sequence[_Array]) -> list[dict[str, _Array]]:
        whole = np.stack([tensor_of(canvas, self._model) for canvas in canvases])
        answer = self._session.run(None, {self._input: whole})
        return _apart(dict(zip(self._names, answer)), len(canvases))


def _torch_device(torch: Any, device: str) -> Any:
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device='cuda': torch finds no GPU here; legal are auto and cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def in_batches(
    canvases: Sequence[_Array], together: bool, run: Callable[[Sequence[_Array]], list[dict[str, _Array]]]
) -> list[dict[str, _Array]]:
    """The answers in order; of those of one shape together, or one by one, as where a network does not tell them apart."""
    groups: dict[Any, list[int]] = {}
    for index, canvas in enumerate(canvases):
        groups.setdefault(canvas.shape if together else index, []).append(index)
    answers: dict[int, dict[str, _Array]] = {}
    for rows in groups.values():
        found = run([canvases[row] for row in rows])
        answers.update(zip(rows, found if len(found) == len(rows) else [run([canvases[row]])[0] for row in rows]))
    return [answers[index] for index in range(len(canvases))]


def _apart(answer: Any, count: int) -> list[dict[str, _Array]]:
    """What a network answered, for each of `count` pictures, tensors by name or by their place; one alone where that has no such axis."""
    pictures = next((part for part in _lists(answer) if len(part) == count and all(isinstance(each, Mapping) for each in part)), None)
    if pictures is not None:  # a list of dicts, one for each picture, beside what else there may be
        return [{str(name): _array(value) for name, value in each.items()} for each in pictures]
    named = answer.items() if isinstance(answer, Mapping) else enumerate(answer if isinstance(answer, (list, tuple)) else [answer])
    arrays = {str(name): _array(value) for name, value in named}
    if max((array.ndim for array in arrays.values()), default=0) < 3:  # no form has three axes but for the batch's
        return [arrays]
    return [{name: array[row] for name, array in arrays.items() if array.ndim} for row in range(count)]


def _lists(answer: Any) -> Iterator[list[Any]]:
    if isinstance(answer, list) and answer:
        yield answer
    elif isinstance(answer, tuple):
        yield from (part for part in answer if isinstance(part, list) and part)


def _array(value: Any) -> _Array:
    if isinstance(value, np.ndarray):
        return value
    found: _Array = value.detach().float().cpu().numpy() if value.is_floating_point() else value.detach().cpu().numpy()
    return found
