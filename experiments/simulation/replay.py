"""A machine's log, fed into a fresh machine: it must say the same.

A Step is one event with the commands that answered it. Steps come from a simulated trace (`steps_of`), from the
log of a real run (`steps_from`), or from a script of (time, event) (`drive`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.simulation.body import Machine
from experiments.simulation.check import COMMANDS
from experiments.simulation.record import Started, Trace

__all__ = ["Step", "differences", "drive", "steps_from", "steps_of"]


class Step(NamedTuple):
    """At `now` on the host's clock, `event` was answered by `commands`."""

    now: float
    event: Any
    commands: tuple[Any, ...]


def drive(machine: Machine, script: Iterable[tuple[float, Any]], tick: Any, until: float | None = None) -> list[Step]:
    """Feed a script of (time, event), and a Tick wherever the machine asks for one in between.

    At equal times events come before the Tick, as in both bodies.
    """
    steps: list[Step] = []
    for time, event in script:
        _ticks(machine, tick, time, steps)
        steps.append(Step(time, event, tuple(machine.handle(event, time))))
    if until is not None:
        _ticks(machine, tick, until, steps)
    return steps


def _ticks(machine: Machine, tick: Any, before: float, steps: list[Step]) -> None:
    while (due := machine.next_wakeup()) is not None and due < before:
        now = max(due, steps[-1].now) if steps else due
        steps.append(Step(now, tick, tuple(machine.handle(tick, now))))


def differences(machine: Machine, steps: Sequence[Step]) -> list[str]:
    """Where a fresh machine answers otherwise than the steps say; empty if it says the same."""
    found = []
    for number, step in enumerate(steps):
        answer = tuple(machine.handle(step.event, step.now))
        if answer != step.commands:
            found.append(f"step {number} at {step.now}: {step.event} gave {answer}, recorded was {step.commands}")
    return found


def steps_of(trace: Trace, host: str, life: int = 1) -> tuple[list[Any], list[Step]]:
    """The commands a host began one of its lives with, and its steps in it."""
    begun = 0
    chosen: list[tuple[float, Any]] = []
    for record in trace.records:
        if record.host == host:
            begun += type(record.what) is Started
            if begun == life and not type(record.what).__module__.startswith("experiments."):
                chosen.append((record.now, record.what))
    return _group(chosen)


def steps_from(entries: Iterable[Any]) -> tuple[Any, list[Any], list[Step]]:
    """What a real run's log says (see metrics/trace.py): the machine's config, its first commands, its steps."""
    config, chosen = None, []
    for entry in entries:
        if entry.kind == "start":
            config = entry.body
        else:
            chosen.append((entry.at, entry.body))
    return config, *_group(chosen)


def _group(said: Sequence[tuple[float, Any]]) -> tuple[list[Any], list[Step]]:
    first: list[Any] = []
    steps: list[Step] = []
    for now, what in said:
        if not isinstance(what, COMMANDS):
            steps.append(Step(now, what, ()))
        elif steps:
            steps[-1] = steps[-1]._replace(commands=(*steps[-1].commands, what))
        else:
            first.append(what)
    return first, steps
