"""Is what a run recorded what was promised? Written against DESIGN.md, sharing no code with the machines.

    rule          claim
    broken        no machine raises, asks for the impossible, or never ends
    capture       seqs count up from 0, and only after permits
    once          exactly one Deliver for each captured seq, none for others
    order         Delivers come in seq order
    release       one Release for each seq, after its Deliver
    conservation  captured = done + filtered + dropped + failed when a device has finished
    outcome       what is not Dropped ends as the pure function of its seq says
    dropped       Dropped has a reason that is legal in this mode and under what happened
    value         a Done value went through every stage once, in order; `where` says where
    latency       Deliver's latency is the time since capture, and not negative
    age           live: no Deliver later than the age bound
    late-submit   no SUBMIT for a delivered seq, none without a WELCOME, none outside a legal cut
    credit        SUBMIT bytes since WELCOME never exceed the limit granted; the server sees no excess either
    window        frames in flight are bounded
    state         stages with state see frames in seq order, once each, in the ordered lane
    twin          a stage marked once is not run here after its SUBMIT left
    spurious      a Tick nobody asked for changes nothing
    finished      nothing is said after Finished
    dedup         one life of the server executes each stage of each (session, seq) at most once
    job           a batch runs what was submitted, and a RESULT answers the device that asked
    fold          each (device, session, seq) is folded at most once in a life, with its right value
    report        a Done value reaches the aggregate, or is counted as discarded
    refusal       well-behaved peers are never told that they broke the protocol
    workers       no more batches under way than workers take
    leak          nothing is kept at the end
"""

from __future__ import annotations

from typing import Any

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.record import Broken, Died, Folded, Handed, Hung, Kept, Record, Spurious, Started, Trace
from experiments.scenario import Scenario, ending
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from wire.protocol import Bye, Credit, Error, Hello, Pong, Report, Result, Submit, Welcome

__all__ = ["RULES", "validate"]

RULES = tuple(line.split()[0] for line in (__doc__ or "").splitlines()[3:] if line.startswith("    ") and line[4] != " ")

_EPSILON = 1e-6
_LARGEST_WINDOW = 64
_DEPTH = 2
_COMMANDS = (
    iot.Capture, iot.RunStages, iot.SendMessage, iot.Deliver, iot.Release, iot.Reopen, iot.Note, iot.Refuse, iot.Finished,
    cloud.RunBatch, cloud.SendMessage, cloud.Fold, cloud.Release, cloud.Forget, cloud.Note, cloud.Finished,
)
_POLITE = frozenset({"hello_required", "shutdown", "busy"})
_LIVE_REASONS = ("stale", "late", "overload", "offline", "oversize", "stopped", "server")


def validate(trace: Trace) -> list[str]:
    """Every violation found in a trace, as "host: rule: what was seen"; empty if all promises were kept."""
    checks: dict[str, _Check] = {
        f"device{number}": _DeviceCheck(trace.scenario, number) for number in range(len(trace.scenario.devices))
    }
    server = checks["server"] = _ServerCheck(trace.scenario)
    checks["world"] = _Check("world", trace.scenario)
    for record in trace.records:
        checks[record.host].see(record)
    for check in checks.values():
        check.conclude()
    for check in checks.values():
        if isinstance(check, _DeviceCheck):
            _check_reports(check, server)
    return [problem for check in checks.values() for problem in check.problems]


class _Check:
    """Goes through one host's records; subclasses name a method for each type of record."""

    def __init__(self, host: str, scenario: Scenario) -> None:
        self.host = host
        self.scenario = scenario
        self.problems: list[str] = []
        self.finished = False
        self.at = 0.0
        self.on: dict[type, Any] = {Broken: self.on_broken, Kept: self.on_kept, Spurious: self.on_spurious}
        self._spurious = 0

    def see(self, record: Record) -> None:
        """Take one record."""
        self.at, what = record.at, record.what
        if self._spurious or self.finished:
            self._said(what)
        handler = self.on.get(type(what))
        if handler is not None:
            handler(what)

    def conclude(self) -> None:
        """The trace is over."""

    def problem(self, rule: str, text: str) -> None:
        """A promise was broken."""
        self.problems.append(f"{self.host}: {rule}: at {self.at:.4f} s: {text}")

    def on_broken(self, what: Broken) -> None:
        self.problem("broken", what.text)

    def on_kept(self, what: Kept) -> None:
        for kind, items in what.items.items():
            if items and self.finished_or_server:
                self.problem("leak", f"{len(items)} {kind} still kept: {items[:5]}")

    @property
    def finished_or_server(self) -> bool:
        """Whether what is kept is of no further use."""
        return self.finished

    def on_spurious(self, what: Spurious) -> None:
        self._spurious = 2

    def _said(self, what: Any) -> None:
        if isinstance(what, _COMMANDS):
            if self._spurious:
                self.problem("spurious", f"a Tick nobody asked for gave {what}")
            if self.finished:
                self.problem("finished", f"after Finished: {what}")
        self._spurious = max(0, self._spurious - 1)


class _DeviceCheck(_Check):
    """One device: its frames, its credit, what it says to whom."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        super().__init__(f"device{number}", scenario)
        self.number = number
        self.plan = scenario.devices[number]
        self.session = 0
        self.died = False
        self.delivered: dict[int, iot.Deliver] = {}
        self.discarded_reports = False
        self._clock = 0.0
        self._permits = 0
        self._captured: dict[int, float] = {}
        self._released: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._submitted: dict[int, list[Submit]] = {}
        self._folds: dict[int, int] = {}
        self._stopping = False
        self._source_over = False
        self._limit = -1
        self._sent = 0
        self._hangs: list[tuple[float, float]] = []
        self._stateful = [index for index, stage in enumerate(scenario.stages) if stage.stateful]
        self._once = [index for index, stage in enumerate(scenario.stages) if stage.once]
        self.on.update({
            Started: self.on_started, Died: self.on_died, Hung: self.on_hung, Handed: self.on_handed,
            iot.Capture: self.on_capture, iot.FrameCaptured: self.on_captured, iot.StagesDone: self.on_stages_done,
            iot.RunStages: self.on_run_stages, iot.SendMessage: self.on_send, iot.Deliver: self.on_deliver,
            iot.Release: self.on_release, iot.Finished: self.on_finished, iot.StopRequested: self.on_stop_requested,
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
        self._captured[what.seq] = what.at
        in_flight = len(self._captured) - len(self.delivered)
        if in_flight > self._in_flight_bound():
            self.problem("window", f"{in_flight} frames in flight")

    def _in_flight_bound(self) -> float:
        window = self.plan.window or _LARGEST_WINDOW
        if self.plan.mode == "live":
            hung = max((end - start for start, end in self._hangs), default=0.0)
            rate = self.plan.fps or 5_000.0
            return window + self.plan.workers + 4 + rate * (self.plan.max_age_ms / 1e3 + hung)
        return 5 * window + 8 + self.plan.workers

    def on_deliver(self, what: iot.Deliver) -> None:
        if what.seq in self.delivered or what.seq not in self._captured:
            self.problem("once", f"Deliver of {what.seq}, captured: {what.seq in self._captured}, before: {self.delivered.get(what.seq)}")
            return
        if self.delivered and what.seq <= next(reversed(self.delivered)):
            self.problem("order", f"Deliver of {what.seq} after {next(reversed(self.delivered))}")
        self.delivered[what.seq] = what
        self._check_outcome(what.seq, what.outcome)
        self._check_latency(what)

    def _check_outcome(self, seq: int, outcome: Outcome) -> None:
        if type(outcome) is Dropped:
            self._check_dropped(seq, outcome.reason)
            return
        kind, stage = ending(self.scenario, self.number, seq)
        expected = {"done": Done, "filtered": Filtered, "failed": Failed}[kind]
        if type(outcome) is not expected or (kind != "done" and getattr(outcome, "stage", None) != stage):
            self.problem("outcome", f"frame {seq}: {outcome}, but it is {kind} at stage {stage}")

    def _check_dropped(self, seq: int, reason: str) -> None:
        legal = any(reason.startswith(word) for word in _LIVE_REASONS) if self.plan.mode == "live" else reason in ("stopped", "oversize")
        if reason == "stopped":
            legal = self._stopping
        if reason == "oversize":
            legal = max(stage.nbytes for stage in self.scenario.stages) > min(self.scenario.server.max_job, self.scenario.server.credit)
        if not legal:
            self.problem("dropped", f"frame {seq}: Dropped({reason!r}) in {self.plan.mode} mode")

    def _check_latency(self, what: iot.Deliver) -> None:
        captured = self._captured[what.seq]
        true = self.at + self._clock - captured
        if what.latency < 0 or abs(what.latency - true) > _EPSILON or abs(what.captured_at - captured) > _EPSILON:
            self.problem("latency", f"frame {what.seq}: {what.latency} s said, {true} s is right")
        bound = self.plan.max_age_ms / 1e3 + _EPSILON
        if self.plan.mode == "live" and true > bound and not self._hung_since(self.at - true):
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
                stage, _, count = step
                folded = sum(ending(self.scenario, self.number, earlier)[1] >= stage for earlier in range(seq + 1))
                if count != folded:
                    self.problem("state", f"frame {seq} was number {count} at stage {stage}, not {folded}")

    def on_release(self, what: iot.Release) -> None:
        if what.seq in self._released or what.seq not in self.delivered:
            self.problem("release", f"Release of {what.seq}, delivered: {what.seq in self.delivered}, before: {what.seq in self._released}")
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
                self.problem("conservation", f"{len(self._captured)} captured, {len(self.delivered)} delivered, without outcome: {lacking[:9]}")
            unreleased = sorted(self._captured.keys() - self._released)
            if unreleased:
                self.problem("release", f"never released: {unreleased[:9]}")

    # -- stages ------------------------------------------------------------------------------------

    def on_stages_done(self, what: iot.StagesDone) -> None:
        if what.nbytes:
            self._sizes[what.seq] = what.nbytes

    def on_run_stages(self, what: iot.RunStages) -> None:
        for stage in self._stateful:
            if what.start <= stage < what.stop:
                if not what.ordered or what.seq <= self._folds.get(stage, -1):
                    self.problem("state", f"{what} after frame {self._folds.get(stage, -1)}")
                self._folds[stage] = what.seq
        for stage in self._once:
            if what.start <= stage < what.stop and any(s.start <= stage < s.stop for s in self._submitted.get(what.seq, ())):
                self.problem("twin", f"{what} runs stage {stage}, which may already have run at the server")

    # -- the server --------------------------------------------------------------------------------

    def on_message(self, what: iot.MessageReceived) -> None:
        message = what.message
        if type(message) is Welcome:
            self._limit, self._sent = message.limit, 0
        elif type(message) in (Credit, Pong):
            self._limit = max(self._limit, message.limit)

    def on_send(self, what: iot.SendMessage) -> None:
        if type(what.message) is Submit:
            self._check_submit(what.message)

    def _check_submit(self, message: Submit) -> None:
        seq = message.seq
        self._submitted.setdefault(seq, []).append(message)
        if seq in self.delivered:
            self.problem("late-submit", f"SUBMIT of {seq}, which was delivered as {self.delivered[seq].outcome}")
        if self._limit < 0:
            self.problem("late-submit", f"SUBMIT of {seq} before any WELCOME")
        placements = [stage.placement for stage in self.scenario.stages]
        there = range(message.start, message.stop)
        if not 0 < message.start < message.stop <= self.scenario.n or any(placements[s] == "device" or s in self._stateful for s in there):
            self.problem("late-submit", f"SUBMIT of {seq} asks for stages {message.start} to {message.stop}")
        self._sent += self._sizes.get(seq, 0)
        if self._sent > self._limit:
            self.problem("credit", f"SUBMIT of {seq}: {self._sent} bytes sent, {self._limit} granted")


class _ServerCheck(_Check):
    """The server, life by life."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__("server", scenario)
        self.folded: set[tuple[int, int]] = set()
        self._devices: dict[int, int] = {}
        self._new_life()
        self.on.update({
            Started: self.on_started, Folded: self.on_folded, cloud.MessageReceived: self.on_message,
            cloud.RunBatch: self.on_run_batch, cloud.BatchDone: self.on_batch_done, cloud.SendMessage: self.on_send,
            cloud.Fold: self.on_fold, cloud.Finished: self.on_finished,
        })

    def _new_life(self) -> None:
        self.finished = False
        self._heard: dict[int, float] = {}
        self._peers: dict[int, set[bytes]] = {}
        self._tokens: dict[int, tuple[int, Submit | Report]] = {}
        self._executed: set[tuple[int, int, int]] = set()
        self._folds: set[tuple[int, int, bool]] = set()
        self._running: set[int] = set()
        self._fold: cloud.Fold | None = None

    @property
    def finished_or_server(self) -> bool:
        return True

    def on_started(self, what: Started) -> None:
        self._new_life()

    def on_finished(self, what: cloud.Finished) -> None:
        self.finished = True

    def on_message(self, what: cloud.MessageReceived) -> None:
        session, message = what.session, what.message
        if type(message) is Bye or self.at - self._heard.get(session, self.at) > self.scenario.server.lease:
            self._forget(session)
        self._heard[session] = self.at
        if type(message) is Hello:
            self._peers.setdefault(session, set()).add(what.peer)
            self._devices[session] = int(message.device.removeprefix("device"))
        if what.token and isinstance(message, Submit | Report):
            self._tokens[what.token] = session, message

    def _forget(self, session: int) -> None:
        """The session ended: the server may know nothing of it any longer."""
        self._executed = {key for key in self._executed if key[0] != session}
        self._folds = {key for key in self._folds if key[0] != session}

    def on_run_batch(self, what: cloud.RunBatch) -> None:
        self._running.add(what.batch)
        if len(self._running) > _DEPTH * self.scenario.server.workers:
            self.problem("workers", f"{len(self._running)} batches under way")
        for (session, seq), token in zip(what.jobs, what.inputs, strict=True):
            owner, message = self._tokens.get(token, (0, None))
            asked = (message.seq, message.start, message.stop) if isinstance(message, Submit) else None
            if owner != session or asked != (seq, what.start, what.stop):
                self.problem("job", f"{what}: input {token} was {message} of session {owner}")
            for stage in range(what.start, what.stop):
                if (session, seq, stage) in self._executed:
                    self.problem("dedup", f"stage {stage} of ({session:x}, {seq}) runs again in batch {what.batch}")
                self._executed.add((session, seq, stage))

    def on_batch_done(self, what: cloud.BatchDone) -> None:
        self._running.discard(what.batch)

    def on_send(self, what: cloud.SendMessage) -> None:
        message = what.message
        if type(message) is Error:
            if message.code not in _POLITE:
                self.problem("refusal", f"{message}")
        elif what.peer not in self._peers.get(what.session, ()):
            self.problem("job", f"{type(message).__name__} of session {what.session:x} goes to {what.peer!r}, which never said HELLO for it")
        if type(message) is Result:
            # Duplicates are beyond TCP: the server counts their bytes, the device cannot know of them.
            if message.reason == "over credit" and not self._duplicating(what.session):
                self.problem("credit", f"SUBMIT of {message.seq} exceeded the credit, says the server")
            if what.payload not in (None, (what.session, message.seq)) or (message.outcome == "done") != (what.payload is not None):
                self.problem("job", f"{message} with payload {what.payload}")

    def _duplicating(self, session: int) -> bool:
        return self.scenario.devices[self._devices[session]].network.duplicate > 0

    def on_fold(self, what: cloud.Fold) -> None:
        key = (what.session, what.seq, what.token > 0)
        if key in self._folds or what.device != f"device{self._devices.get(what.session)}":
            self.problem("fold", f"{what}, before: {key in self._folds}")
        self._folds.add(key)
        self._fold = what

    def on_folded(self, what: Folded) -> None:
        fold = self._fold
        number = self._devices.get(fold.session, -1) if fold else -1
        value = what.value
        if fold is None or value is None or value[:2] != (number, fold.seq) or [s[0] for s in value[2]] != list(range(self.scenario.n)):
            self.problem("fold", f"{fold} gave {value}")
        elif fold.token:
            self.folded.add((fold.session, fold.seq))


def _check_reports(device: _DeviceCheck, server: _ServerCheck) -> None:
    if not server.scenario.aggregate or not device.plan.online or not device.finished or device.discarded_reports:
        return
    done = {seq for seq, deliver in device.delivered.items() if type(deliver.outcome) is Done}
    lacking = sorted(seq for seq in done if (device.session, seq) not in server.folded)
    if lacking:
        device.problem("report", f"Done, not discarded, and yet never folded: {lacking[:9]}")
