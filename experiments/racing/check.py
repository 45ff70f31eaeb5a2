"""A device's races once more: from what it heard the referee makes every verdict, and what the device said must be that."""

from __future__ import annotations

from collections import Counter
from typing import Any

import iot_client.events as iot
from experiments.racing.device import Offered
from experiments.racing.links import Links
from experiments.racing.referee import Judgement, Referee
from experiments.racing.world import RaceTrace
from experiments.simulation.record import Handed
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from wire.protocol import Cancel, Result, Submit

__all__ = ["RaceCheck"]

_KINDS = {"done": "value", "filtered": "filter", "failed": "fail", "dropped": "drop", "cancelled": "drop"}


class _Race:
    """One frame as the check knows it."""

    def __init__(self, referee: Referee, captured_at: float) -> None:
        self.referee = referee
        self.captured_at = captured_at
        self.begun = self.closed = False
        self.found: Judgement | None = None
        self.outcome: Outcome | None = None
        self.entrant = ""
        self.answered = False
        self.valued = False
        self.filtered_at: dict[int, int] = {}
        self.error: tuple[int, str] = (-1, "")


class RaceCheck:
    """Goes through the device's records, event by event, each with the commands that follow it."""

    def __init__(self, trace: RaceTrace) -> None:
        self.problems: list[str] = []
        self.seen: Counter[str] = Counter()
        self.plan = trace.plan
        self.rules = trace.plan.rules
        self.names = self.rules.names
        self.twin = self.rules.twin
        self.live = trace.plan.mode == "live"
        self.links = Links(self.twin)
        self.races: dict[int, _Race] = {}
        self.waiting: dict[int, _Race] = {}
        """Those not delivered."""
        self.delivered: dict[int, iot.Deliver] = {}
        self.released: set[int] = set()
        self.last = -1
        self.stopping = self.hung = False
        self.now = 0.0
        self._order: tuple[int, ...] = ()
        self._offers: set[tuple[int, int]] = set()
        self._spurious = False

    def _is_open(self, seq: int) -> bool:
        return self.races[seq].found is None and not self.races[seq].closed

    # -- one event ---------------------------------------------------------------------------------

    def turn(self, event: Any, now: float, commands: list[Any]) -> None:
        """What the machine was told, and what it answered."""
        self.now = now
        if self._spurious and commands:
            self.problem("spurious", f"{commands[:3]}")
        self._spurious = False
        tick = type(event) is iot.Tick
        expected: dict[int, _Race] = {}
        self._deadlines(now, tick, expected)
        touched = self._hear(event, now)
        for command in commands:
            if (peer := self.links.said(command)) is not None:
                touched |= self._reached(peer, now)
        for seq in sorted(touched):
            self._ask(seq, now, False, expected)
        self._overtake(now, tick, expected)
        self._compare(expected, commands)
        for command in commands:
            self._command(command)
        self._promptness()
        self.seen["took no part"] += sum(type(each) is iot.Note and " takes no part" in each.text for each in commands)
        for peer, up in enumerate(self.links.up):
            if not up:  # what lingered there is given up, and what is decided is not asked for again
                self.links.jobs[peer] = {seq for seq in self.links.jobs[peer] if self._is_open(seq)}

    def _deadlines(self, now: float, tick: bool, expected: dict[int, _Race]) -> None:
        for seq, race in self.waiting.items():
            deadline = race.referee.deadline
            if not race.closed and race.found is None and not race.referee.missed and (deadline < now or (tick and deadline == now)):
                self._ask(seq, now, tick, expected)
        self._overtake(now, tick, expected)

    def _ask(self, seq: int, now: float, due: bool, expected: dict[int, _Race]) -> None:
        race = self.races[seq]
        if race.closed or race.found is not None:
            return
        race.found = race.referee.ask(now, due=due, last=self._value_before(seq) >= 0)
        if race.found is not None:
            self._settle(seq, race, race.found)
            expected[seq] = race

    def _settle(self, seq: int, race: _Race, found: Judgement) -> None:
        """What the frame's outcome must be, as far as it is known by now."""
        if found.kind == "dropped":
            race.outcome = Dropped("late")
        elif found.kind == "failed":
            race.outcome = Failed(*race.error)
        elif found.kind == "stands":
            race.entrant, race.answered = self.names[found.entrant], True
            if found.entrant in race.filtered_at:
                race.outcome = Filtered(race.filtered_at[found.entrant])
            else:
                race.outcome, race.valued = Done("device" if found.entrant == self.twin else "cloud"), True
        else:
            race.entrant = {"combined": "merged", "extrapolated": "extrapolated"}[found.kind]
        self.seen[f"{race.entrant or found.kind}{' late' if found.late else ''}"] += 1

    def _overtake(self, now: float, tick: bool, expected: dict[int, _Race]) -> None:
        """Rule 6; and a late frame that only servers could answer is given up in time."""
        reached = max((
            seq for seq, race in self.waiting.items() if race.answered
            and (race.referee.deadline < now or (tick and race.referee.deadline == now))
        ), default=-1)
        for seq, race in self.waiting.items():
            if not self.live or race.closed or race.found is not None or not race.referee.missed:
                continue
            end = race.referee.deadline + 1.0
            stale = self.twin not in race.referee.possible() and (now > end or (tick and now == end))
            if seq < reached or stale:
                race.found = Judgement("dropped")
                race.outcome = Dropped("overtaken" if seq < reached else "late")
                expected[seq] = race
                self.seen["overtaken"] += seq < reached

    # -- what it hears -----------------------------------------------------------------------------

    def _hear(self, event: Any, now: float) -> set[int]:
        touched: set[int] = set()
        unfit = list(self.links.unfit)
        for peer in self.links.heard(event):
            touched |= self._reached(peer, now)
        for peer in [peer for peer, before in enumerate(unfit) if self.links.unfit[peer] and not before]:
            touched |= self._left_out(peer, now)
        if type(event) is iot.FrameCaptured:
            self._captured(event)
        elif type(event) is iot.StagesDone:
            touched |= self._ran(event, now)
        elif type(event) is iot.MessageReceived and type(event.message) is Result and not event.damaged and self.links.accepts(event):
            touched |= self._result(event.peer, event.message, now)
        elif type(event) is iot.Combined:
            self._combined(event)
        elif type(event) is iot.StopRequested:
            self.stopping = True
        return touched

    def _reached(self, peer: int, now: float) -> set[int]:
        open_now = {seq for seq in self.waiting if self._is_open(seq)}
        for seq in open_now:
            self.races[seq].referee.happened(now, peer, "back" if self.links.up[peer] else "away")
        return open_now

    def _left_out(self, peer: int, now: float) -> set[int]:
        """Its server cannot run it: no frame there is waits for it."""
        open_now = {seq for seq in self.waiting if self._is_open(seq)}
        for seq in open_now:
            self.races[seq].referee.happened(now, peer, "left out")
        return open_now

    def _captured(self, event: iot.FrameCaptured) -> None:
        referee = Referee(self.rules, event.at + self.plan.deadline, patient=not self.live)
        for peer, up in enumerate(self.links.up):
            referee.happened(event.at, peer, "left out" if self.links.unfit[peer] else "back" if up else "away")
        self.races[event.seq] = self.waiting[event.seq] = _Race(referee, event.at)

    def _ran(self, event: iot.StagesDone, now: float) -> set[int]:
        race = self.races[event.seq]
        if event.start == 0 and event.stage == 0:
            race.closed = race.closed or race.found is None  # it ended before its race
            return set()
        if event.answers >= 0:
            self._note(race, self.twin, event.kind, event.stage, event.error, now)
        elif event.start == 0 and event.kind == "failed":
            race.closed = race.closed or race.found is None
        elif event.start == 0 and race.found is None:
            self._gate(race, event.send or iot.Sending(), now)
        return {event.seq}

    def _gate(self, race: _Race, send: iot.Sending, now: float) -> None:
        if not race.referee.missed and (send.deadline is not None or send.deadline_at is not None):
            race.referee.deadline = send.deadline_at if send.deadline_at is not None else race.captured_at + (send.deadline or 0.0)
        for cloud in range(self.twin):
            if send.clouds is not None and cloud not in send.clouds:
                race.referee.happened(now, cloud, "left out")

    def _result(self, peer: int, message: Result, now: float) -> set[int]:
        known = message.seq in self.links.jobs[peer]
        self.links.answered(peer, message)
        race = self.races[message.seq]
        if not known:
            return set()
        if race.found is not None or race.closed:
            if self.rules.tells_late and message.outcome == "done" and message.seq not in self.released:
                self._offers.add((message.seq, peer))
            return set()
        if message.outcome == "dropped" and not self.live:
            race.referee.happened(now, peer, "away")
        else:
            self._note(race, peer, message.outcome, message.stage, message.reason, now)
        return {message.seq}

    def _note(self, race: _Race, entrant: int, kind: str, stage: int, error: str, now: float) -> None:
        if not race.referee.over(entrant):
            if kind == "filtered":
                race.filtered_at[entrant] = stage
            elif kind == "failed":
                race.error = stage, error
        race.referee.happened(now, entrant, _KINDS[kind])

    def _combined(self, event: iot.Combined) -> None:
        race = self.races[event.seq]
        if event.kind != "done":
            race.outcome = Failed(1, event.error)
        else:
            race.outcome = Done("cloud" if race.entrant == "merged" else "device")
            race.answered, race.valued = True, race.entrant == "merged"

    # -- what it says ------------------------------------------------------------------------------

    def _compare(self, expected: dict[int, _Race], commands: list[Any]) -> None:
        """The verdicts of this turn, as they should be and as they are; and who is told to stop."""
        chosen = {each.seq: each for each in commands if type(each) in (iot.Choose, iot.Combine, iot.Extrapolate)}
        for seq, race in expected.items():
            found, said = race.found, chosen.pop(seq, None)
            assert found is not None
            if found.kind in ("combined", "extrapolated"):
                right = type(said) is (iot.Combine if found.kind == "combined" else iot.Extrapolate)
                right = right and (type(said) is not iot.Combine or said.entrant == found.entrant)
                right = right and (type(said) is not iot.Extrapolate or said.last == self._value_before(seq))
            elif race.valued:
                right = type(said) is iot.Choose and said.entrant == found.entrant
            else:
                right = said is None or (type(said) is iot.Choose and said.entrant == -1)
            if not right and (race.begun or said is not None):  # else it has given way to a newer one before, as its Deliver will say
                self.problem("verdict", f"frame {seq}: {found} is right, not {said}; {race.referee.past}")
            self._check_cancels(seq, commands)
            self.seen["cancelled"] += sum(type(each) is iot.SendMessage and each.message == Cancel(seq) for each in commands)
        for seq, said in chosen.items():
            race = self.races[seq]
            if not (type(said) is iot.Choose and said.entrant == -1):
                self.problem("verdict", f"frame {seq}: {said}, and no verdict is due; {race.found} {race.referee.past}")

    def _check_cancels(self, seq: int, commands: list[Any]) -> None:
        for peer, jobs in enumerate(self.links.jobs):
            # said() has taken the CANCELs of this turn out already
            if seq in jobs and self.links.up[peer] and not self.rules.tells_late:
                self.problem("cancel", f"frame {seq} has its verdict, and cloud {peer} was not told: {commands[:4]}")

    def _command(self, command: Any) -> None:
        if type(command) is iot.RunStages and command.start == 0:
            self.races[command.seq].begun = True
            for cloud in range(self.twin if command.answers >= 0 else 0):
                self.races[command.seq].referee.happened(self.now, cloud, "left out")
        elif type(command) is iot.SendMessage and type(command.message) is Submit:
            self._submitted(command.peer, command.message)
        elif type(command) is iot.Deliver:
            self._delivered(command)
        elif type(command) is iot.OfferLate:
            self._offered(command)
        elif type(command) is iot.Release:
            if command.seq in self.released or command.seq not in self.delivered:
                self.problem("release", f"{command}, delivered: {command.seq in self.delivered}")
            self.released.add(command.seq)

    def _submitted(self, peer: int, message: Submit) -> None:
        race = self.races[message.seq]
        if self.links.unfit[peer]:
            self.problem("lineup", f"SUBMIT of {message.seq} to cloud {peer}, whose server cannot run it")
        if race.found is not None or race.closed:
            self.problem("cancel", f"SUBMIT of {message.seq} to cloud {peer}, which has its verdict")
        if not race.referee.over(peer) and race.referee.absent(peer):
            race.referee.happened(self.now, peer, "back")

    def _delivered(self, command: iot.Deliver) -> None:
        seq, race = command.seq, self.races[command.seq]
        if seq in self.delivered or seq != len(self.delivered):
            self.problem("once", f"Deliver of {seq} after {len(self.delivered) - 1}")
        self.delivered[seq] = command
        self.waiting.pop(seq, None)
        reason = command.outcome.reason if type(command.outcome) is Dropped else ""
        given_up = (reason in ("stale", "overload") and self.live and not race.begun) or (reason == "stopped" and self.stopping)
        if not given_up and not (race.closed and race.found is None):
            self._check_outcome(seq, race, command)
        if race.valued:
            self.last = seq

    def _check_outcome(self, seq: int, race: _Race, command: iot.Deliver) -> None:
        late = race.found is not None and race.found.late
        if race.outcome != command.outcome or command.entrant != race.entrant or command.late != late:
            right = f"{race.outcome} of {race.entrant!r}{', late' if late else ''}"
            self.problem("verdict" if late == command.late else "late", f"frame {seq}: {right} is right, not {command}")
        bound = race.referee.deadline - race.captured_at
        quick = not self.plan.behind and not self.plan.hooks_ms and not self.hung and self.live
        if quick and self.rules.on_miss == "drop" and command.latency > max(bound, 0.0) + 1e-9 and not self._waited(seq, command):
            self.problem("late", f"frame {seq}: delivered {command.latency:.4f} s old, its deadline is at {bound:.4f} s")

    def _waited(self, seq: int, command: iot.Deliver) -> bool:
        """True if a frame before it had a longer deadline of its own, or began its race too late."""
        at = command.captured_at + command.latency
        return any(race.referee.deadline >= at for other, race in self.races.items() if other <= seq) or self.rules.sends_when

    def _offered(self, command: iot.OfferLate) -> None:
        offer = command.seq, command.entrant
        if offer not in self._offers or not self.rules.tells_late:
            self.problem("offer", f"{command}: no late answer came, or it was offered before")
        self._offers.discard(offer)
        self.seen["offered"] += 1

    def _promptness(self) -> None:
        """Nothing that may leave waits."""
        if self._offers:
            self.problem("offer", f"late answers came and were not offered: {sorted(self._offers)[:5]}")
            self._offers.clear()
        head = self.races.get(len(self.delivered))
        if not self.plan.behind and head is not None and head.found is not None and head.outcome is not None:
            self.problem("once", f"frame {len(self.delivered)} has its verdict, {head.outcome}, and was not delivered")

    def _value_before(self, seq: int) -> int:
        found = [other for other, race in self.waiting.items() if race.valued and other < seq]
        return max(found, default=self.last)

    # -- the rest ----------------------------------------------------------------------------------

    def handed(self, what: Handed) -> None:
        """The value the user got."""
        deliver = self.delivered.get(what.seq)
        path = () if what.value is None else what.value[2]
        step = path[1] if len(path) > 1 else (1, None)
        named = step[1] if isinstance(step[1], str) else self.names[step[1]] if step[1] is not None else ""
        if not path or deliver is None or named != deliver.entrant:
            self.problem("value", f"frame {what.seq}: {deliver and deliver.entrant!r} is named, the value is {path}")
        elif self.plan.behind:
            seen = path[2][1]
            if seen[: len(self._order)] != self._order or seen != tuple(sorted(set(seen))) or seen[-1] != what.seq:
                self.problem("value", f"frame {what.seq}: the stage behind saw {seen[-5:]}")
            self._order = seen

    def offered_value(self, what: Offered) -> None:
        """What `on_late` got."""
        if what.value[:2] != (0, what.seq) or what.value[2][-1][1] not in range(self.twin):
            self.problem("offer", f"{what}")

    def spurious(self) -> None:
        """The next Tick is one nobody asked for."""
        self._spurious = True

    def conclude(self) -> None:
        """The trace is over."""
        lacking = sorted(self.races.keys() - self.delivered.keys())
        if lacking:
            self.problem("once", f"never delivered: {lacking[:9]}")
        if kept := sorted(self.races.keys() - self.released):
            self.problem("release", f"never released: {kept[:9]}")
        for peer, jobs in enumerate(self.links.jobs):
            if jobs and self.links.up[peer]:
                self.problem("cancel", f"at the end cloud {peer} works on {sorted(jobs)[:9]}")

    def problem(self, rule: str, text: str) -> None:
        """A promise was broken."""
        self.problems.append(f"{rule}: at {self.now:.6f} s: {text}")
