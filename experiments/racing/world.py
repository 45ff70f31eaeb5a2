"""One race plan on virtual time: a device, a server for each cloud, and the paths between them.

    trace = run_race(plan, seed)
    problems = check_race(trace)           # experiments/racing/check.py
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from cloud_server.events import JobDone, RunBatch
from cloud_server.scheduler import AppInfo, Scheduler, SchedulerConfig
from experiments.racing.device import Port, RacingDevice
from experiments.racing.plan import GRID, Draws, RacePlan
from experiments.simulation.agenda import Agenda
from experiments.simulation.path import Path
from experiments.simulation.record import Broken, Kept, Record
from experiments.simulation.server_body import ServerBody
from experiments.simulation.work import Work
from iot_client.session import Session, SessionConfig
from wire.protocol import CODECS, MINOR, Hello

__all__ = ["FIRST_SESSION", "RaceTrace", "run_race"]

FIRST_SESSION = 0xAC_E000
_QUIET = 30.0
"""Seconds after the last lease in which a server must have cleaned up."""


class RaceTrace(msgspec.Struct):
    """One run: its plan and its records in order."""

    plan: RacePlan
    seed: int
    records: list[Record]
    seconds: float = 0.0


class _Grid(Agenda):
    """Virtual time in steps: what is asked for between two happens at the next."""

    def at(self, time: float, function: Callable[..., None], *args: Any) -> None:
        super().at(math.ceil(time / GRID) * GRID, function, *args)


class _Server(ServerBody):
    """A server of which one alternative is asked; its time for each frame is drawn."""

    def __init__(self, agenda: Agenda, records: list[Record], plan: RacePlan, rank: int, seed: int) -> None:
        super().__init__(agenda, records, plan.scenario(rank), partial(_scheduler, plan, rank), seed)
        self.name = f"server{rank}"
        self._rank = rank
        self._draws = Draws(plan, seed)

    def _times(self, command: RunBatch, values: list[Any]) -> tuple[float, ...]:
        return (max(self._draws.takes(self._rank, seq) for _, seq, _ in values),)

    def _job(self, work: Work, place: int) -> JobDone:
        key, (device, seq, path), decode = work.command.jobs[place], work.values[place], work.decodes[place]
        kind = self._draws.ends(self._rank, seq)
        if kind != "done":
            return JobDone(*key, kind, 1, "boom" if kind == "failed" else "", decode=decode)
        self.results[key] = (device, seq, (*path, (1, self._rank)))
        return JobDone(*key, "done", nbytes=500, signature="v", decode=decode)


class _World:
    def __init__(self, plan: RacePlan, seed: int) -> None:
        self.plan = plan
        self.agenda = _Grid() if plan.grid else Agenda()
        self.records: list[Record] = []
        self.device = RacingDevice(self.agenda, self.records, plan, FIRST_SESSION, seed)
        self.servers = [_Server(self.agenda, self.records, plan, rank, seed) for rank in range(len(plan.clouds))]
        for rank, (cloud, server) in enumerate(zip(plan.clouds, self.servers)):
            path = Path(self.agenda, cloud.network, rank, seed * 31 + rank)
            path.device, path.server = Port(self.device, rank), server  # type: ignore[assignment]  # it is all a path asks of a device
            server.paths.append(path)
            self.device.paths.append(path)

    def run(self) -> float:
        """From the start to the last Release; returns virtual seconds."""
        at, plan = self.agenda.at, self.plan
        for cloud, server in zip(plan.clouds, self.servers):
            at(0.0, server.start)
            for what, spans in ((server.kill, cloud.server.kills), (server.stop, cloud.server.stops), (server.hang, cloud.server.hangs)):
                for time, seconds in spans:
                    at(time, what, seconds)
        session = Session(_config(plan))
        at(0.0, lambda: self.device.start(session, session.start()))
        if plan.spurious_ticks:
            at(0.0, self._spurious)
        try:
            self.agenda.run(plan.limit, lambda: self.device.finished)
            seconds = self.agenda.now
            self._wind_down()
        except Exception:
            seconds = self.agenda.now
            self._note("world", Broken(traceback.format_exc()))
        return seconds

    def _spurious(self) -> None:
        if not self.device.over:
            self.device.spurious_tick()
            self.agenda.at(self.agenda.now + 1 / self.plan.spurious_ticks, self._spurious)

    def _wind_down(self) -> None:
        device = self.device
        if not device.finished:
            self._note("device0", Broken(f"not finished after {self.plan.limit} s"))
        self._note("device0", Kept({"values": sorted(device.values)}))
        leases = [cloud.server.lease for cloud in self.plan.clouds]
        self.agenda.run(self.agenda.now + max(leases, default=0.0) + _QUIET, lambda: False)
        for server in self.servers:
            if server.alive:
                server.count()
                self._note(server.name, Kept({"inputs": sorted(server.inputs), "results": sorted(server.results)}))

    def _note(self, host: str, what: object) -> None:
        self.records.append(Record(self.agenda.now, host, what))


def run_race(plan: RacePlan, seed: int) -> RaceTrace:
    """Run a plan to its end; the same plan and seed give the same trace."""
    world = _World(plan, seed)
    seconds = world.run()
    return RaceTrace(plan, seed, world.records, seconds)


def _hello(plan: RacePlan, rank: int) -> Hello:
    return Hello(
        MINOR, "device0", "raced", "1", "f00d", ("head", "race", "tail")[: plan.n], mode=plan.mode, codecs=CODECS, fps=plan.fps,
        slo_us=int(plan.deadline * 1e6), variant=plan.rules.clouds[rank],
    )


def _config(plan: RacePlan) -> SessionConfig:
    count, n = len(plan.clouds), plan.n
    return SessionConfig(
        session=FIRST_SESSION, n=n, split=1 if count else n, pivot=2,
        splits=(False, bool(count), *(False,) * (n - 2), plan.local is not None), stateful=(False, False, True)[:n], once=(False,) * n,
        mode=plan.mode, hello=_hello(plan, 0) if count else None, workers=plan.workers, window=plan.window, race=plan.rules,
        varies=(False, True, False)[:n], rivals=tuple(_hello(plan, rank) for rank in range(1, count)),
        rival_sessions=tuple(FIRST_SESSION + rank for rank in range(1, count)),
    )


def _scheduler(plan: RacePlan, rank: int, epoch: int) -> tuple[Scheduler, list[Any]]:
    server, rules, n = plan.clouds[rank].server, plan.rules, plan.n
    variants = ("local", *rules.clouds)
    info = AppInfo(
        name="raced", version="1", fingerprint="f00d", stages=("head", "race", "tail")[:n], here=(False, True, True)[:n],
        batched=(server.batched,) * n, once=(False,) * n, stateful=(False, False, True)[:n], variants=variants,
        accuracies=(0.5,) * len(variants), varies=(False, True, False)[:n], race=1, batches=(server.batched,) * len(variants),
        unfit=("", *("it needs gone" if epoch <= plan.clouds[rank].unfit else "" for _ in rules.clouds)),
    )
    config = SchedulerConfig(
        server=f"server{rank}", epoch=epoch, apps={"raced": info}, workers=server.workers, max_batch=server.max_batch,
        memory=server.memory, credit=server.credit, max_job=server.max_job, lease=server.lease,
    )
    return Scheduler(config), []
