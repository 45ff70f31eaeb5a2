"""The app that ships frames: the device only submits, the server checks a frame and answers with its number."""

from __future__ import annotations

from typing import Any

from benchmarks.frames import check
from tasks import App, Input, task

__all__ = ["app"]


@task(placement="cloud")
def number(frame: Any) -> int:
    """(H, W, 3) uint8 -> the number its two ends agree on."""
    return check(frame)


app = App("ship", [Input(), number])
