"""A simulated device with a CPU of its own: what its stages take depends on who else computes, and it may be steered."""

from __future__ import annotations

from typing import Any

from experiments.simulation.agenda import Agenda
from experiments.simulation.body import Machine, Workers
from experiments.simulation.device_body import DeviceBody
from experiments.simulation.encodings import size_of_frame, way_at
from experiments.simulation.path import Path
from experiments.simulation.processor import Processor
from experiments.simulation.record import Learned, Record, Stood, Value
from experiments.simulation.scenario import Cpu, Scenario, ending
from iot_client.events import Deliver, Finished, FrameCaptured, HostSampled, RunStages, SendMessage, StagesDone
from iot_client.outcome import Dropped
from iot_client.session import Session

__all__ = ["WeakBody"]

_SAMPLES = 0.25
"""Seconds between two looks at the host (iot_client/host_watch.py)."""


class WeakBody(DeviceBody):
    """Its stages take CPU time on a shared processor; it measures what iot_client.executor measures.

    It notes how things stand four times a second, and what it has learned at the end.
    """

    def __init__(
        self, agenda: Agenda, records: list[Record], scenario: Scenario, number: int, session: int, path: Path | None, seed: int
    ) -> None:
        super().__init__(agenda, records, scenario, number, session, path, seed)
        plan = scenario.devices[number]
        self.cpu = plan.cpu or Cpu()
        self.processor = Processor(agenda, self.cpu)
        self.workers = Workers(agenda, plan.workers, plan.spread, f"{self.name} {seed}", self._compute)
        self._steered = plan.steer is not None
        self._sizes: dict[int, int] = {}

    def start(self, machine: Machine, commands: list[Any]) -> None:
        """As DeviceBody.start; the host is sampled from now on."""
        self.processor.sample()
        super().start(machine, commands)
        self.agenda.at(self.agenda.now + _SAMPLES, self._sample)

    def keep(self, event: Any, value: Any) -> Any:
        """As DeviceBody.keep; a frame captured costs its overhead, half of it now and half when it leaves with an answer."""
        if type(event) is FrameCaptured:
            self.processor.run(self.cpu.overhead_ms / 2e3)
        return super().keep(event, value)

    def sent_bytes(self, seq: int, index: int) -> int:
        """As it was encoded; a final value that is reported goes raw."""
        return self._sizes.get(seq, 0) if index < self.scenario.n else super().sent_bytes(seq, index)

    # -- stages ------------------------------------------------------------------------------------

    def _compute(self, seconds: float, idle: float, over: Any) -> None:
        agenda = self.agenda
        self.processor.run(seconds, (lambda: agenda.at(agenda.now + idle, over)) if idle else over)

    def _run_stages(self, command: RunStages) -> None:
        value = self.values.get(command.seq, {}).get(command.start)
        if value is None:
            self.broken(f"RunStages({command.seq}, {command.start}): no value is kept there")
            return
        kind, last = ending(self.scenario, self.number, command.seq)
        stop = min(command.stop, last + 1)
        stages = self.scenario.stages[command.start : stop]
        cpus = tuple(self.workers.time(stage.device_ms) for stage in stages)
        idles = tuple(stage.idle_ms / 1e3 for stage in stages)
        sizes = self._studied(command, stop if last >= command.stop else stop - 1)
        nbytes, encode = self._encoded(command) if last >= command.stop else (0, 0.0)
        done = StagesDone(
            command.seq, command.start, command.stop, "done" if last >= command.stop else kind, (), -1 if last >= command.stop else last,
            "boom" if last < command.stop and kind == "failed" else "", nbytes, "v" if nbytes else "", encode, variant=command.variant,
        )
        begun = self.agenda.now
        work = sum(cpus) + encode
        self.workers.put(
            work + sum(size[3] for size in sizes),
            lambda waited: self._finished(command, done, value, stop, cpus, idles, sizes, self.agenda.now - begun - waited),
            command.ordered, sum(idles), command.urgent,
        )

    def _finished(
        self, command: RunStages, done: StagesDone, value: Value, stop: int, cpus: tuple[float, ...], idles: tuple[float, ...],
        sizes: tuple[tuple[int, str, int, float], ...], wall: float,
    ) -> None:
        """The run took so long in all: its parts took as much longer than their CPU time as the whole did."""
        work = sum(cpus) + done.encode_s
        whole = work + sum(size[3] for size in sizes)
        stretch = max(1.0, (wall - sum(idles)) / whole) if whole > 0 else 1.0
        told = StagesDone(
            done.seq, done.start, done.stop, done.kind, tuple(cpu * stretch + idle for cpu, idle in zip(cpus, idles)), done.stage,
            done.error, done.nbytes, done.signature, done.encode_s * stretch, work if self._steered else 0.0,
            cpus if command.study is not None else (), sizes, done.variant,
        )
        if done.nbytes and done.seq in self.values:
            self._sizes[done.seq] = done.nbytes
        self._ran(told, value, stop)

    def _encoded(self, command: RunStages) -> tuple[int, float]:
        """The bytes of the value at the cut, and the CPU seconds it takes to make them."""
        if not command.encode:
            return 0, 0.0
        way = way_at(self.scenario.stages[command.stop - 1], command.codec)
        return size_of_frame(way.nbytes, self.number, command.seq), self.workers.time(way.encode_ms)

    def _studied(self, command: RunStages, reached: int) -> tuple[tuple[int, str, int, float], ...]:
        """What a study encodes on its way: (k, codec, bytes, CPU seconds)."""
        found = []
        for k, codec in command.study or ():
            if command.start < k <= reached:
                way = way_at(self.scenario.stages[k - 1], codec)
                found.append((k, codec, size_of_frame(way.nbytes, self.number, command.seq), self.workers.time(way.encode_ms)))
        return tuple(found)

    # -- commands ----------------------------------------------------------------------------------

    def _send(self, command: SendMessage) -> None:
        nbytes = self._sizes.get(command.payload, 0)
        if nbytes:
            self.processor.run(nbytes * self.cpu.send_ns / 1e9)
        super()._send(command)

    def _deliver(self, command: Deliver) -> None:
        if type(command.outcome) is not Dropped:
            self.processor.run(self.cpu.overhead_ms / 2e3)
        super()._deliver(command)

    def _release(self, command: Any) -> None:
        self._sizes.pop(command.seq, None)
        super()._release(command)

    def _finish(self, command: Finished) -> None:
        guide = self._guide()
        if guide is not None and guide.auto is not None and guide.auto.decision is not None:
            self.note(Learned(guide.auto.profile.knowledge(self._time())))
        super()._finish(command)

    # -- what is seen of it ------------------------------------------------------------------------

    def _guide(self) -> Any:
        return self.machine.guide if isinstance(self.machine, Session) else None

    def _sample(self) -> None:
        if not self.alive or self.finished:
            return
        available, own, seconds = self.processor.sample()
        if self._steered:
            self.feed(HostSampled(available, own, self.cpu.cores, seconds))
        if not self.finished:
            self.note(self._stood())
            self.agenda.at(self.agenda.now + _SAMPLES, self._sample)

    def _stood(self) -> Stood:
        """As experiments.live.device tells it."""
        assert isinstance(self.machine, Session)
        up, down = self.path.carried if self.path is not None else (0, 0)
        guide = self._guide()
        now = None if guide is None else guide.standing(self._time())
        if now is None:
            codec = self.machine.policy.codec if self.path is not None else ""
            return Stood(self.processor.used, up, down, float(self.machine.split), codec)
        k = now.k + (now.share * (now.k2 - now.k) if now.k2 else 0.0)
        codec = now.codec2 if now.codec2 and (now.share > 0.5 or not now.codec) else now.codec
        return Stood(self.processor.used, up, down, k, codec, now.rate, now.p50, now.p95, now.server_s, now.up or -1.0)
