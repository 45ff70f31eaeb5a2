"""Stages with state have one owner at a time: what a device's records and a server's show of it."""

from __future__ import annotations

import iot_client.events as iot
from experiments.simulation.check import Check
from wire.protocol import Result, State, Submit

__all__ = ["OwnerCheck", "TurnCheck"]


class OwnerCheck:
    """The folds of one device, as its commands show them.

    Args:
        check: told of problems; stateful: the stages with state.
    """

    def __init__(self, check: Check, stateful: list[int]) -> None:
        self._check = check
        self._stateful = stateful
        self._folded: dict[int, int] = {}
        self._span = (0, 0)
        self._away = (0, 0)
        self._state = State(0, 0, 0)

    def on_export(self, what: iot.ExportState) -> None:
        self._span = what.stage, what.stop

    def on_import(self, what: iot.ImportState) -> None:
        if self._away != (what.stage, what.stop):
            self._check.problem("owner", f"{what}, but stages {self._away} are at the server")
        self._away = (0, 0)
        self._folded.update((stage, what.seq - 1) for stage in self._stateful if what.stage <= stage < what.stop)

    def on_run(self, stage: int, seq: int) -> None:
        if self._away[0] <= stage < self._away[1]:
            self._check.problem("owner", f"frame {seq} runs stage {stage} here, which is at the server since {self._state}")
        if seq <= self._folded.get(stage, -1):
            self._check.problem("state", f"frame {seq} at stage {stage} after frame {self._folded[stage]}")
        self._folded[stage] = seq

    def on_state(self, message: State) -> None:
        again = message == self._state
        if not again and message.generation <= self._state.generation:
            self._check.problem("owner", f"{message} after {self._state}")
        self._state, self._away = message, self._span

    def on_submit(self, message: Submit) -> None:
        folds = [stage for stage in self._stateful if message.start <= stage < message.stop]
        away = [stage for stage in self._stateful if self._away[0] <= stage < self._away[1]]
        if folds and (folds != away or message.generation != self._state.generation):
            self._check.problem("owner", f"{message}, after {self._state} for stages {self._away}")
        if not folds and message.generation:
            self._check.problem("owner", f"{message} without a stage with state")

    def replays(self, message: Submit) -> bool:
        """True for a SUBMIT that is sent again for the state after it."""
        return message.generation > 0 and message.seq >= self._state.seq


class TurnCheck:
    """The folds of one life of a server: each generation sees its frames in order, once each, and misses none."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._next: dict[int, tuple[int, int]] = {}
        self._skipped: dict[int, set[int]] = {}

    def on_state(self, session: int, message: State) -> None:
        generation, _ = self._next.get(session, (0, 0))
        if message.generation > generation:
            self._next[session] = message.generation, message.seq

    def on_skip(self, session: int, seq: int) -> None:
        self._skipped.setdefault(session, set()).add(seq)

    def on_result(self, session: int, message: Result) -> None:
        if message.outcome == "failed":
            self.on_skip(session, message.seq)

    def on_run(self, session: int, message: Submit) -> None:
        generation, expected = self._next.get(session, (message.generation, message.seq))
        missed = [seq for seq in range(expected, message.seq) if seq not in self._skipped.get(session, ())]
        if message.generation != generation or message.seq < expected or missed:
            self._check.problem("turn", f"{message} runs where frame {expected} of generation {generation} is next; missed: {missed[:5]}")
        self._next[session] = message.generation, message.seq + 1

    def again(self, jobs: set[tuple[int, int]]) -> None:
        """A worker died with these: a fold is where it was."""
        for session, seq in jobs:
            generation, expected = self._next.get(session, (0, 0))
            if expected == seq + 1:
                self._next[session] = generation, seq

    def forget(self, session: int) -> None:
        self._next.pop(session, None)
        self._skipped.pop(session, None)
