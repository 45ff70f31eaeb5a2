"""One device's records against its promises: frames, outcomes, credit, and what it says to whom."""

from __future__ import annotations

from typing import Any

import iot_client.events as iot
from experiments.simulation.check import Check
from experiments.simulation.death_check import DIED
from experiments.simulation.folds import Sequential
from experiments.simulation.owner_check import OwnerCheck
from experiments.simulation.record import Died, Handed, Hung, Started
from experiments.simulation.scenario import Scenario, ending
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from wire.protocol import Credit, Hello, Pong, State, Submit, Welcome

__all__ = ["DeviceCheck"]

_EPSILON = 1e-6
_LARGEST_WINDOW = 64
_LIVE_REASONS = frozenset({"stale", "late", "overload", "offline", "server"})


class DeviceCheck(Check):
    """One device: its frames, its credit, what it says to whom."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        super().__init__(f"device{number}", scenario)
        self.number = number
        self.plan = scenario.devices[number]
        self.session = 0
        self.died = False
        self.delivered: dict[int, iot.Deliver] = {}
        self.discarded_reports = False
        self.ran_once: set[tuple[int, int, int]] = set()
        self.blamed: set[tuple[int, int]] = set()
        self._clock = 0.0
        self._permits = 0
        self._captured: dict[int, float] = {}
        self._released: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._submitted: dict[int, list[Submit]] = {}
        self._stopping = False
        self._source_over = False
        self._limit = -1
        self._sent = 0
        self._hangs: list[tuple[float, float]] = []
        self._stateful = [index for index, stage in enumerate(scenario.stages) if stage.stateful]
        steer = self.plan.steer
        self._paced = steer is not None and steer.policy == "auto" and bool(
            steer.goal.max_cpu or steer.goal.max_mbit or not steer.told
        )
        self._ways = None if steer is None or steer.policy == "threshold" else {
            (k, codec) for ways in (steer.ways, *(region.ways for region in steer.regions)) for k, codec, _ in ways
        }
        self._sequential = Sequential(self._reached)
        self._made: dict[int, str] = {}
        self._owner = OwnerCheck(self, self._stateful)
        self._once = [index for index, stage in enumerate(scenario.stages) if stage.once]
        self.on.update({
            Started: self.on_started, Died: self.on_died, Hung: self.on_hung, Handed: self.on_handed,
            iot.Capture: self.on_capture, iot.FrameCaptured: self.on_captured, iot.StagesDone: self.on_stages_done,
            iot.RunStages: self.on_run_stages, iot.SendMessage: self.on_send, iot.Deliver: self.on_deliver,
            iot.Release: self.on_release, iot.Finished: self.on_finished, iot.StopRequested: self.on_stop_requested,
            iot.ExportState: self._owner.on_export, iot.ImportState: self._owner.on_import,
            iot.SourceEnded: self.on_source_ended, iot.MessageReceived: self.on_message, iot.Note: self.on_note,
        })

    # -- frames ------------------------------------------------------------------------------------

    def on_started(self, what: Started) -> None:
        self._clock = what.clock
        self.session = what.session

    def on_died(self, what: Died) -> None:
        self.died = True

    def on_hung(self, what: Hung) -> None:
        self._hangs.append((self.at, self.at + what.seconds))

    def on_capture(self, what: iot.Capture) -> None:
        self._permits += 1
        if self._source_over or self._stopping:
            self.problem("capture", "a permit after the source ended or the stop was asked for")

    def on_captured(self, what: iot.FrameCaptured) -> None:
        self._permits -= 1
        if what.seq != len(self._captured) or self._permits < 0:
            self.problem("capture", f"seq {what.seq} after {len(self._captured)} frames, {self._permits} permits left")
        self._check_camera(what)
        self._captured[what.seq] = what.at
        in_flight = len(self._captured) - len(self.delivered)
        if in_flight > self._in_flight_bound():
            self.problem("window", f"{in_flight} frames in flight")

    def _check_camera(self, what: iot.FrameCaptured) -> None:
        steady = self.plan.mode == "live" and self.plan.fps > 0 and not self.plan.memory and not self._paced
        if steady and self._captured and not self._hangs:
            gap = what.at - next(reversed(self._captured.values()))
            if gap > 1.5 / self.plan.fps:
                self.problem("camera", f"{gap:.4f} s between frames {what.seq - 1} and {what.seq} of a {self.plan.fps} fps camera")

    def _in_flight_bound(self) -> float:
        window = self.plan.window or _LARGEST_WINDOW
        if self.plan.mode == "live":
            hung = max((end - start for start, end in self._hangs), default=0.0)
            rate = self.plan.fps or 5_000.0
            # Frames come by the world's clock and grow old by the device's own.
            oldest = (self.plan.deadline_ms or self.plan.max_age_ms) / 1e3 / (1.0 + self.plan.drift)
            return window + self.plan.workers + 4 + rate * (oldest + hung)
        return 5 * window + 8 + self.plan.workers

    def on_deliver(self, what: iot.Deliver) -> None:
        if what.seq in self.delivered or what.seq not in self._captured:
            before = self.delivered.get(what.seq)
            self.problem("once", f"Deliver of {what.seq}, captured: {what.seq in self._captured}, before: {before}")
            return
        if self.delivered and what.seq <= next(reversed(self.delivered)):
            self.problem("order", f"Deliver of {what.seq} after {next(reversed(self.delivered))}")
        self.delivered[what.seq] = what
        self._check_outcome(what.seq, what.outcome)
        if what.seq in self._made:
            self._check_variant(what.seq, what.variant)
        self._check_latency(what)

    def _check_variant(self, seq: int, variant: str) -> None:
        made = self._made.setdefault(seq, variant)
        if variant != made or (bool(variant) != bool(self.scenario.varieties)):
            self.problem("variant", f"frame {seq} begun with {made!r} goes on with {variant!r}")

    def _check_outcome(self, seq: int, outcome: Outcome) -> None:
        if type(outcome) is Dropped:
            self._check_dropped(seq, outcome.reason)
            return
        if type(outcome) is Failed and outcome.error.startswith("may have run"):
            if outcome.stage not in self._once or seq not in self._submitted:
                self.problem("outcome", f"frame {seq}: {outcome}, but no stage marked once was submitted")
            return
        if type(outcome) is Failed and outcome.error.startswith(DIED):
            self.blamed.add((self.session, seq))
            return
        kind, stage = ending(self.scenario, self.number, seq)
        expected = {"done": Done, "filtered": Filtered, "failed": Failed}[kind]
        if type(outcome) is not expected or (kind != "done" and getattr(outcome, "stage", None) != stage):
            self.problem("outcome", f"frame {seq}: {outcome}, but it is {kind} at stage {stage}")

    def _check_dropped(self, seq: int, reason: str) -> None:
        largest = max(stage.nbytes for stage in self.scenario.stages)
        if reason == "stopped":
            legal = self._stopping
        elif reason == "oversize":
            legal = largest > min(self.scenario.server.max_job, self.scenario.server.credit)
        else:
            legal = self.plan.mode == "live" and reason.split(":")[0] in _LIVE_REASONS
        if not legal:
            self.problem("dropped", f"frame {seq}: Dropped({reason!r}) in {self.plan.mode} mode")

    def _check_latency(self, what: iot.Deliver) -> None:
        captured = self._captured[what.seq]
        true = self.at * (1.0 + self.plan.drift) + self._clock - captured
        if what.latency < 0 or abs(what.latency - true) > _EPSILON or abs(what.captured_at - captured) > _EPSILON:
            self.problem("latency", f"frame {what.seq}: {what.latency} s said, {true} s is right")
        bound = (self.plan.deadline_ms or self.plan.max_age_ms) / 1e3 + _EPSILON
        excused = type(what.outcome) is not Done and self._hung_since(self.at - true)
        if self.plan.mode == "live" and true > bound and not excused:
            self.problem("age", f"frame {what.seq} delivered {true:.4f} s old: {what.outcome}")

    def _hung_since(self, time: float) -> bool:
        return any(end >= time for _, end in self._hangs)

    def on_handed(self, what: Handed) -> None:
        deliver = self.delivered.get(what.seq)
        where = getattr(deliver.outcome, "where", None) if deliver else None
        if what.value is None or what.value[:2] != (self.number, what.seq):
            self.problem("value", f"frame {what.seq}: the user got {what.value}")
            return
        if [step[0] for step in what.value[2]] != list(range(self.scenario.n)):
            self.problem("value", f"frame {what.seq} went through {what.value[2]}")
        elif (where == "device") != all(step[1] == "device" for step in what.value[2]):
            self.problem("value", f"frame {what.seq}: Done({where!r}), but it went through {what.value[2]}")
        if self.plan.mode == "lossless" and not self._stopping:
            self._check_counts(what.seq, what.value[2])

    def _check_counts(self, seq: int, path: tuple[Any, ...]) -> None:
        for step in path:
            if len(step) == 3:
                stage, where, state = step
                if state != self._sequential.after(stage, seq):
                    self.problem("state", f"frame {seq} left another state in stage {stage} ({where}) than in a run in order")

    def _reached(self, seq: int) -> int:
        """The last stage that saw this frame."""
        outcome = self.delivered[seq].outcome if seq in self.delivered else None
        if type(outcome) is Failed and outcome.error.startswith("may have run"):
            return outcome.stage
        if type(outcome) is Failed and outcome.error.startswith(DIED):
            return outcome.stage - 1
        if type(outcome) is Dropped:  # it was too large to be sent
            return self.delivered[seq].split - 1
        kind, stage = ending(self.scenario, self.number, seq)
        return stage - (kind == "failed")

    def on_release(self, what: iot.Release) -> None:
        if what.seq in self._released or what.seq not in self.delivered:
            before = what.seq in self._released
            self.problem("release", f"Release of {what.seq}, delivered: {what.seq in self.delivered}, before: {before}")
        self._released.add(what.seq)

    def on_finished(self, what: iot.Finished) -> None:
        self.finished = True

    def on_source_ended(self, what: iot.SourceEnded) -> None:
        self._source_over = True

    def on_stop_requested(self, what: iot.StopRequested) -> None:
        self._stopping = True

    def on_note(self, what: iot.Note) -> None:
        if "never reached the aggregate" in what.text:
            self.discarded_reports = True

    @property
    def finished_or_server(self) -> bool:
        return self.finished and not self.died

    def conclude(self) -> None:
        if self.finished and not self.died:
            lacking = sorted(self._captured.keys() - self.delivered.keys())
            if lacking:
                self.problem("conservation", f"{len(self._captured)} captured, without an outcome: {lacking[:9]}")
            unreleased = sorted(self._captured.keys() - self._released)
            if unreleased:
                self.problem("release", f"never released: {unreleased[:9]}")

    # -- stages ------------------------------------------------------------------------------------

    def on_stages_done(self, what: iot.StagesDone) -> None:
        if what.nbytes:
            self._sizes[what.seq] = what.nbytes

    def on_run_stages(self, what: iot.RunStages) -> None:
        self._check_variant(what.seq, what.variant)
        for stage in self._stateful:
            if what.start <= stage < what.stop:
                if not what.ordered:
                    self.problem("state", f"{what} is not in order")
                self._owner.on_run(stage, what.seq)
        for stage in self._once:
            if what.start <= stage < what.stop:
                self.ran_once.add((self.session, what.seq, stage))

    # -- the server --------------------------------------------------------------------------------

    def on_message(self, what: iot.MessageReceived) -> None:
        message = what.message
        if type(message) is Welcome:
            self._limit = message.limit
        elif isinstance(message, Credit | Pong):
            self._limit = max(self._limit, message.limit)

    def on_send(self, what: iot.SendMessage) -> None:
        if type(what.message) is Hello:
            self._sent = 0  # from here on the server counts, whichever WELCOME comes first
        elif type(what.message) is Submit:
            self._check_submit(what.message)
        elif type(what.message) is State and what.payload >= 0:
            self._owner.on_state(what.message)

    def _check_submit(self, message: Submit) -> None:
        seq = message.seq
        self._submitted.setdefault(seq, []).append(message)
        self._check_variant(seq, message.variant)
        if seq in self.delivered and not self._owner.replays(message):
            self.problem("late-submit", f"SUBMIT of {seq}, which was delivered as {self.delivered[seq].outcome}")
        if self._limit < 0:
            self.problem("late-submit", f"SUBMIT of {seq} before any WELCOME")
        placements = [stage.placement for stage in self.scenario.stages]
        whole = 0 < message.start < message.stop <= self.scenario.n
        if not whole or any(placements[s] == "device" for s in range(message.start, message.stop)):
            self.problem("late-submit", f"SUBMIT of {seq} asks for stages {message.start} to {message.stop}")
        self._owner.on_submit(message)
        if (message.start, message.codec) not in (self._ways or {(message.start, self.plan.codec)}):
            self.problem("way", f"SUBMIT of {seq} as {message.codec} after {message.start} stages, which was not asked for")
        self._sent += self._sizes.get(seq, 0)
        if self._sent > self._limit:
            self.problem("credit", f"SUBMIT of {seq}: {self._sent} bytes sent, {self._limit} granted")
