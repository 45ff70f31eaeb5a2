"""Stages are set up once and closed once, alone and shared."""

from __future__ import annotations

from typing import Any

import pytest

from tasks import App, Input, Runner, SetupFailed, Source, Task
from tests.runners import Counter


class Opened(Task):
    """Records what happens to it."""

    def __init__(self, name: str, log: list[str], **options: Any) -> None:
        self.name, self.log = name, log
        vars(self).update(options)

    def setup(self) -> None:
        self.log.append(f"setup {self.name}")
        if getattr(self, "broken", False):
            raise FileNotFoundError("model.onnx")

    def run(self, item: Any) -> Any:
        return item

    def close(self) -> None:
        self.log.append(f"close {self.name}")
        if getattr(self, "stuck", False):
            raise RuntimeError("stuck")


def test_setup_once_and_close_in_reverse() -> None:
    """Each stage is set up once; those set up are closed, the last first, and may be set up again."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log), Opened("c", log)]), Counter())
    made.setup(0, 2)
    made.setup(0, 3)
    made.close()
    made.close()
    assert log == ["setup a", "setup b", "close b", "close a"]
    made.setup(1, 2)
    assert log[4:] == ["setup a"]


def test_setup_failure_names_the_stage() -> None:
    """A setup that raises is a SetupFailed in words; it may be tried again, and what stood before is closed."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log, broken=True)]), Counter())
    for _ in range(2):
        with pytest.raises(SetupFailed, match=r"setup of stage 'b' failed: FileNotFoundError: model.onnx \[test_tasks_setup.py:\d+\]"):
            made.setup(0, 3)
    made.close()
    assert log == ["setup a", "setup b", "setup b", "close a"]


def test_close_goes_through_all() -> None:
    """A close that raises does not spare the others; its error comes out at the end."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log, stuck=True)]), Counter())
    made.setup(0, 3)
    with pytest.raises(RuntimeError, match="stuck"):
        made.close()
    assert log[2:] == ["close b", "close a"]


def test_shared_instance_is_set_up_once_for_all_runners() -> None:
    """The first runner sets a shared stage up, the last closes it; unshared ones are each runner's own."""
    log: list[str] = []
    app = App("t", [Input(), Opened("model", log, shared=True), Opened("own", log)])
    runners = [Runner(app, Counter(), app.instances()) for _ in range(2)]
    for made in runners:
        made.setup(0, 3)
    runners[0].close()
    assert log == ["setup model"]
    runners[1].close()
    assert log == ["setup model", "close model"]
    assert all(made.stages[2] is not app.chain[2] for made in runners)


def test_source_is_shared_by_instances() -> None:
    """The source of further workers is the app's own, so that a camera is opened once."""
    log: list[str] = []

    class Camera(Source):
        def setup(self) -> None:
            log.append("open")

    app = App("t", [Camera()])
    for _ in range(2):
        Runner(app, Counter(), app.instances()).setup(0, 1)
    assert log == ["open"]
