"""How the races of one run went, and what they cost: a fold over what the machine hears and asks for.

The price of a race is what was done for answers that did not stand: runs here, bytes sent, seconds of servers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from iot_client.events import (
    Choose, Combine, Combined, Deliver, FrameCaptured, HookFailed, MessageReceived, RunStages, SendMessage, StagesDone,
)
from iot_client.outcome import Dropped, Failed
from iot_client.racing.calibration import Bin
from iot_client.racing.config import EXTRAPOLATED, MERGED, RaceConfig
from iot_client.racing.muster import Muster
from metrics.histogram import LogHistogram
from wire.protocol import Result, Submit

__all__ = ["EntrantScore", "RaceScore", "Scores"]

_OPEN = 1024
"""Frames remembered behind their delivery, for answers that come late."""


class EntrantScore(msgspec.Struct, frozen=True):
    """One entrant: its answers, how many of them stood, and the median of the seconds it took.

    That is the run's own time of the local one, and from sending to the answer of a cloud; 0.0 before the first answer.
    `absent` is why a cloud takes no part now, "" if it does, and `without` the frames captured while it took none.
    """

    name: str
    answers: int = 0
    wins: int = 0
    median_s: float = 0.0
    absent: str = ""
    without: int = 0


class RaceScore(msgspec.Struct, frozen=True, kw_only=True):
    """The races of a run so far.

    Args:
        frames: delivered. entrants: by name, the clouds first.
        merged, extrapolated: answers that no entrant gave alone.
        late: delivered after the deadline. dropped: for want of an answer, `overtaken` of them by a later frame.
        late_answers: of clouds, after the verdict.
        twins, unneeded: runs of the local entrant, and those whose answer did not stand.
        twin_cpu_s, extra_cpu_s: CPU seconds of all these runs, and of the unneeded ones.
        sent_bytes, extra_bytes: sent to clouds, and of that for answers that did not stand.
        cloud_s, wasted_cloud_s: seconds of servers that were told of, and of that for answers that did not stand.
        hook_failures: by hook.
        risk: where local runs begin by risk: the chance of a miss as predicted, as seen, and of how many frames, for chances alike.
        brier: the mean squared error of these chances.
    """

    frames: int = 0
    entrants: tuple[EntrantScore, ...] = ()
    merged: int = 0
    extrapolated: int = 0
    late: int = 0
    dropped: int = 0
    overtaken: int = 0
    late_answers: int = 0
    twins: int = 0
    unneeded: int = 0
    twin_cpu_s: float = 0.0
    extra_cpu_s: float = 0.0
    sent_bytes: int = 0
    extra_bytes: int = 0
    cloud_s: float = 0.0
    wasted_cloud_s: float = 0.0
    hook_failures: dict[str, int] = {}
    risk: tuple[Bin, ...] = ()
    brier: float = 0.0

    @property
    def misses(self) -> int:
        """Frames without an answer of their own at their deadline."""
        return self.late + self.dropped + self.extrapolated


class _Race(msgspec.Struct, eq=False, gc=False):
    """What is known of one frame: by entrant what was sent when, and whose answers stand."""

    nbytes: int = 0
    sent_at: dict[int, float] = {}
    sent_bytes: dict[int, int] = {}
    cloud_s: dict[int, float] = {}
    stands: tuple[int, ...] = ()
    over: bool = False
    twin_cpu_s: float = -1.0


class Scores:
    """The fold; `event` and `command` are told what goes in and out of the machine, in order. `on_command` has who takes which."""

    def __init__(self, race: RaceConfig) -> None:
        self._race = race
        self._twin = race.twin
        self._open: dict[int, _Race] = {}
        self._answers = [0] * (race.twin + 1)
        self._wins: Counter[str] = Counter()
        self._took = [LogHistogram() for _ in range(race.twin + 1)]
        self._count: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failures: Counter[str] = Counter()
        self._on_event: dict[type, Callable[[Any, float], None]] = {
            FrameCaptured: self._captured, StagesDone: self._ran, MessageReceived: self._heard, Combined: self._combined,
            HookFailed: lambda event, now: self._failed(event.hook),
        }
        self.on_command: dict[type, Callable[[Any, float], None]] = {
            RunStages: self._runs, SendMessage: self._sends, Choose: self._chooses, Combine: self._combines, Deliver: self._delivers,
        }

    def event(self, event: object, now: float) -> None:
        """The machine is about to hear this."""
        if (take := self._on_event.get(type(event))) is not None:
            take(event, now)

    def command(self, command: object, now: float) -> None:
        """The machine asks for this."""
        if (take := self.on_command.get(type(command))) is not None:
            take(command, now)

    def score(self, risk: tuple[Bin, ...] = (), brier: float = 0.0, muster: Muster | None = None) -> RaceScore:
        """How it stands, with what is known of `risk` and of who takes part; from any thread."""
        names, count, seconds = self._race.names, self._count, self._seconds
        entrants = tuple(
            EntrantScore(name, self._answers[index], self._wins[name], self._took[index].quantile(0.5) or 0.0, *_standing(muster, index))
            for index, name in enumerate(names) if index < self._twin or self._race.local is not None
        )
        return RaceScore(
            frames=count["frames"], entrants=entrants, merged=self._wins[MERGED], extrapolated=self._wins[EXTRAPOLATED],
            late=count["late"], dropped=count["dropped"], overtaken=count["overtaken"], late_answers=count["late_answers"],
            twins=count["twins"], unneeded=count["unneeded"], twin_cpu_s=seconds["twin"], extra_cpu_s=seconds["extra"],
            sent_bytes=count["sent"], extra_bytes=count["extra"], cloud_s=seconds["cloud"], wasted_cloud_s=seconds["wasted"],
            hook_failures=dict(self._failures), risk=risk, brier=brier,
        )

    # -- events ------------------------------------------------------------------------------------

    def _captured(self, event: FrameCaptured, now: float) -> None:
        self._open[event.seq] = _Race()
        while len(self._open) > _OPEN and next(iter(self._open.values())).over:
            del self._open[next(iter(self._open))]

    def _ran(self, event: StagesDone, now: float) -> None:
        race = self._open.get(event.seq)
        if event.kind == "failed" and event.error.startswith("send_when: "):
            self._failed("send_when")
        if race is None:
            return
        race.nbytes = event.nbytes or race.nbytes
        if event.answers < 0:
            return
        if event.kind in ("done", "filtered"):
            self._answered(self._twin, sum(event.times))
        self._seconds["twin"] += event.cpu_s
        race.twin_cpu_s = event.cpu_s
        if race.over and self._twin not in race.stands:
            self._not_needed(race)

    def _heard(self, event: MessageReceived, now: float) -> None:
        message = event.message
        if type(message) is not Result or event.damaged:
            return
        race = self._open.get(message.seq)
        took = sum(message.times_us) / 1e6 / message.batch
        self._seconds["cloud"] += took
        if race is None or (race.over and event.peer not in race.stands):
            self._seconds["wasted"] += took
        elif not race.over:
            race.cloud_s[event.peer] = took
        if message.outcome not in ("done", "filtered") or race is None:
            return
        self._answered(event.peer, now - race.sent_at.get(event.peer, now))
        self._count["late_answers"] += race.over or bool(race.stands)

    def _combined(self, event: Combined, now: float) -> None:
        if event.kind == "failed":
            self._failed(event.error.partition(":")[0])

    def _answered(self, entrant: int, took: float) -> None:
        self._answers[entrant] += 1
        self._took[entrant].add(took)

    def _failed(self, hook: str) -> None:
        self._failures[hook] += 1

    # -- commands ----------------------------------------------------------------------------------

    def _runs(self, command: RunStages, now: float) -> None:
        self._count["twins"] += command.answers >= 0

    def _sends(self, command: SendMessage, now: float) -> None:
        race = self._open.get(command.message.seq) if type(command.message) is Submit else None
        if race is not None:
            race.sent_at[command.peer] = now
            self._count["sent"] += race.nbytes
            race.sent_bytes[command.peer] = race.sent_bytes.get(command.peer, 0) + race.nbytes

    def _chooses(self, command: Choose, now: float) -> None:
        if command.entrant >= 0:
            self._stands(command.seq, (command.entrant,))

    def _combines(self, command: Combine, now: float) -> None:
        self._stands(command.seq, (command.entrant, self._twin))

    def _stands(self, seq: int, entrants: tuple[int, ...]) -> None:
        race = self._open.get(seq)
        if race is not None:
            race.stands = entrants

    def _delivers(self, command: Deliver, now: float) -> None:
        count, outcome = self._count, command.outcome
        count["frames"] += 1
        self._wins[command.entrant] += bool(command.entrant) and type(outcome) is not Failed
        count["late"] += command.late
        if type(outcome) is Dropped and outcome.reason in ("late", "overtaken"):
            count["dropped"] += 1
            count["overtaken"] += outcome.reason == "overtaken"
        race = self._open.get(command.seq)
        if race is not None:
            if not race.stands and command.entrant in self._race.names:  # it says that the frame is filtered
                race.stands = (self._race.names.index(command.entrant),)
            self._close(race)

    def _close(self, race: _Race) -> None:
        """What was done for answers that did not stand is known now, but for those that come late."""
        race.over = True
        for entrant, nbytes in race.sent_bytes.items():
            if entrant not in race.stands:
                self._count["extra"] += nbytes
        for entrant, took in race.cloud_s.items():
            if entrant not in race.stands:
                self._seconds["wasted"] += took
        if race.twin_cpu_s >= 0.0 and self._twin not in race.stands:
            self._not_needed(race)

    def _not_needed(self, race: _Race) -> None:
        self._count["unneeded"] += 1
        self._seconds["extra"] += race.twin_cpu_s


def _standing(muster: Muster | None, entrant: int) -> tuple[str, int]:
    """Why it takes no part, and how many frames it missed by that."""
    if muster is None or entrant >= len(muster.without):
        return "", 0
    refusal = muster.absent.get(entrant)
    return "" if refusal is None else f"{refusal.code}: {refusal.text}", muster.without[entrant]
