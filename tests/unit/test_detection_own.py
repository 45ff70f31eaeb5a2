"""A user's own model by its path: tiny random ones, made here, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from examples.detection.engines import in_batches
from examples.detection.own import app
from tasks import App, ParameterError, Runner, SetupFailed, check_declarations
from tests.detectors import save_detr, save_onnx, save_torchscript

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # TorchScript is what people have on their disks

IMAGE = np.zeros((60, 120, 3), np.uint8)
"""Black, with a red square at (30, 20, 50, 40)."""
IMAGE[20:40, 30:50, 2] = 255


def objects(made: App, *images: Any) -> list[Any]:
    """What the app finds in each image."""
    runner = Runner(made, perf_counter)
    runner.setup(0, made.n)
    ran = [runner.run(0, 4, image) for image in images]
    runner.close()
    assert not [each.error for each in ran if each.kind != "done"]
    return [each.value.detections for each in ran]


def same(found: list[Any], others: list[Any]) -> bool:
    return all(np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores) for a, b in zip(found, others, strict=True))


@pytest.mark.parametrize("form", ["parts", "dict", "list", "corners"])
def test_a_torchscript_file_finds_what_it_is_shown(form: str, tmp_path: Path) -> None:
    """A module that boxes what is red finds it at its place in the frame, in whatever form it answers, alone and beside others."""
    path = save_torchscript(tmp_path / "red.pt", form)
    made = app(path, size=96, names="red thing")
    found, nothing, again = objects(made, IMAGE, np.zeros_like(IMAGE), IMAGE)
    assert found.boxes == pytest.approx(np.array([(30, 20, 50, 40)], np.float32), abs=2) and found.scores.tolist() == [0.5]
    assert nothing.count == 0 and same([found], [again])
    assert check_declarations(made, [IMAGE]) == []
    infer = Runner(made, perf_counter).stages[2]
    infer.setup()
    prepared = [made.chain[1].run(made.chain[0].run(image)) for image in (IMAGE, IMAGE[:, ::-1], np.zeros_like(IMAGE))]
    together, alone = infer.run_batch(prepared), [infer.run(each) for each in prepared]
    assert all(np.array_equal(a.answer[name], b.answer[name]) for a, b in zip(together, alone) for name in a.answer)


def test_a_torchscript_file_may_say_its_size_and_names(tmp_path: Path) -> None:
    """What an exporter put beside the code is used; without it the size must be given."""
    path = save_torchscript(tmp_path / "red.torchscript", "corners", said=json.dumps({"imgsz": [64, 96], "names": {"0": "red"}}))
    made = app(path)
    assert made.chain[1].size == (64, 96) and made.chain[4].names == ("red",)
    assert objects(made, IMAGE)[0].boxes == pytest.approx(np.array([(30, 20, 50, 40)], np.float32), abs=2)
    with pytest.raises(ParameterError, match="does not say how large a picture it takes: give --param size=PIXELS"):
        app(save_torchscript(tmp_path / "silent.pt", "corners"))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_an_onnx_file_says_what_it_takes(layout: str, tmp_path: Path) -> None:
    """Size, layout, type and names come from the file; red, green and blue reach it in that order, on the scale of its type."""
    made = app(save_onnx(tmp_path / "means.onnx", layout), score=0.0)
    assert made.chain[1].size == (32, 64) and made.chain[4].names == ("red", "green", "blue")
    image = np.empty((32, 64, 3), np.uint8)
    image[:] = (51, 102, 204)  # blue, green, red
    found = objects(made, image)[0]
    assert found.scores.tolist() == pytest.approx([0.8, 0.4, 0.2], abs=1e-3) and found.labels.tolist() == [0, 1, 2]
    assert found.boxes.tolist() == [[0, 0, 10, 10], [10, 10, 20, 20], [20, 20, 30, 30]]
    twice = objects(made, image, np.ascontiguousarray(np.repeat(np.repeat(image, 2, 0), 2, 1)))[1]
    assert twice.boxes.tolist() == (2 * found.boxes).tolist()
    with pytest.raises(ParameterError, match="takes pictures of 32x64, so size=64 cannot be"):
        app(tmp_path / "means.onnx", size=64)


def test_a_detr_folder_finds_what_transformers_says(tmp_path: Path) -> None:
    """A tiny random DETR gives the classes and boxes that the library itself computes, in the frame's own shape."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = save_detr(tmp_path / "detr")
    made = app(folder, score=0.1)
    assert made.chain[4].names == ("cat", "dog", "hen") and made.chain[2].requires == ("torch", "transformers")
    found = objects(made, IMAGE)[0]
    model = transformers.DetrForObjectDetection.from_pretrained(folder).eval()
    canvas = made.chain[1].run(made.chain[0].run(IMAGE)).canvas
    assert canvas.shape == (48, 96, 3)  # shortest side 64, longest at most 96
    picture = (canvas[..., ::-1] / 255.0 - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.4)
    with torch.inference_mode():
        answer = model(pixel_values=torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1)[None]))
    share = answer.logits.softmax(-1)[0, :, :-1].max(-1)
    x, y, width, height = answer.pred_boxes[0].T.numpy()
    expected = np.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), axis=1) * (120, 60, 120, 60)
    assert found.count == 5 and found.labels.tolist() == share.indices.tolist()
    assert found.scores == pytest.approx(share.values.numpy(), abs=1e-5)
    assert found.boxes == pytest.approx(np.clip(expected, 0, (120, 60, 120, 60)), abs=1e-3)


def test_pictures_of_one_shape_are_computed_together() -> None:
    """On a GPU, that is; answers keep their order, and a network that does not tell pictures apart gets them one by one."""
    seen: list[int] = []

    def run(canvases: Sequence[Any], axis: bool = True) -> list[dict[str, Any]]:
        seen.append(len(canvases))
        return [{"mean": canvas.mean()} for canvas in (canvases if axis else canvases[:1])]

    canvases = [np.full((4, 4 + number % 2, 3), number, np.uint8) for number in range(5)]
    for together, axis, sizes in ((True, True, [3, 2]), (False, True, [1] * 5), (True, False, [3, 1, 1, 1, 2, 1, 1])):
        seen.clear()
        answers = in_batches(canvases, together, partial(run, axis=axis))
        assert [answer["mean"] for answer in answers] == [0, 1, 2, 3, 4] and seen == sizes


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(ParameterError) as error:
        app(path, **options)
    return str(error.value)


def test_what_is_no_model_is_refused_by_its_path(tmp_path: Path) -> None:
    """Before anything starts the text says what is wrong with the file and what to do."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "broken.onnx").write_bytes(b"x")
    assert "no such file or folder on this host" in refused(tmp_path / "none.pt")
    assert "notes.txt is no model: legal are a TorchScript file (.pt" in refused(tmp_path / "notes.txt")
    assert "weights.pt is no TorchScript file: weights alone, or a pickled module" in refused(tmp_path / "weights.pt", size=64)
    assert "broken.onnx cannot be read as ONNX" in refused(tmp_path / "broken.onnx")
    assert "has no config.json: legal are" in refused(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    assert "has no model.safetensors; weights that were pickled" in refused(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "holds BertModel: legal is a model for object detection" in refused(tmp_path)


def test_a_model_that_answers_something_else_is_found_out_at_the_start(tmp_path: Path) -> None:
    """Its first answer, to a grey picture, is looked at before frames flow; so is a size that it does not take."""
    path = save_onnx(tmp_path / "other.onnx", "nchw", answers="sum")
    with pytest.raises(SetupFailed, match="the model answers out .* for a picture. Legal are boxes"):
        objects(app(path), IMAGE)
    with pytest.raises(SetupFailed, match="the model answers scores .* which is not of the form 'yolov8'"):
        objects(app(save_onnx(tmp_path / "means.onnx", "nchw"), outputs="yolov8"), IMAGE)


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime an ONNX file is refused with the words that install it; a device without torch runs up to the network."""
    import sys

    onnx, script = save_onnx(tmp_path / "means.onnx", "nchw"), save_torchscript(tmp_path / "red.pt", "corners")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "needs onnxruntime, which is missing here; in Spillway's checkout: pip install -c constraints.txt '.[onnx]'" in refused(onnx)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SetupFailed, match=r"red.pt needs torch .*: pip install -c constraints.txt '.\[detection\]'"):
        objects(app(script, size=96), IMAGE)
    assert "'infer' needs torch, missing on the device (pip install -c constraints.txt '.[detection]')" in app(script, size=96).why_not(
        5, frozenset({2})
    )


def test_two_models_are_two_apps(tmp_path: Path) -> None:
    """The file's content and what is made of it are in the fingerprint; its place, the device and the threads are not."""
    first, second = save_onnx(tmp_path / "a.onnx", "nchw"), save_onnx(tmp_path / "b.onnx", "nhwc")
    assert app(first).fingerprint() == app(first, device="cpu", threads=4).fingerprint()
    assert len({made.fingerprint() for made in (app(first), app(second), app(first, score=0.5), app(first, names="a,b,c"))}) == 4
    (tmp_path / "copy.onnx").write_bytes(first.read_bytes())
    assert app(tmp_path / "copy.onnx").fingerprint() == app(first).fingerprint()
