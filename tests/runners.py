"""Runners with exact times, for tests of what runs on them."""

from __future__ import annotations

from typing import Any

from tasks import App, Input, Runner

__all__ = ["Counter", "runner"]


class Counter:
    """A timer whose every reading is one second later, so that times are exact."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def runner(*stages: Any) -> Runner:
    """A runner of these stages after an Input, set up."""
    made = Runner(App("t", [Input(), *stages]), Counter())
    made.setup(0, made.app.n)
    return made
