"""Did a run of races keep what docs/speculation.md promises? Written against the rules, sharing no code with the machines."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import get_args

import iot_client.events as iot
from experiments.racing.check import RaceCheck
from experiments.racing.device import Offered
from experiments.racing.world import RaceTrace
from experiments.simulation.cancel_check import CancelCheck
from experiments.simulation.record import Broken, Handed, Hung, Kept, Record, Spurious

__all__ = ["RULES", "check_race"]

RULES = {
    "broken": "no machine raises, asks for the impossible, or never ends",
    "once": "exactly one Deliver for each frame, in order, and as soon as those before it have theirs",
    "verdict": "each race ends when and as the rules say: the preferred answer the moment it comes, at the deadline the best there is",
    "late": "no answer is late where one existed at the deadline, and none is marked late that is not",
    "overtaken": "a late frame is given up when a later answer's deadline is reached, in live mode, and never else",
    "value": "the user gets the value of the entrant that is named; the stage behind sees each frame once, in order",
    "cancel": "at the verdict whoever has the job still is told to stop, unless late answers are of use",
    "withdraw": "what is cancelled leaves a server's queue and does not run, or is counted as wasted if it does",
    "lineup": "nothing is sent to a cloud whose server cannot run it; a server that can in its next life is asked again",
    "offer": "on_late gets each cloud's value that comes after the verdict, once, and no other",
    "release": "one Release for each frame, after its Deliver",
    "spurious": "a Tick nobody asked for changes nothing",
    "leak": "nothing is kept at the end, here or at a server",
}
"""Name -> claim."""

_EVENTS, _COMMANDS = get_args(iot.Event), get_args(iot.Command)


def check_race(trace: RaceTrace) -> tuple[list[str], Counter[str]]:
    """Every violation found, as "rule: when: what was seen", and what happened, by name."""
    check = RaceCheck(trace)
    cancels = {f"server{rank}": CancelCheck(partial(check.problem, "withdraw")) for rank in range(len(trace.plan.clouds))}
    turn: list[Record] = []
    for record in trace.records:
        what = record.what
        if type(what) in (Broken, Kept):
            _kept(check, record)
        if record.host in cancels:
            cancels[record.host].see(what)
        if record.host != "device0":
            continue
        if type(what) in _EVENTS or type(what) is Spurious:
            _turn(check, turn)
            turn = []
        turn.append(record)
    _turn(check, turn)
    check.conclude()
    return check.problems, sum((each.seen for each in cancels.values()), check.seen)


def _kept(check: RaceCheck, record: Record) -> None:
    if isinstance(record.what, Broken):
        check.problem("broken", f"{record.host}: {record.what.text}")
    elif any(record.what.items.values()):
        check.problem("leak", f"{record.host}: {record.what.items}")


def _turn(check: RaceCheck, records: list[Record]) -> None:
    """One event's records: itself first, then what the machine answered, and what the body notes of it."""
    if not records:
        return
    if type(records[0].what) is Spurious:
        check.spurious()
        return
    event = records[0].what if type(records[0].what) in _EVENTS else None
    commands = [record.what for record in records if type(record.what) in _COMMANDS]
    check.hung = check.hung or any(type(record.what) is Hung for record in records)
    check.turn(event, records[0].now, commands)
    for record in records:
        if type(record.what) is Handed:
            check.handed(record.what)
        elif type(record.what) is Offered:
            check.offered_value(record.what)
