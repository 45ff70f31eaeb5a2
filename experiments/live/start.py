"""The steps that every device process goes through, from loading to its recording."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from experiments.live.cgroup import CpuQuota
from experiments.live.child import Child
from experiments.live.recording import Plan, Recording

__all__ = ["LOADING", "begin", "finish", "finished", "loaded", "python", "ready"]

LOADING = 60.0
"""Seconds a process may take to load its app, with all of the machine."""
SETTING_UP = 120.0
"""Seconds it may take to set up its stages and connect, in its quota."""
SLACK = 30.0
"""Seconds beyond its plan that a device may take to end."""


def python(module: str, folder: Path, name: str, plan: Plan, *words: str) -> list[str]:
    """The command line of one of the lab's modules, with its plan in a file of the folder."""
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.encode(plan))
    return [sys.executable, "-m", module, *words, str(path)]


def loaded(device: Child, quota: CpuQuota | None) -> None:
    """Waits until it has loaded, puts it under the quota and lets it connect."""
    device.expect("loaded", LOADING)
    if quota is not None:
        quota.add(device.pid)
    device.tell("go")


def ready(device: Child) -> None:
    """Waits until it is set up."""
    device.expect("ready", SETTING_UP)


def finished(device: Child, plan: Plan) -> None:
    """Waits until every frame has its outcome."""
    device.expect("finished", plan.seconds + plan.grace + SLACK)


def finish(device: Child, quota: CpuQuota | None, plan: Plan) -> Recording:
    """What a device that has finished has recorded; it writes that without the quota."""
    if quota is not None:
        quota.set(os.cpu_count() or 1)
    device.wait(SLACK)
    return msgspec.msgpack.decode(Path(plan.out).read_bytes(), type=Recording)


def begin(device: Child, quota: CpuQuota | None) -> float:
    """All steps of a device that is alone; the time of its first frame."""
    loaded(device, quota)
    ready(device)
    began = time.monotonic()
    device.tell(f"play {began}")
    return began
