"""How many cores make a device so weak that all stages on it reach just a given frame rate: found by running it."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from experiments.lab import Lab
from experiments.live.cgroup import CpuQuota
from experiments.live.child import Child
from experiments.live.clips import Clip
from experiments.live.network import LabError
from experiments.live.recording import FrameNote, Plan, Recording
from experiments.live.start import begin, finish, finished, python

__all__ = ["Weak", "cores_for", "local_fps"]

TOLERANCE = 0.03
NEAR = 0.25
"""Of the target: so near to it the cost of a frame is taken as constant; further off, what the client does besides counts too."""
TRIES = 7
SETTLE = 0.5
"""Seconds at the start that do not count: the first frames make buffers and fill caches."""
SECONDS = 2.5
FEWEST = 40
"""Frames from which a rate is told; a slow device runs longer for it, up to LONGEST seconds."""
LONGEST = 6.0
LEAST = 0.01
"""Cores; cgroup.py refuses less."""
FIRST = 0.25


class Weak(msgspec.Struct, frozen=True):
    """A quota in cores, and the frame rate of all stages in it."""

    cores: float
    fps: float


_known: dict[tuple[object, ...], Weak] = {}


def cores_for(lab: Lab, clip: Clip, note: Callable[[str], None]) -> Weak:
    """The quota at which all stages of the lab's app reach device.cpu_for x goal.fps, within TOLERANCE.

    Found once per app, clip, size, workers and rate. Where a busy machine gives the same quota now more and now less, it is
    the one whose median is the rate.

    Raises:
        LabError: this machine is too slow, or the rate asked is below that of the smallest quota.
    """
    target = lab.device.cpu_for * (lab.goal.fps or 0.0)
    key = (lab.app, lab.variant, lab.clip, lab.size, lab.device.workers, target)
    if key not in _known:
        _known[key] = _search(lab, clip, target, note)
        note(f"{_known[key].cores:.4f} cores make all stages on the device run at {_known[key].fps:.2f} fps, asked {target:g}")
    return _known[key]


def _search(lab: Lab, clip: Clip, target: float, note: Callable[[str], None]) -> Weak:
    most = float(os.cpu_count() or 1)
    cores = min(FIRST, most)
    seen: list[Weak] = []
    for _ in range(TRIES):
        found = Weak(cores, local_fps(lab, clip, cores, target))
        seen.append(found)
        note(f"  {cores:.4f} cores: {found.fps:.2f} fps with all stages on the device")
        if abs(found.fps / target - 1.0) <= TOLERANCE:
            return found
        if cores == most and found.fps < target:
            raise LabError(f"device.cpu_for: {target:g} fps asked, but all of this machine gives {found.fps:.1f} fps; ask for less")
        if cores == LEAST and found.fps > target:
            raise LabError(f"device.cpu_for: {target:g} fps asked, but even {LEAST} cores give {found.fps:.1f} fps; ask for more")
        cores = min(most, max(LEAST, target * _cost(seen, target)))
    near = [one.fps / one.cores * cores for one in seen if abs(one.fps / target - 1.0) < NEAR]
    if len(near) < TRIES // 2:
        raise LabError(f"device.cpu_for: no quota gave {target:g} fps in {TRIES} tries; is the machine busy?")
    note(f"  the machine is busy: the same quota gives {min(near):.2f} to {max(near):.2f} fps")
    return Weak(cores, statistics.median(near))


def _cost(seen: list[Weak], target: float) -> float:
    """CPU seconds a frame: the mean of what was measured near the target, or where that is nothing, of the nearest."""
    by_distance = sorted(seen, key=lambda one: abs(one.fps / target - 1.0))
    near = [one for one in by_distance if abs(one.fps / target - 1.0) < NEAR] or by_distance[:1]
    return statistics.fmean(one.cores / max(one.fps, 1e-3) for one in near)


def local_fps(lab: Lab, clip: Clip, cores: float, target: float) -> float:
    """Frames per second that have an answer with all stages on a device of so many cores, as fast as it can."""
    seconds = min(LONGEST, SETTLE + max(SECONDS, FEWEST / target))
    with tempfile.TemporaryDirectory(prefix="spw-") as name, CpuQuota(cores) as quota:
        folder = Path(name)
        plan = Plan(
            app=lab.app, policy="local", clip=clip.path, shape=clip.shape, mode="lossless", seconds=seconds, workers=lab.device.workers,
            variant=lab.variant,
            stride=max(1, round(clip.shape[0] / (seconds * target))),  # all of the clip: its frames cost differently
            out=str(folder / "device.msgpack"),
        )  # fmt: skip
        with Child(python("experiments.live.device", folder, "device", plan), errors=folder / "device.err", what="device") as device:
            began = begin(device, quota)
            finished(device, plan)
            return _rate(finish(device, quota, plan), began + SETTLE, began + seconds)


def _rate(recording: Recording, start: float, stop: float) -> float:
    """Between the first and the last answer within these times: a rate that no frame more or less changes by much."""
    times = sorted(_answered_at(frame) for frame in recording.frames if frame.outcome in ("done", "filtered"))
    inner = [at for at in times if start <= at <= stop]
    return (len(inner) - 1) / (inner[-1] - inner[0]) if len(inner) > 1 else 0.0


def _answered_at(frame: FrameNote) -> float:
    return frame.captured + frame.latency
