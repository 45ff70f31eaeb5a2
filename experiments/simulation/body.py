"""What carries a machine on virtual time, as a coordinator does in real time: it feeds events, performs commands,
and gives the Tick the machine asked for.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from experiments.simulation.agenda import Agenda
from experiments.simulation.record import Broken, Hung, Record, Spurious

__all__ = ["Body", "Machine", "Workers"]


class Machine(Protocol):
    """What Session and Scheduler have in common."""

    def handle(self, event: Any, now: float) -> list[Any]:
        """One event in, commands out."""

    def next_wakeup(self) -> float | None:
        """When a Tick is due."""


class Body:
    """One host: a machine, its clock, and the record of what it hears and says.

    Args:
        clock: what the host's monotonic clock shows more than virtual time; no machine may compare clocks.
        drift: the part of a second by which it runs fast, each second.
        tick: makes this machine's Tick event.
    """

    def __init__(self, agenda: Agenda, records: list[Record], name: str, clock: float, drift: float, tick: Callable[[], Any]) -> None:
        self.agenda = agenda
        self.records = records
        self.name = name
        self.clock = clock
        self._pace = 1.0 + drift
        self.machine: Machine | None = None
        self.life = 0
        self.perform: dict[type, Callable[[Any], None]] = {}
        self._tick_event = tick()
        self._tick_at: float | None = None
        self._last = 0.0
        self._hung = False
        self._backlog: deque[tuple[Any, Any]] = deque()

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.machine is not None

    def note(self, what: Any) -> None:
        """Record something about this host."""
        self.records.append(Record(self.agenda.now, self.name, what))

    def broken(self, text: str) -> None:
        """Record that the machine asked for the impossible."""
        self.note(Broken(text))

    def begin(self, machine: Machine, commands: list[Any]) -> None:
        """A new life, with the commands the machine starts with."""
        self.machine = machine
        self.life += 1
        self._tick_at = None
        self._backlog.clear()
        self._hung = False
        self._obey(commands, self._time())

    def end(self) -> None:
        """The process is gone, with all it knew."""
        self.machine = None
        self._backlog.clear()

    def feed(self, event: Any, value: Any = None) -> None:
        """Something happened; `value` is the payload that came with it."""
        if self._hung:
            self._backlog.append((event, value))
        elif self.machine is not None:
            self._handle(event, value)

    def keep(self, event: Any, value: Any) -> Any:
        """Store the payload that came with an event; returns the event as the machine is to see it."""
        return event

    def hang(self, seconds: float) -> None:
        """Handle nothing for a while."""
        if self.machine is not None and not self._hung:
            self.note(Hung(seconds))
            self._hung = True
            self.agenda.at(self.agenda.now + seconds, self._resume, self.life)

    def spurious_tick(self) -> None:
        """A Tick nobody asked for."""
        if self.machine is not None and not self._hung:
            wakeup = self.machine.next_wakeup()
            if wakeup is None or wakeup > self._time():
                self.note(Spurious())
                self._handle(self._tick_event, None)

    def _resume(self, life: int) -> None:
        if life == self.life and self._hung:
            self._hung = False
            while self._backlog and self.machine is not None:
                self._handle(*self._backlog.popleft())
            self._arm()

    def _handle(self, event: Any, value: Any, at_least: float = 0.0) -> None:
        assert self.machine is not None
        event = self.keep(event, value)
        self._last = now = max(self._time(), at_least)
        self.records.append(Record(self.agenda.now, self.name, event, now))
        self._obey(self.machine.handle(event, now), now)

    def _obey(self, commands: list[Any], now: float) -> None:
        at, name = self.agenda.now, self.name
        for command in commands:
            self.records.append(Record(at, name, command, now))
            self.perform[type(command)](command)
        self._arm()

    def local(self) -> float:
        """What this host's monotonic clock shows."""
        return self.agenda.now * self._pace + self.clock

    def _time(self) -> float:
        return max(self._last, self.local())

    def _arm(self) -> None:
        if self.machine is None:
            return
        wakeup = self.machine.next_wakeup()
        if wakeup is not None and (self._tick_at is None or wakeup < self._tick_at):
            self._tick_at = wakeup
            self.agenda.tick((wakeup - self.clock) / self._pace, self._tick, wakeup, self.life)

    def _tick(self, wakeup: float, life: int) -> None:
        if self.machine is None or life != self.life or wakeup != self._tick_at:
            return
        self._tick_at = None
        due = self.machine.next_wakeup()
        if self._hung or due is None:
            return
        if due > wakeup and due > self._time():
            self._arm()
        else:
            self._handle(self._tick_event, None, wakeup)


Spend = Callable[[float, float, Callable[[], None]], None]
"""Calls the function when so many seconds of work have been done, and then so many of waiting."""


class Workers:
    """A pool of threads on virtual time; `ordered` work runs one at a time, in the order given.

    Args:
        spend: how work takes its time; default: a second takes a second.
    """

    def __init__(self, agenda: Agenda, count: int, spread: float, seed: str, spend: Spend | None = None) -> None:
        self._agenda = agenda
        self._free = count
        self._spread = spread
        self._random = random.Random(seed)
        self._spend: Spend = spend or self._wait
        self._queue: deque[tuple[float | Callable[[], float], float, bool, Callable[[float], None]]] = deque()
        self._urgent = 0
        self._lane_busy = False

    def time(self, milliseconds: float) -> float:
        """How many seconds this takes this time."""
        return milliseconds / 1e3 * (1.0 + self._spread * (2.0 * self._random.random() - 1.0))

    def put(
        self, seconds: float | Callable[[], float], done: Callable[[float], None], ordered: bool = False, idle: float = 0.0,
        urgent: bool = False,
    ) -> None:
        """Have a worker busy for so long, and wait for `idle` more, then call `done(seconds waited for a worker)`.

        Where `seconds` is a function it is asked when a worker begins. What is `urgent` goes before all that is not and has not begun.
        """
        begun = self._agenda.now
        work = (seconds, idle, ordered, lambda started: done(started - begun))
        if urgent:
            self._queue.insert(self._urgent, work)
            self._urgent += 1
        else:
            self._queue.append(work)
        self._start()

    def _wait(self, seconds: float, idle: float, over: Callable[[], None]) -> None:
        self._agenda.at(self._agenda.now + seconds + idle, over)

    def _start(self) -> None:
        while self._free:
            index = next((i for i, (_, _, ordered, _) in enumerate(self._queue) if not (ordered and self._lane_busy)), None)
            if index is None:
                return
            seconds, idle, ordered, done = self._queue[index]
            del self._queue[index]
            self._urgent -= index < self._urgent
            self._free -= 1
            self._lane_busy = self._lane_busy or ordered
            self._spend(seconds() if callable(seconds) else seconds, idle, partial(self._end, done, ordered, self._agenda.now))

    def _end(self, done: Callable[[float], None], ordered: bool, started: float) -> None:
        self._free += 1
        if ordered:
            self._lane_busy = False
        done(started)
        self._start()
