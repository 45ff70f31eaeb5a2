"""A Session whose frames race, driven by hand: a source, a race at stage 1 and, if asked for, a stage with state behind it.

Entrants are the clouds by index, then the local one. Their servers are up from 0.0 s unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from iot_client.events import (
    Choose, Command, Deliver, Event, FrameCaptured, LinkDown, LinkUp, MessageReceived, Release, RunStages, SendMessage, Sending,
    SourceEnded, StagesDone, Tick,
)
from iot_client.racing.config import RaceConfig
from iot_client.session import Session, SessionConfig
from tests.unit.device import HELLO, welcome
from wire.protocol import Cancel, Message, Result, Submit

__all__ = ["DEADLINE", "EPOCH", "Racer", "cancels", "chosen", "runs", "submitted"]

DEADLINE = 0.2
EPOCH = 9
FIRST = 70
"""The session of entrant 0; that of entrant i is i more."""


class Racer:
    """A device under test; `delivered` has what left, by seq.

    After every event: outcomes leave once and in seq order, a release follows its Deliver, and no frame has two verdicts.
    """

    def __init__(
        self, clouds: int = 1, *, local: str | None = "local", mode: str = "live", behind: bool = False, up: int | None = None,
        **rules: Any,
    ) -> None:
        race = RaceConfig(clouds=("cloud", "cloud2", "cloud3")[:clouds], local=local, deadline=DEADLINE, **{"hedge": "always", **rules})
        n = 3 if behind else 2
        hello = replace(HELLO, stages=HELLO.stages[:n])
        self.config = SessionConfig(
            session=FIRST, n=n, split=1 if clouds else n, pivot=2, splits=(False, True, *(False,) * (n - 2), local is not None),
            stateful=(False, False, True)[:n], once=(False,) * n, mode=mode, hello=hello if clouds else None, workers=2, window=8,
            race=race, rivals=(hello,) * (clouds - 1), rival_sessions=tuple(range(FIRST + 1, FIRST + clouds)),
        )
        self.session = Session(self.config)
        self.delivered: dict[int, Deliver] = {}
        self.released: list[int] = []
        self._judged: set[int] = set()
        self._captured = 0
        self._checked(self.session.start())
        for peer in range(clouds if up is None else up):
            self.connect(peer, 0.0)
            self.tick(0.0)

    def handle(self, event: Event, now: float) -> list[Command]:
        """One event through the machine, its commands checked."""
        return self._checked(self.session.handle(event, now))

    def connect(self, peer: int, now: float, **fields: Any) -> list[Command]:
        """The transport to a server connected and the server answered."""
        self.handle(LinkUp(peer), now)
        return self.says(welcome(limit=100_000, max_job=10_000, **fields), peer, now)

    def breaks(self, peer: int, now: float) -> list[Command]:
        """The transport to a server breaks."""
        return self.handle(LinkDown(peer, "cable pulled"), now)

    def capture(self, now: float) -> list[Command]:
        """The next frame is captured."""
        self._captured += 1
        return self.handle(FrameCaptured(self._captured - 1, now), now)

    def raced(self, now: float, send: Sending | None = None) -> int:
        """The next frame is captured, and its value at the cut is there at once; returns its seq."""
        self.capture(now)
        self.cut(self._captured - 1, now, send)
        return self._captured - 1

    def cut(self, seq: int, now: float, send: Sending | None = None) -> list[Command]:
        """A frame's value at the cut is there."""
        return self.handle(StagesDone(seq, 0, 1, "done", (0.001,), nbytes=100, signature="v", variant="local", send=send), now)

    def runs_here(self, seq: int, now: float, kind: str = "done", **fields: Any) -> list[Command]:
        """The local entrant's run ends."""
        entrant = len(self.config.race.clouds) if self.config.race else 0
        return self.handle(StagesDone(seq, 1, 2, kind, (0.01,), variant="local", answers=entrant, **fields), now)

    def tail(self, seq: int, now: float) -> list[Command]:
        """The stage behind the race ends."""
        return self.handle(StagesDone(seq, 2, 3, "done", (0.001,), variant="local"), now)

    def answers(self, entrant: int, seq: int, now: float, outcome: str = "done", **fields: Any) -> list[Command]:
        """A server's RESULT comes."""
        return self.says(Result(seq, outcome, 1, 2, held_us=1_000, **fields), entrant, now)

    def says(self, message: Message, peer: int, now: float) -> list[Command]:
        """A server says something."""
        return self.handle(MessageReceived(message, FIRST + peer, EPOCH, 0, peer), now)

    def tick(self, now: float) -> list[Command]:
        """The time asked for has come."""
        return self.handle(Tick(), now)

    def source_ends(self, now: float) -> list[Command]:
        """There is nothing more to capture."""
        return self.handle(SourceEnded(), now)

    def _checked(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if type(command) is Deliver:
                assert command.seq == len(self.delivered), f"{command} after {len(self.delivered) - 1}"
                self.delivered[command.seq] = command
            elif type(command) is Release:
                assert command.seq in self.delivered and command.seq not in self.released, command
                self.released.append(command.seq)
            elif type(command) is Choose:
                assert command.seq not in self._judged, command
                self._judged.add(command.seq)
        return commands


def runs(commands: list[Command]) -> list[int]:
    """The seqs of frames whose local entrant is to run."""
    return [command.seq for command in commands if type(command) is RunStages and command.answers >= 0]


def chosen(commands: list[Command]) -> list[tuple[int, int]]:
    """(seq, entrant) of the answers that stand, entrant -1 where none does."""
    return [(command.seq, command.entrant) for command in commands if type(command) is Choose]


def submitted(commands: list[Command]) -> list[tuple[int, int]]:
    """(seq, entrant) of the jobs that are sent."""
    return [(c.message.seq, c.peer) for c in commands if type(c) is SendMessage and type(c.message) is Submit]


def cancels(commands: list[Command]) -> list[tuple[int, int]]:
    """(seq, entrant) of the jobs that are cancelled."""
    return [(c.message.seq, c.peer) for c in commands if type(c) is SendMessage and type(c.message) is Cancel]
