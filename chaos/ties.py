"""Races in which everything happens at the same instants: the machine of a device, driven on a coarse grid of time.

Captures, runs, answers, losses and wake-ups all fall on multiples of 1/128 s, which floats hold exactly; what is due at
one instant comes in an order that the seed draws, the Tick last. So a twin, an answer and a deadline meet all the time.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from itertools import count
from typing import Any

from chaos.registry import Broken, Run, Seen, promise
from iot_client.events import (
    Capture, Deliver, Finished, FrameCaptured, LinkDown, LinkUp, MessageReceived, Release, Reopen, RunStages, SendMessage, SourceEnded,
    StagesDone, Tick,
)
from iot_client.outcome import Done, Failed
from iot_client.session import Session, SessionConfig
from wire.protocol import MINOR, Cancel, Credit, Hello, Ping, Pong, Result, Submit, Welcome

__all__ = ["exact_ties", "race_once"]

GRID = 1 / 128
SESSION = 7
FRAMES = 30


class _World:
    """One device's machine and a server that is only chance."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = random.Random(seed)
        self.live = dice.random() < 0.7
        self.once = dice.random() < 0.3
        self.deadline = dice.randint(4, 24) * GRID
        hello = Hello(MINOR, "camera", "app", "1", "f00d", ("source", "a", "b"), mode="live" if self.live else "lossless")
        self.session = Session(SessionConfig(
            session=SESSION, n=3, split=1, pivot=3, splits=(False, True, True, True), stateful=(False,) * 3,
            once=(False, self.once, False), mode=hello.mode, hello=hello, workers=dice.randint(1, 2), window=8, deadline=self.deadline,
        ))
        self.now = 0.0
        self.epoch = 1
        self.seen: Counter[str] = Counter()
        self.delivered: list[Deliver] = []
        self.released: set[int] = set()
        self.ran_once: Counter[int] = Counter()
        self.finished = self.up = False
        self._captured = self._permits = 0
        self._at_server: dict[int, int] = {}
        self._lives: dict[int, set[int]] = {}
        self._agenda: list[tuple[float, float, int, Any]] = []
        self._numbers = count()

    def run(self) -> None:
        """Until the machine has finished."""
        self._later(0, LinkUp())
        self._do(self.session.start())
        while not self.finished:
            if not self._agenda and self.session.next_wakeup() is None:
                raise Broken(f"nothing is to come at {self.now}, and {self.session.in_flight} frames have no outcome")
            due = self.session.next_wakeup()
            if self._agenda and (due is None or self._agenda[0][0] <= due):
                self.now, _, _, event = heapq.heappop(self._agenda)
                self._hear(event)
            else:
                assert due is not None
                # Wake-ups that are learned (margins, round trips) lie between the lines of the grid: up to the next one.
                self.now = max(self.now, due)
                self._do(self.session.handle(Tick(), self.now))
            if self.now > 600.0:
                raise Broken(f"not finished after 600 s: {self.session.in_flight} frames without an outcome")

    def _later(self, steps: int, event: Any) -> None:
        at = (int(self.now / GRID) + steps) * GRID
        heapq.heappush(self._agenda, (max(at, self.now), self.dice.random(), next(self._numbers), event))

    def _hear(self, event: Any) -> None:
        if type(event) is int:
            event = FrameCaptured(self.session.captured, self.now)
        if type(event) is MessageReceived and (not self.up or event.epoch != self.epoch):
            return
        if type(event) is LinkDown:
            self.up = False
            self._later(self.dice.randint(0, 20), LinkUp())
        if type(event) is LinkUp:
            self.up = True
        if type(event) is MessageReceived and type(event.message) is Result:
            self.seen["answer at the deadline"] += self._meets_deadline(event.message.seq)
            if event.message.outcome == "done" and not self.session.awaits(event.message, SESSION, self.epoch):
                self.seen["answer second"] += 1
        self._do(self.session.handle(event, self.now))

    def _meets_deadline(self, seq: int) -> bool:
        frame = self.session.stream.frames.get(seq)
        return frame is not None and frame.captured_at + self.deadline == self.now

    # -- what the machine asks for -----------------------------------------------------------------

    def _do(self, commands: list[Any]) -> None:
        for command in commands:
            handler = getattr(self, f"_on_{type(command).__name__.lower()}", None)
            if handler is not None:
                handler(command)

    def _on_capture(self, command: Capture) -> None:
        if self._captured < FRAMES:
            self._captured += 1
            self._later(self.dice.randint(0, 3), 0)  # becomes a FrameCaptured when its time has come
        elif self._captured == FRAMES:
            self._captured += 1
            self._later(3, SourceEnded())

    def _on_runstages(self, command: RunStages) -> None:
        self.ran_once[command.seq] += self.once and command.start <= 1 < command.stop
        self.seen["twins"] += command.urgent
        times = tuple(self.dice.randint(0, 3) * GRID for _ in range(command.start, command.stop))
        nbytes = 100 if command.encode else 0
        self._later(int(sum(times) / GRID), StagesDone(command.seq, command.start, command.stop, "done", times, nbytes=nbytes))

    def _on_sendmessage(self, command: SendMessage) -> None:
        message, dice = command.message, self.dice
        if not self.up:
            return
        if type(message) is Hello:
            fresh = dice.random() < 0.4 and self.epoch > 0
            self.epoch += fresh
            known = self._lives.setdefault(self.epoch, set())
            resumed = not fresh and bool(known or self._at_server)
            self._answer(dice.randint(0, 2), Welcome(MINOR, "server", 10**6, 10**6, 500_000, 60_000_000, resumed=resumed))
        elif type(message) is Ping:
            self._answer(dice.randint(0, 2), Pong(message.stamp_us, 0, 0.0, 10**6))
        elif type(message) is Cancel:
            self.seen["cancelled"] += 1
        elif type(message) is Submit:
            self._submitted(message)

    def _submitted(self, message: Submit) -> None:
        dice, seq, known = self.dice, message.seq, self._lives.setdefault(self.epoch, set())
        if dice.random() < 0.02:
            self._later(dice.randint(0, 4), LinkDown(0, "cut"))
        self._answer(0, Credit(10**6, "submit", seq, 100))
        if seq not in known:
            known.add(seq)
            self.ran_once[seq] += self.once
        if dice.random() < 0.9:
            for _ in range(1 + (dice.random() < 0.1)):
                self._answer(dice.randint(0, 30), Result(seq, "done", 1, 3, times_us=(1, 1)))

    def _answer(self, steps: int, message: Any) -> None:
        self._later(steps, MessageReceived(message, SESSION, self.epoch))

    def _on_deliver(self, command: Deliver) -> None:
        if command.seq != len(self.delivered):
            raise Broken(f"frame {command.seq} delivered after {len(self.delivered)} others")
        late = command.latency - self.deadline
        if self.live and late > 1e-9:
            raise Broken(f"frame {command.seq} delivered {late} s after its deadline, as {command.outcome}")
        self.seen["at the deadline"] += late == 0.0
        self.seen[type(command.outcome).__name__.lower() + getattr(command.outcome, "where", "")] += 1
        self.delivered.append(command)

    def _on_release(self, command: Release) -> None:
        if command.seq in self.released:
            raise Broken(f"frame {command.seq} released twice")
        self.released.add(command.seq)

    def _on_reopen(self, command: Reopen) -> None:
        self.up = False
        self._later(self.dice.randint(0, 5), LinkUp())

    def _on_finished(self, command: Finished) -> None:
        self.finished = True


def race_once(seed: int) -> Counter[str]:
    """One seed; what was seen in it.

    Raises:
        Broken: a frame has no outcome, two, a late one, or ran twice where it must not.
    """
    world = _World(seed)
    world.run()
    if len(world.delivered) != world.session.captured or world.released != set(range(len(world.delivered))):
        raise Broken(f"seed {seed}: {world.session.captured} captured, {len(world.delivered)} delivered, {len(world.released)} released")
    twice = sorted(seq for seq, runs in world.ran_once.items() if runs > 1)
    if twice:
        raise Broken(f"seed {seed}: frames {twice} ran a stage twice that must run once")
    if not world.live and any(type(each.outcome) not in (Done, Failed) for each in world.delivered):
        raise Broken(f"seed {seed}: a lossless frame was given up")
    return world.seen


@promise(13, "exact ties of answer, twin and deadline: one outcome each", quick=500, full=10_000)
def exact_ties(run: Run) -> Seen:
    """Random machines on a grid of time: no frame without an outcome, with two, late, or run twice where it must not."""
    seen: Counter[str] = Counter()
    for seed in range(run.seed * 1_000_000, run.seed * 1_000_000 + run.count):
        seen += race_once(seed)
    return Seen(good=run.count, tried=run.count, figures=dict(sorted(seen.items())))
