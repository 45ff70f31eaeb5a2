"""The network: what it learns, that it goes on where it was, and that a batch is what its items are one by one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from examples.detection.family import SIZES, canvas_of
from examples.detection.inference import part_of, use_one_core
from examples.detection.learner import Learner, rate
from examples.detection.loss import boxes_of, loss_of
from examples.detection.network import STAGES, WIDTHS, layers, run_stage, shape_before
from examples.detection.samples import Batch, targets_of


@pytest.fixture(autouse=True)
def one_core() -> None:
    """As a worker has it."""
    use_one_core()


def batch(count: int = 2) -> Batch:
    """Bright squares on grey, which a few steps suffice for."""
    images = np.zeros((count, 3, 64, 64), np.float32)
    wanted = []
    for index, image in enumerate(images):
        at = 8 + 8 * index
        image[:, at : at + 24, at : at + 24] = 2.0
        wanted.append(targets_of(np.array([[1, at, at, at + 24, at + 24, 0]], np.float32), 64, 64))
    return Batch(images, *(np.stack(parts) for parts in zip(*wanted)))


def noise(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Features of a shape, read-only as values between stages are."""
    made = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    made.flags.writeable = False
    return made


def test_it_learns() -> None:
    """Ten steps on one batch bring the losses down by a third."""
    learner = Learner("narrow")
    losses = [sum(learner.learn(batch(), step, 20)) for step in range(10)]
    assert losses[-1] < 0.67 * losses[0]


def test_an_interrupted_training_goes_on_where_it_was() -> None:
    """Three steps, its state kept and restored into a fresh one, and two more are five steps."""
    whole, first, second = Learner("narrow", 1), Learner("narrow", 1), Learner("narrow", 2)
    for step in range(5):
        whole.learn(batch(), step, 5)
    for step in range(3):
        first.learn(batch(), step, 5)
    second.restore({name: array.copy() for name, array in first.state().items()})
    for step in range(3, 5):
        second.learn(batch(), step, 5)
    expected, found = whole.state(), second.state()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_the_rate_rises_and_falls() -> None:
    """From nearly nothing up to its height and down to nearly nothing."""
    rates = [rate(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert 5 <= top <= 10 and rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.01 * rates[top] and rates[0] < 0.2 * rates[top]


def test_folded_weights_are_the_normalised_network() -> None:
    """Convolution and normalisation in one give what they give in two, to rounding."""
    learner = Learner("narrow")
    for step in range(3):
        learner.learn(batch(), step, 5)
    folded = learner.folded()

    def apart(name: str, x: Any) -> Any:
        layer = learner.layers[name]
        x = torch.nn.functional.conv2d(
            x, learner.average[f"{name}.weight"], learner.average.get(f"{name}.bias"), layer.stride, layer.kernel // 2
        )
        if layer.bias:
            return x
        running = learner.running[f"{name}.mean"], learner.running[f"{name}.variance"]
        return torch.nn.functional.batch_norm(x, *running, learner.average[f"{name}.scale"], learner.average[f"{name}.shift"])

    def together(name: str, x: Any) -> Any:
        layer = learner.layers[name]
        weight, bias = torch.from_numpy(folded[f"{name}.weight"]), torch.from_numpy(folded[f"{name}.bias"])
        return torch.nn.functional.conv2d(x, weight, bias, layer.stride, layer.kernel // 2)

    with torch.inference_mode():
        one = other = torch.from_numpy(batch().images)
        for stage in STAGES:
            one, other = run_stage(stage, apart, one), run_stage(stage, together, other)
    assert torch.allclose(one, other, atol=1e-4)


def test_a_perfect_box_costs_nothing() -> None:
    """The loss of boxes is 0 where they are right, and grows as they shrink and as they move away."""
    _, heat, boxes, weights, care = (torch.from_numpy(part) for part in batch(1))
    output = torch.zeros(1, 9, 8, 8)
    inner = weights > 0
    output[:, 5:7] = (boxes[:, :2] - boxes_of(torch.zeros(1, 9, 8, 8))[:, :2]) * inner
    output[:, 7:] = boxes[:, 2:].clamp(min=1e-3).log() * inner
    right = loss_of(output, heat, boxes, weights, care)[1]
    smaller, moved = output.clone(), output.clone()
    smaller[:, 7:] -= 0.5
    moved[:, 5] += 1.0
    assert float(right) == pytest.approx(0.0, abs=1e-4)
    assert float(loss_of(smaller, heat, boxes, weights, care)[1]) > 0.5 < float(loss_of(moved, heat, boxes, weights, care)[1])


@pytest.mark.parametrize("width", WIDTHS)
def test_shapes_before_each_stage(width: str) -> None:
    """`shape_before` says what each stage is given; the waist has the fewest numbers of all."""
    canvas = canvas_of(128)
    features = noise(shape_before("stem", width, canvas))
    sizes = []
    for stage in STAGES:
        assert features.shape == shape_before(stage, width, canvas)
        features = part_of(stage, width).run([features])[0]
        sizes.append(features.size)
    assert features.shape == (12, 16, 9) and min(sizes[:-1]) == sizes[2] == 12 * 16 * 12
    assert sum(layer.outputs * layer.inputs * layer.kernel**2 for layer in layers(width).values()) < 800_000


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_a_batch_is_what_its_items_are(width: str, size: int) -> None:
    """Bit for bit on a CPU, and to 1e-4 on a GPU, in any company: also with items of another size between."""
    for stage in STAGES:
        part = part_of(stage, width)
        items = [noise(shape_before(stage, width, canvas_of(s)), seed) for seed, s in enumerate((size, size, 128, size, size))]
        together = part.run(items)
        for item, output in zip(items, together):
            alone = part.run([item])[0]
            assert alone.shape == output.shape and output.flags.c_contiguous and output.dtype == np.float32
            assert np.array_equal(alone, output) if part.device.type == "cpu" else np.allclose(alone, output, atol=1e-4)


def test_read_only_values_are_taken_without_a_warning() -> None:
    """torch neither warns of what it could write to nor writes to it; half precision is taken too."""
    item = noise(shape_before("stem", "narrow", canvas_of(96)))
    before = item.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = part_of("stem", "narrow").run([item])[0]
        half = part_of("stem", "narrow").run([item.astype(np.float16)])[0]
    assert np.array_equal(item, before) and np.allclose(whole, half, atol=0.05)
