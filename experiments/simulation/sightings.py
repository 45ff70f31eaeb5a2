"""What happened in a trace, counted by name: proves that a thousand seeds visit what they are meant to."""

from __future__ import annotations

from collections import Counter

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.simulation.death_check import DIED
from experiments.simulation.record import Died, Folded, Hung, Spurious, Started, Trace
from iot_client.outcome import Done, Dropped
from wire.protocol import Error, Result, Skip, State, Submit, Welcome

__all__ = ["sightings"]

_NAMED: dict[type, str] = {
    Died: "died", Hung: "hung", Spurious: "spurious tick", Folded: "folded", iot.LinkDown: "link down", iot.Reopen: "reopened",
    iot.StopRequested: "stopped", cloud.PeerGone: "peer gone", iot.SplitRequested: "split asked for",
    iot.Garbled: "unreadable here",
    iot.ImportState: "state came home", iot.KeepState: "copy kept", iot.VariantReady: "variant loaded",
}


def sightings(trace: Trace) -> Counter[str]:
    """How often each thing happened."""
    seen: Counter[str] = Counter()
    submitted: set[tuple[str, int]] = set()
    for _, host, what, _ in trace.records:
        kind = type(what)
        if kind in _NAMED:
            seen[_NAMED[kind]] += 1
        elif kind is Started:
            seen["restarted"] += what.epoch > 1
        elif kind is iot.SendMessage:
            _sent(host, what, submitted, seen)
        elif kind is iot.RunStages:
            seen["replayed here"] += what.replay
            seen["run from a later stage"] += what.start > 0
            seen["run with a variant planned"] += what.variant not in ("", "small")
            seen["ordered"] += what.ordered
        elif kind is iot.Deliver:
            _delivered(trace, int(host.removeprefix("device")), what, seen)
        elif kind is cloud.SendMessage:
            _answered(what, seen)
        elif kind is iot.MessageReceived or kind is cloud.MessageReceived:
            seen["damaged here" if kind is iot.MessageReceived else "damaged at the server"] += what.damaged
            seen["unreadable at the server"] += type(what.message) is Error and not what.session
        elif kind is cloud.BatchDone:
            seen["worker died"] += any(job.error.startswith(DIED) for job in what.jobs)
            seen["tried again"] += sum(job.kind == "again" for job in what.jobs)
        elif kind is cloud.RunBatch:
            seen["batched"] += len(what.jobs) > 1
            seen["served with a variant planned"] += what.variant not in ("", "small")
        elif kind is cloud.Note:
            seen["lease over"] += "silent" in what.text
    return seen


def _sent(host: str, what: iot.SendMessage, submitted: set[tuple[str, int]], seen: Counter[str]) -> None:
    if type(what.message) is Submit:
        seen["submitted"] += 1
        seen["resent"] += (host, what.message.seq) in submitted
        submitted.add((host, what.message.seq))
        seen["submitted with state"] += what.message.generation > 0
    elif type(what.message) is State:
        seen["state handed over" if what.payload >= 0 else "copy asked for"] += 1
    elif type(what.message) is Skip:
        seen["skipped"] += 1


def _delivered(trace: Trace, number: int, what: iot.Deliver, seen: Counter[str]) -> None:
    outcome = what.outcome
    if type(outcome) is Dropped:
        seen[f"dropped {outcome.reason}"] += 1
    else:
        seen[type(outcome).__name__.lower()] += 1
    if type(outcome) is Done:
        seen[f"done {outcome.where}"] += 1
        fell_back = outcome.where == "device" and trace.scenario.devices[number].online and what.split < trace.scenario.n
        seen["twin delivered"] += fell_back


def _answered(what: cloud.SendMessage, seen: Counter[str]) -> None:
    message = what.message
    if type(message) is Welcome:
        seen["welcomed"] += 1
        seen["resumed"] += message.resumed
    elif type(message) is Error:
        seen[f"refused {message.code}"] += 1
    elif type(message) is Result and message.outcome == "dropped":
        seen[f"shed {message.reason.split(':')[0]}"] += 1
