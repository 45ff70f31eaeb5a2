"""From an experiment and what its app costs to a scenario: devices so weak, a link so slow, a policy at work."""

from __future__ import annotations

from math import inf
from typing import Literal

import msgspec

from experiments.appcosts import AppCosts
from experiments.lab import Lab, fixed_cut
from experiments.simulation.encodings import way_at
from experiments.simulation.scenario import Cpu, Device, Scenario, Server, Stage, Steer, Way
from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.knowledge import Knowledge
from iot_client.splitting.ways import ways_of
from tasks import App

__all__ = ["Setting", "base_costs", "scenario_of", "setting_of"]

SPREAD = 0.15
"""A stage takes its time x 1 +- this."""
OVERHEAD_MS, SEND_NS = 0.2, 0.3
"""CPU around the stages, per frame and per byte: as measured on a PC (iot_client/splitting/overhead.py)."""
_MARGIN = 5.0
"""Seconds that a trace is longer than its run."""
_ENDLESS = 1_000_000
_PLACEMENTS: dict[str, Literal["device", "cloud", "any"]] = {"device": "device", "cloud": "cloud", "any": "any"}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all policies of an experiment.

    `stages` are as slow as the device needs; `given` cores are what it has, on which all stages reach `local_fps`.
    `rate` is that of the source, 0 if it follows the pipeline; `fewest` the smallest legal number of stages.
    """

    stages: tuple[Stage, ...]
    ways: tuple[tuple[int, str, int], ...]
    stop: int
    fewest: int
    given: float
    cores: float
    local_fps: float
    rate: float
    batched: bool = False


def setting_of(lab: Lab, app: App, costs: AppCosts) -> Setting:
    """The app's stages on the experiment's device and server."""
    legal = app.legal_cuts(app.missing())
    stop = next((index for index, stage in enumerate(app.chain) if stage.stateful), app.n)
    cuts = [k for k in legal if k == app.n or k < stop]
    given, slower = _weakness(lab, costs)
    crowded = max(1.0, lab.server.workers / lab.server.cpu) if lab.server.cpu else 1.0
    stages = tuple(_stage(app, costs, index, slower, crowded) for index in range(app.n))
    return Setting(
        stages=stages, ways=ways_of(app, cuts, stop, lab.mode, lab.goal.min_quality), stop=stop, fewest=min(legal), given=given,
        cores=max(costs.cores, given), local_fps=_local_fps(lab.device.workers, _frame_s(costs, slower), given),
        rate=lab.rate or (costs.fps if lab.mode == "live" else 0.0), batched=any(task.run_batch is not None for task in app.chain),
    )


def _frame_s(costs: AppCosts, slower: float) -> tuple[float, float]:
    """Seconds of CPU and of waiting in all stages, per captured frame."""
    reach, cpu, idle = 1.0, 0.0, 0.0
    for stage, passes in enumerate(costs.passes):
        cpu += reach * costs.cpu_s[stage] * slower
        idle += reach * costs.idle_s[stage]
        reach *= passes
    return cpu, idle


def _local_fps(workers: int, frame: tuple[float, float], given: float) -> float:
    """Frames per second of all stages here: bounded by the cores, and by threads that run on no more than one each."""
    cpu, idle = frame
    each = min(1.0, given / workers)
    # While the threads share less than a core each, what goes into a frame beside its stages comes from the same share.
    overhead = OVERHEAD_MS / 1e3 if given < workers + OVERHEAD_MS / 1e3 * workers / cpu else 0.0
    return workers / ((cpu + overhead) / each + idle)


def _weakness(lab: Lab, costs: AppCosts) -> tuple[float, float]:
    """The cores the device has, and by how much it computes slower than this machine, if cores alone will not do."""
    if not lab.device.cpu_for:
        return lab.device.cpu or costs.cores, 1.0
    target, workers = lab.device.cpu_for * (lab.goal.fps or 0.0), lab.device.workers
    cpu, idle = _frame_s(costs, 1.0)
    left = workers / target - idle
    if left <= 0.0:
        waits = f"{idle * 1e3:.3g} ms a frame"
        raise ValueError(f"lab {lab.name!r}: device.cpu_for: {target:g} fps asked of stages that wait {waits}; ask for less")
    given = workers * (cpu + OVERHEAD_MS / 1e3) / left
    if given <= min(workers, costs.cores):
        return given, 1.0
    return float(workers), left / (cpu + OVERHEAD_MS / 1e3)


def _stage(app: App, costs: AppCosts, index: int, slower: float, crowded: float) -> Stage:
    task, k = app.chain[index], index + 1
    ways = tuple(
        Way(codec=way.codec, nbytes=round(way.nbytes), encode_ms=way.encode_s * slower * 1e3, decode_ms=way.decode_s * crowded * 1e3)
        for way in costs.ways if way.k == k
    )
    raw = next((way.nbytes for way in ways if way.codec == "raw"), 0)
    return Stage(
        device_ms=costs.cpu_s[index] * slower * 1e3, cloud_ms=costs.cpu_s[index] * crowded * 1e3, idle_ms=costs.idle_s[index] * 1e3,
        nbytes=raw, filters=round(1.0 - costs.passes[index], 6), placement=_PLACEMENTS[task.placement],
        stateful=task.stateful, once=task.once, back=round(costs.back[k]), ways=ways,
    )


def scenario_of(lab: Lab, setting: Setting, policy: str, seed: int, prior: Knowledge | None = None) -> Scenario:
    """One policy of the experiment; chance comes from the seed beside it."""
    family, _, codec = policy.partition(":")
    k, codec = fixed_cut(policy) or (_first_split(lab, setting, family), codec)
    device = Device(
        k=k,
        mode=lab.mode, frames=_ENDLESS, fps=setting.rate, workers=lab.device.workers, spread=SPREAD, stops_at=lab.seconds,
        online=family != "local", codec=codec or "raw",
        cpu=Cpu(
            given=setting.given, cores=setting.cores, load=lab.device.load.trace() if lab.device.load else None, overhead_ms=OVERHEAD_MS,
            send_ns=SEND_NS,
        ),
        steer=_steer(lab, setting, family, prior),
    )  # fmt: skip
    count = lab.device.count
    between = 1 / (count * setting.rate) if setting.rate else 0.0  # cameras of their own do not show their frames together
    devices = tuple(msgspec.structs.replace(device, starts_at=index * between) for index in range(count))
    return Scenario(
        name=lab.name, stages=setting.stages, devices=devices, limit=lab.seconds + 60.0,
        server=Server(workers=lab.server.workers, spread=SPREAD, batched=setting.batched),
        link=lab.link.trace(lab.seconds + _MARGIN, seed),
    )


def _first_split(lab: Lab, setting: Setting, family: str) -> int:
    return len(setting.stages) if family == "local" else setting.fewest if family == "remote" else lab.start or setting.fewest


def _steer(lab: Lab, setting: Setting, policy: str, prior: Knowledge | None) -> Steer | None:
    if policy == "auto":
        return Steer(ways=setting.ways, goal=lab.goal.goal(), prior=prior)
    return Steer(ways=setting.ways, policy="threshold", goal=lab.goal.goal()) if policy == "threshold" else None


def base_costs(lab: Lab, setting: Setting) -> Costs:
    """What is true of the scenario but for link and load, as the choice of the split wants it."""
    reach, stages = 1.0, []
    for stage in setting.stages:
        stages.append(StageCost(stage.device_ms / 1e3, stage.idle_ms / 1e3, stage.cloud_ms / 1e3, reach))
        reach *= 1.0 - stage.filters
    workers, given = lab.device.workers, setting.given
    capacity = min(lab.server.workers, lab.server.cpu or inf)
    crowded = lab.server.workers / capacity
    return Costs(
        stages=tuple(stages), options=tuple(_option(setting, *way) for way in setting.ways), stop=setting.stop, workers=workers,
        stretch=max(1.0, workers / given), overhead_s=OVERHEAD_MS / 1e3, cpu=given, cores=setting.cores,
        server_cpu=capacity * crowded, offered=setting.rate,
    )  # fmt: skip


def _option(setting: Setting, k: int, codec: str, quality: int) -> Option:
    if not codec:
        return Option(k, "", quality)
    stage = setting.stages[k - 1]
    way = way_at(stage, codec)
    back = float(max(0, stage.back))
    return Option(k, codec, quality, way.nbytes, way.encode_ms / 1e3, way.decode_ms / 1e3, back, send_s=way.nbytes * SEND_NS / 1e9)
