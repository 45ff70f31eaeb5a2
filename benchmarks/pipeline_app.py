"""The app of two waits: one stage on the device, one on the server, a frame passes both."""

from __future__ import annotations

from typing import Any

from benchmarks.frames import check
from benchmarks.wait import wait
from tasks import App, Input, task

__all__ = ["app"]

Item = tuple[float, float, Any]
"""Seconds on the device, seconds in the cloud, (H, W, 3) uint8 frame."""


@task(placement="device")
def device_stage(item: Item) -> Item:
    """Waits, hands the frame on."""
    wait(item[0])
    return item


@task(placement="cloud")
def cloud_stage(item: Item) -> int:
    """Waits, answers with the frame's number."""
    wait(item[1])
    return check(item[2])


app = App("pipeline", [Input(), device_stage, cloud_stage])
