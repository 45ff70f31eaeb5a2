"""The real machines for a scenario: Session and Scheduler, configured as the coordinators configure them."""

from __future__ import annotations

from typing import Any

from cloud_server.events import Profiled
from cloud_server.scheduler import AppInfo, Scheduler, SchedulerConfig
from experiments.simulation.folds import moves
from experiments.simulation.replanning import Replanning
from experiments.simulation.scenario import Cpu, Device, Scenario, Stage
from iot_client.session import Session, SessionConfig
from iot_client.splitting.policy import SteerConfig
from tasks import App, Source, StatefulTask, Task, Variant
from wire.protocol import CODECS, MINOR, Hello

__all__ = ["app_of", "scheduler", "session"]

_NAME = "simulated"
_MEMORY = 256 * 2**20


class _Source(Source):
    """Where simulated frames come from."""


class _Stage(Task):
    """A simulated stage; what it does is told by scenario.ending."""

    def run(self, item: Any) -> Any:
        return item


class _Fold(StatefulTask):
    """A simulated stage with state."""

    def initial(self) -> Any:
        return 0

    def run(self, value: Any, state: Any) -> tuple[Any, Any]:  # type: ignore[override]
        return value, state + 1


def app_of(scenario: Scenario) -> App:
    """The scenario's stages as an app, for its legal cuts and its fingerprint."""
    variants = [Variant(each.name, each.accuracy) for each in scenario.varieties]
    return App(_NAME, [_task(index, stage) for index, stage in enumerate(scenario.stages)], variants=variants)


def session(scenario: Scenario, app: App, number: int, identity: int) -> tuple[Session, list[Any]]:
    """Device `number`'s machine and its first commands."""
    plan = scenario.devices[number]
    hello = Hello(
        MINOR, f"device{number}", app.name, app.version, app.fingerprint(), app.names, mode=plan.mode, fps=plan.fps,
        slo_us=int(plan.deadline_ms * 1e3), variant=plan.variant, fits=_fits(plan, app),
        codecs=("raw",) if plan.steer is None and plan.codec == "raw" else CODECS,
    )
    moving = moves(scenario, number)
    pivot = app.cut(plan.k, state_moves=moving).stop
    if moving or (plan.steer is not None and plan.k == app.n):
        pivot = next((index for index, task in enumerate(app.chain) if task.stateful), app.n)
    machine = Session(SessionConfig(
        session=identity, n=app.n, split=plan.k, pivot=pivot,
        splits=tuple(k > 0 and not app.why_not(k, state_moves=moving) for k in range(app.n + 1)),
        stops=((), *(app.stops(k) for k in range(1, app.n + 1))) if moving else (),
        stateful=tuple(task.stateful for task in app.chain), once=tuple(task.once for task in app.chain),
        mode=plan.mode, hello=hello if plan.online else None, workers=plan.workers, window=plan.window,
        max_age=plan.max_age_ms / 1e3, deadline=plan.deadline_ms / 1e3, reports=scenario.aggregate and plan.online,
        memory=plan.memory or _MEMORY, codec=plan.codec, steer=_steer(plan), variants=tuple(app.variants), variant=plan.variant,
        varies=tuple(task.varies for task in app.chain) if app.variants else (),
        fits=_fits(plan, app),
    ))
    return machine, machine.start()


def _fits(plan: Device, app: App) -> bool:
    """True if a frame may take a variant below the planned one, as iot_client.terms has it."""
    return bool(app.variants and plan.deadline_ms) and plan.mode == "live" and not plan.variant and bool(app.why_not(app.n))


def _steer(plan: Device) -> SteerConfig | None:
    steer, cpu = plan.steer, plan.cpu or Cpu()
    if steer is None:
        return None
    return SteerConfig(
        policy=steer.policy, goal=steer.goal, ways=steer.ways, offered=plan.fps if steer.told else 0.0,
        available=min(cpu.given, cpu.cores), cores=cpu.cores, prior=steer.prior,
        regions=steer.regions,
    )


def scheduler(scenario: Scenario, app: App, epoch: int) -> tuple[Scheduler, list[Any]]:
    """The machine of one life of the server, and its first commands."""
    plan = scenario.server
    info = AppInfo(
        name=app.name, version=app.version, fingerprint=app.fingerprint(), stages=app.names,
        here=tuple(task.placement != "device" for task in app.chain), batched=(plan.batched,) * app.n,
        stateful=tuple(task.stateful for task in app.chain), once=tuple(task.once for task in app.chain),
        aggregate=scenario.aggregate, variants=tuple(app.variants), accuracies=tuple(each.accuracy for each in app.variants.values()),
        varies=tuple(task.varies for task in app.chain),
    )
    config = SchedulerConfig(
        server="server", epoch=epoch, apps={app.name: info}, workers=plan.workers, max_batch=plan.max_batch,
        memory=plan.memory, credit=plan.credit, max_job=plan.max_job, lease=plan.lease,
        resident=plan.resident,
    )
    replans = plan.replans > 0.0 and app.variants
    machine = Replanning(config, tuple(app.variants), plan.replans) if replans else Scheduler(config)
    return machine, machine.handle(_profile(scenario, info), 0.0) if plan.profiled else []


def _profile(scenario: Scenario, info: AppInfo) -> Profiled:
    """As `cloud-server profile` would have found it: the stages that a server may run, alone and in batches."""
    first = next(stage for stage, here in enumerate(info.here) if here)
    sizes = (1, 2, 4, 8, scenario.server.max_batch)
    slow = 1.0 + 0.96 * scenario.server.spread  # the 98th percentile of a time that is off by up to the spread, each value as likely
    samples = [
        (first, scenario.n, each.name, size, each.seconds(size), slow * each.seconds(size)) for each in scenario.varieties for size in sizes
    ]
    return Profiled(info.name, tuple(samples))


def _task(index: int, stage: Stage) -> Task:
    task: Task = _Source() if index == 0 else _Fold() if stage.stateful else _Stage()
    task.name = f"stage{index}"
    if index:
        task.placement = stage.placement
        task.once = stage.once
        task.varies = stage.varies
    return task
