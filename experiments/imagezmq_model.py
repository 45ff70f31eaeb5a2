"""imagezmq as experiments/live/peers.py runs it, on virtual time: a JPEG per frame, all stages but the first ones there.

    reqrep:Q    the next frame is taken when the answer to this one has come
    pubsub:Q    frames are sent as they come; whatever is too slow has a queue without bound before it

Exact but for what ZeroMQ itself takes; the other end works on one frame at a time.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from experiments.lab import Lab
from experiments.reporting.rows import facts_of
from experiments.reporting.runs import FrameRow, Run, SampleRow
from experiments.setting import Setting, scenario_of
from experiments.simulation.agenda import Agenda
from experiments.simulation.body import Workers
from experiments.simulation.encodings import size_of_frame, way_at
from experiments.simulation.processor import Processor
from experiments.simulation.scenario import Scenario, ending
from experiments.traced_link import TracedLink, on_the_wire
from wire.memory_link import DOWN, UP

__all__ = ["run_imagezmq"]

_GRACE = 3.0
"""Seconds for which answers are waited for after the end."""
_PERIOD = 0.25
_READ = 2e-4


def run_imagezmq(lab: Lab, setting: Setting, policy: str, seed: int) -> Run:
    """`policy` is reqrep:QUALITY or pubsub:QUALITY."""
    family, _, quality = policy.partition(":")
    scenario = scenario_of(lab, setting, f"remote:jpeg:{quality}", seed)
    agenda = Agenda()
    hub = _Hub(agenda, lab, scenario, seed)
    cameras = [_Camera(agenda, hub, number, seed, lock_step=family == "reqrep") for number in range(len(scenario.devices))]
    agenda.run(lab.seconds + _GRACE, lambda: False)
    load = lab.device.load.trace() if lab.device.load else None
    for camera in cameras:
        for index, row in enumerate(camera.samples):
            camera.samples[index] = SampleRow(
                row.device, row.at, row.k, row.codec, row.cpu, row.up, row.down, row.capacity, load.at(row.at) if load else 0.0
            )
    return Run(
        lab=lab.name, body="simulate", policy=policy, seed=seed, seconds=lab.seconds,
        frames=tuple(row for camera in cameras for row in camera.rows()),
        samples=tuple(row for camera in cameras for row in camera.samples),
        facts=facts_of(lab, setting, seed), notes=("an exact model of imagezmq, not imagezmq itself",),
    )


class _Hub:
    """The link and the other end: one loop."""

    def __init__(self, agenda: Agenda, lab: Lab, scenario: Scenario, seed: int) -> None:
        assert scenario.link is not None
        self.seconds = lab.seconds
        self.scenario = scenario
        self.link = TracedLink(scenario.link, seed)
        self.workers = Workers(agenda, 1, scenario.server.spread, f"hub {seed}")
        self._agenda = agenda

    def ask(self, camera: _Camera, seq: int, nbytes: int) -> None:
        """A picture leaves; its answer comes when it has gone all the way."""
        self._agenda.at(self.link.send(UP, nbytes, self._agenda.now) or 0.0, self._arrived, camera, seq)

    def _arrived(self, camera: _Camera, seq: int) -> None:
        kind, last = ending(self.scenario, camera.number, seq)
        stages = self.scenario.stages[camera.k : last + 1]
        took = sum(self.workers.time(stage.cloud_ms) for stage in stages) + self.workers.time(camera.way.decode_ms)
        self.workers.put(took, lambda waited: self._served(camera, seq, kind, took))

    def _served(self, camera: _Camera, seq: int, kind: str, took: float) -> None:
        back = max(0, self.scenario.stages[camera.k - 1].back) if kind == "done" else 0
        arrives = self.link.send(DOWN, back + 64, self._agenda.now)
        self._agenda.at(arrives or 0.0, camera.answered, seq, kind, took, back)


class _Camera:
    """The device's end."""

    def __init__(self, agenda: Agenda, hub: _Hub, number: int, seed: int, *, lock_step: bool) -> None:
        plan = hub.scenario.devices[number]
        assert plan.cpu is not None
        self.number, self.k = number, plan.k
        self.way = way_at(hub.scenario.stages[plan.k - 1], plan.codec)
        self.samples: list[SampleRow] = []
        self._plan, self._agenda, self._hub, self._lock_step = plan, agenda, hub, lock_step
        self._processor = Processor(agenda, plan.cpu)
        self._workers = Workers(
            agenda, 1, plan.spread, f"camera {number} {seed}", lambda seconds, idle, over: self._processor.run(seconds + idle, over)
        )
        self._asked: list[tuple[float, int, str]] = []
        self._answers: dict[int, tuple[float, str, float]] = {}
        self._queue: deque[int] = deque()
        self._next = 0
        self._carried = [0, 0]
        self._before = (0.0, 0, 0)
        agenda.at(0.0, self._turn)
        agenda.at(_PERIOD, self._sample)

    def rows(self) -> list[FrameRow]:
        """One row for each captured frame; one without an answer is dropped."""
        return [self._row(seq, *asked) for seq, asked in enumerate(self._asked)]

    def _row(self, seq: int, captured: float, nbytes: int, kind: str) -> FrameRow:
        if kind or seq not in self._answers:
            return FrameRow(self.number, seq, captured, 0.0, kind or "dropped", "device" if kind else "", self.k, self._plan.codec, nbytes)
        at, outcome, took = self._answers[seq]
        return FrameRow(self.number, seq, captured, at - captured, outcome, "cloud", self.k, self._plan.codec, nbytes, took)

    def _turn(self) -> None:
        """Take the next frame when it is due; a live camera that comes late shows the newest, as live/recording.py has it."""
        fps, now = self._plan.fps, self._agenda.now
        at = now + _READ
        if fps:
            begun = self._plan.starts_at
            if self._plan.mode == "live":
                self._next = max(self._next, int((now - begun) * fps + 1e-9))
            at = begun + self._next / fps
            self._next += 1
        if at < self._hub.seconds:
            self._agenda.at(at, self._capture, at)

    def _capture(self, captured: float) -> None:
        seq = len(self._asked)
        kind, last = ending(self._hub.scenario, self.number, seq)
        ends = last < self.k
        nbytes = 0 if ends else size_of_frame(self.way.nbytes, self.number, seq)
        self._asked.append((captured, nbytes, kind if ends else ""))
        stages = self._hub.scenario.stages[: min(self.k, last + 1)]
        cpu = self._plan.cpu
        assert cpu is not None
        work = sum(self._workers.time(stage.device_ms) for stage in stages) + cpu.overhead_ms / 1e3
        if not ends:
            work += self._workers.time(self.way.encode_ms) + nbytes * cpu.send_ns / 1e9
        idle = sum(stage.idle_ms for stage in stages) / 1e3
        self._workers.put(work, partial(self._encoded, seq, nbytes), idle=idle)

    def _encoded(self, seq: int, nbytes: int, waited: float) -> None:
        if nbytes:
            self._carried[UP] += on_the_wire(nbytes)
            self._hub.ask(self, seq, nbytes)
        if not nbytes or not self._lock_step:
            self._turn()

    def answered(self, seq: int, kind: str, took: float, back: int) -> None:
        """The answer to a frame is here."""
        self._carried[DOWN] += on_the_wire(back)
        self._answers[seq] = self._agenda.now, kind, took
        if self._lock_step:
            self._turn()

    def _sample(self) -> None:
        self._processor.sample()
        now, cpu, up, down = self._agenda.now, *self._before
        self._before = self._processor.used, self._carried[UP], self._carried[DOWN]
        point = self._hub.link.trace.at(now)
        self.samples.append(SampleRow(
            self.number, now, float(self.k), self._plan.codec, (self._before[0] - cpu) / _PERIOD, (self._before[1] - up) / _PERIOD,
            (self._before[2] - down) / _PERIOD, 0.0 if point.cut else point.up_mbit * 125e3,
        ))  # fmt: skip
        if now + _PERIOD <= self._hub.seconds:
            self._agenda.at(now + _PERIOD, self._sample)
