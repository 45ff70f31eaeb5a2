"""The checker sees what it is meant to see: a good trace broken by hand breaks the rule in question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.simulation.checker import RULES, validate
from experiments.simulation.record import Broken, Cancelled, Folded, Handed, Kept, Record, Spurious, Trace
from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from experiments.simulation.simulate import simulate
from iot_client.outcome import Done, Dropped, Failed, Filtered
from wire.protocol import Error, State, Submit, Welcome

PLAN = Scenario(
    stages=(Stage(), Stage(device_ms=2, nbytes=500), Stage(device_ms=3, once=True), Stage(stateful=True, placement="device")),
    devices=(
        Device(k=2, frames=60, mode="lossless", window=1, network=Network(latency_ms=3)),
        Device(k=1, frames=60, mode="live", fps=40, max_age_ms=200, network=Network(latency_ms=3)),
    ),
    server=Server(workers=1), aggregate=True, spurious_ticks=5.0,
)
LOSSLESS, LIVE, SERVER = "device0", "device1", "server"

Records = list[Record]


@pytest.fixture(scope="module")
def good() -> Trace:
    """A run that keeps every promise."""
    trace = simulate(PLAN, 1)
    assert validate(trace) == []
    return trace


def find(records: Records, host: str, kind: type, matches: Callable[[Any], bool] = lambda what: True) -> int:
    """The index of the first such record."""
    return next(i for i, r in enumerate(records) if r.host == host and type(r.what) is kind and matches(r.what))


def change(records: Records, index: int, **fields: Any) -> None:
    """Give a record's struct other fields."""
    records[index] = records[index]._replace(what=msgspec.structs.replace(records[index].what, **fields))


def insert(records: Records, index: int, what: Any) -> None:
    """Put something in behind a record, at its time and host."""
    records.insert(index + 1, records[index]._replace(what=what))


def done(what: Any) -> bool:
    """A Deliver of a finished frame."""
    return type(what.outcome) is Done


def sends(kind: type) -> Callable[[Any], bool]:
    """A command that sends such a message."""
    return lambda what: type(what.message) is kind


def broken(r: Records) -> None:
    insert(r, 0, Broken("x"))


def capture(r: Records) -> None:
    change(r, find(r, LOSSLESS, iot.FrameCaptured), seq=7)


def camera(r: Records) -> None:
    del r[find(r, LIVE, iot.FrameCaptured, lambda what: what.seq == 5)]


def once(r: Records) -> None:
    index = find(r, LOSSLESS, iot.Deliver)
    insert(r, index, r[index].what)


def order(r: Records) -> None:
    first = find(r, LOSSLESS, iot.Deliver)
    second = find(r, LOSSLESS, iot.Deliver, lambda what: what.seq == 1)
    r[first], r[second] = r[second], r[first]


def release(r: Records) -> None:
    index = find(r, LOSSLESS, iot.Release)
    insert(r, index, r[index].what)


def conservation(r: Records) -> None:
    del r[find(r, LOSSLESS, iot.Deliver)]


def outcome(r: Records) -> None:
    change(r, find(r, LOSSLESS, iot.Deliver), outcome=Filtered(1))


def dropped(r: Records) -> None:
    change(r, find(r, LOSSLESS, iot.Deliver), outcome=Dropped("stale"))


def value(r: Records) -> None:
    index = find(r, LOSSLESS, Handed)
    device, seq, path = r[index].what.value
    change(r, index, value=(device, seq, path[:-1]))


def latency(r: Records) -> None:
    index = find(r, LOSSLESS, iot.Deliver)
    change(r, index, latency=r[index].what.latency + 0.001)


def age(r: Records) -> None:
    index = find(r, LIVE, iot.Deliver, done)
    change(r, index, latency=r[index].what.latency + 0.2)
    r[index] = r[index]._replace(at=r[index].at + 0.2)


def variant(r: Records) -> None:
    change(r, find(r, LOSSLESS, iot.Deliver), variant="another")


def late_submit(r: Records) -> None:
    sent = r[find(r, LOSSLESS, iot.SendMessage, sends(Submit))].what
    insert(r, find(r, LOSSLESS, iot.Deliver, lambda what: what.seq == sent.message.seq), sent)


def way(r: Records) -> None:
    index = find(r, LOSSLESS, iot.SendMessage, sends(Submit))
    change(r, index, message=msgspec.structs.replace(r[index].what.message, codec="jpeg:80"))


def credit(r: Records) -> None:
    index = find(r, LOSSLESS, iot.MessageReceived, sends(Welcome))
    change(r, index, message=msgspec.structs.replace(r[index].what.message, limit=499))
    for i, record in enumerate(r):
        if type(record.what) is iot.MessageReceived and hasattr(record.what.message, "limit"):
            change(r, i, message=msgspec.structs.replace(record.what.message, limit=499))


def window(r: Records) -> None:
    r[:] = [record for record in r if not (record.host == LOSSLESS and type(record.what) in (iot.Deliver, Handed))]


def state(r: Records) -> None:
    change(r, find(r, LOSSLESS, iot.RunStages, lambda what: what.stop == 4), ordered=False)


def owner(r: Records) -> None:
    index = find(r, LOSSLESS, iot.FrameCaptured)
    insert(r, index, iot.SendMessage(State(3, 1, 0), 0xD00000, 1, 0))
    insert(r, index, iot.ExportState(0, 3, 4))


def turn(r: Records) -> None:
    for seq, generation in ((0, 5), (1, 4)):
        index = find(r, SERVER, cloud.MessageReceived, lambda what: type(what.message) is Submit and what.message.seq == seq)  # noqa: B023
        change(r, index, message=msgspec.structs.replace(r[index].what.message, generation=generation))


def twin(r: Records) -> None:
    index = find(r, LOSSLESS, iot.SendMessage, sends(Submit))
    insert(r, index, iot.RunStages(r[index].what.message.seq, 2, 3))


def spurious(r: Records) -> None:
    tick = find(r, LOSSLESS, iot.SendMessage, lambda what: type(what.message).__name__ == "Ping") - 1
    insert(r, tick - 1, Spurious())
    r[tick] = r[tick]._replace(host=LOSSLESS)


def finished(r: Records) -> None:
    insert(r, find(r, LOSSLESS, iot.Finished), iot.Capture())


def dedup(r: Records) -> None:
    index = find(r, SERVER, cloud.RunBatch)
    insert(r, index, r[index].what)


def twice(r: Records) -> None:
    submitted = r[find(r, LOSSLESS, iot.SendMessage, sends(Submit))].what
    index = find(r, SERVER, cloud.RunBatch, lambda what: (submitted.session, submitted.message.seq) in what.jobs)
    insert(r, index, r[index].what)


def job(r: Records) -> None:
    change(r, find(r, SERVER, cloud.RunBatch), inputs=(4711,))


def fold(r: Records) -> None:
    index = find(r, SERVER, cloud.Fold)
    insert(r, index + 1, r[index].what)


def report(r: Records) -> None:
    del r[find(r, SERVER, Folded)]


def memory(r: Records) -> None:
    big = find(r, SERVER, cloud.MessageReceived, sends(Submit))
    change(r, big, nbytes=40 * 2**20)
    second = find(r, SERVER, cloud.MessageReceived, lambda what: what.session == r[big].what.session and what is not r[big].what)
    r.insert(second, r.pop(big))


def blame(r: Records) -> None:
    change(r, find(r, LIVE, iot.Deliver, done), outcome=Failed(1, "worker died"))


def refusal(r: Records) -> None:
    index = find(r, SERVER, cloud.SendMessage)
    change(r, index, message=Error("protocol", "x"))


def cancel(r: Records) -> None:
    change(r, find(r, SERVER, Cancelled), while_running=9)


def workers(r: Records) -> None:
    r[:] = [record for record in r if type(record.what) is not cloud.BatchDone]


def leak(r: Records) -> None:
    change(r, find(r, SERVER, Kept), items={"inputs": [1], "results": []})


BREAKS: dict[str, Callable[[Records], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        broken, capture, camera, once, order, release, conservation, outcome, dropped, value, latency, age, variant, late_submit,
        way, credit, window, state, owner, turn, twin, spurious, finished, dedup, twice, job, fold, report, blame, memory, refusal,
        cancel, workers, leak,
    )
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_can_fire(rule: str, good: Trace) -> None:
    """The trace with this rule broken by hand is found out, by this rule."""
    records = list(good.records)
    BREAKS[rule](records)
    found = validate(Trace(good.scenario, good.seed, records))
    assert any(problem.split(": ")[1] == rule for problem in found), found


def test_every_break_is_a_rule() -> None:
    """The rules and the ways to break them are the same list."""
    assert BREAKS.keys() == RULES.keys()
