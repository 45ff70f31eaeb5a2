"""The device's executor runs stages with the variant it is told, and loads others while it does."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

import pytest

from iot_client.errors import StageError
from iot_client.events import LoadVariant, RunStages, StagesDone, VariantReady
from iot_client.executor import Executor
from tasks import App, Task, Variant
from tests.unit.variants import Scale, scaled
from tests.unit.workers import PATIENCE, Count
from wire.payload import Packer


class Shy(Scale):
    """Its huge variant is missing."""

    name = "shy"

    def load(self, variant: Variant) -> Any:
        if variant.name == "huge":
            raise FileNotFoundError("huge.pt")
        return super().load(variant)


class Slow(Scale):
    """Its large variant loads until it is told to end."""

    def __deepcopy__(self, memo: Any) -> Slow:
        return self

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def load(self, variant: Variant) -> Any:
        if variant.name == "large":
            self.begun.set()
            assert self.go.wait(PATIENCE)
        return super().load(variant)


def logged(log: list[str]) -> Task:
    """A stage all of whose copies note here what they load."""

    class Logged(Scale):
        def load(self, variant: Variant) -> Any:
            log.append(variant.name)
            return super().load(variant)

    return Logged()


class Bench:
    """An executor, started, with what it answered."""

    def __init__(self, app: App, stop: int, **options: Any) -> None:
        self.answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        answer = lambda event, value, payload: self.answers.put((event, value))  # noqa: E731
        self.executor = Executor(app, Packer(), workers=1, want=None, answer=answer, **options)
        self.executor.start(stop)

    def ran(self, start: int, stop: int, value: Any, variant: str, **options: Any) -> Any:
        """The value of one run; its answer names the variant."""
        self.executor.run(RunStages(0, start, stop, variant=variant, **options), value)
        done, value = self.answers.get(timeout=PATIENCE)
        assert isinstance(done, StagesDone) and done.variant == variant
        return value if done.kind == "done" else done.error

    def loads(self, variant: str) -> VariantReady:
        """The answer to LoadVariant."""
        self.executor.load(LoadVariant(variant))
        ready, _ = self.answers.get(timeout=PATIENCE)
        assert isinstance(ready, VariantReady)
        return ready


def test_a_run_has_its_variant() -> None:
    """Each in turn, studied or not, and in the lane of stages with state."""
    one = Bench(scaled(Scale(), Count()), 3)
    assert [one.ran(1, 2, 3, name) for name in ("small", "huge", "small")] == [6, 300, 6]
    assert one.ran(1, 2, 3, "large", study=()) == 30
    assert [one.ran(1, 3, 3, name, ordered=True) for name in ("large", "small")] == [(30, 0), (6, 1)]
    one.executor.close()


def test_the_first_variant_is_loaded_before_the_first_frame() -> None:
    """Or the one that was chosen; a model that is missing is told at the start."""
    log: list[str] = []
    for variant in ("", "large"):
        Bench(scaled(logged(log)), 2, variant=variant).executor.close()
    assert log == ["small", "large"]
    with pytest.raises(StageError, match=r"stage 'shy' cannot load variant 'huge': FileNotFoundError: huge.pt .* \(on this device\)"):
        Bench(scaled(Shy()), 2, variant="huge")


def test_a_stage_not_run_here_loads_nothing() -> None:
    """A device that sends its frames before the model needs no model."""
    log: list[str] = []
    one = Bench(scaled(logged(log)), 1)
    assert one.loads("large") == VariantReady("large")
    one.executor.close()
    assert log == []


def test_a_load_holds_up_no_run() -> None:
    """While a variant is loaded frames go on with the one before."""
    slow = Slow()
    one = Bench(scaled(slow), 2)
    one.executor.load(LoadVariant("large"))
    assert slow.begun.wait(PATIENCE)
    assert one.ran(1, 2, 3, "small") == 6
    slow.go.set()
    assert one.answers.get(timeout=PATIENCE)[0] == VariantReady("large")
    assert one.ran(1, 2, 3, "large") == 30
    one.executor.close()


def test_a_variant_that_cannot_be_loaded_is_said_with_its_reason() -> None:
    """And the one before goes on."""
    one = Bench(scaled(Shy()), 2)
    ready = one.loads("huge")
    assert ready.error.startswith("stage 'shy' cannot load variant 'huge': FileNotFoundError: huge.pt")
    assert one.ran(1, 2, 3, "small") == 6
    one.executor.close()
