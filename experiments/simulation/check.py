"""What the checks of one host's records have in common."""

from __future__ import annotations

from typing import Any, get_args

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.simulation.record import Broken, Kept, Record, Spurious
from experiments.simulation.scenario import Scenario

__all__ = ["COMMANDS", "Check"]

COMMANDS = (*get_args(iot.Command), *get_args(cloud.Command))
"""What both machines ask for."""


class Check:
    """Goes through one host's records; subclasses name a method for each type of record."""

    def __init__(self, host: str, scenario: Scenario) -> None:
        self.host = host
        self.scenario = scenario
        self.problems: list[str] = []
        self.finished = False
        self.at = self.now = 0.0
        self.on: dict[type, Any] = {Broken: self.on_broken, Kept: self.on_kept, Spurious: self.on_spurious}
        self._spurious = 0

    def see(self, record: Record) -> None:
        """Take one record."""
        self.at, what, self.now = record.at, record.what, record.now
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
        if isinstance(what, COMMANDS):
            if self._spurious:
                self.problem("spurious", f"a Tick nobody asked for gave {what}")
            if self.finished:
                self.problem("finished", f"after Finished: {what}")
        self._spurious = max(0, self._spurious - 1)
