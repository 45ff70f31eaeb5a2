"""Apps with a race at the server: what it runs, for whom, what it loads ahead, and one share for one device."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cloud_server.events import BatchDone, Fold, JobDone, MakePlan, Preload, RunBatch, SendMessage
from cloud_server.executors.seam import app_info
from cloud_server.sessions import Session
from cloud_server.shares.demand import Demand
from cloud_server.shares.memory import Memory
from tests.unit.races import Count, Named, raced
from tests.unit.server import APP, HELLO, SESSION, ServerUnderTest, answers
from wire.protocol import Bye, Result, Welcome

RACED = replace(
    APP, variants=("local", "cloud", "cloud2"), accuracies=(0.0, 0.0, 0.0), varies=(False, False, True), race=2,
    batches=(False, True, False), unfit=("it runs on devices", "", ""),
)
RIVAL, OTHER = SESSION + 1, SESSION + 2


def server(*variants: str, **options: Any) -> ServerUnderTest:
    """A device with a session for each of these alternatives."""
    made = ServerUnderTest(RACED, **options)
    for index, variant in enumerate(variants):
        made.connect(0.0, session=SESSION + index, peer=b"%d" % index, variant=variant)
    return made


def runs(commands: list[Any]) -> list[tuple[int, str]]:
    """The session of the first job and the variant of each batch begun."""
    return [(each.jobs[0][0], each.variant) for each in commands if isinstance(each, RunBatch)]


def test_what_a_server_is_told_of_a_race() -> None:
    """It runs nothing behind the race and not local; of each alternative it knows whether it is batched and why it does not run."""
    clouds = Named("l", run_batch=list), [Named("a"), Named("b")], Named("c", requires=("gone",))
    app = raced(Named("draw"), Count(), local=Named("s", run_batch=list), cloud=clouds)
    info = app_info(app)
    assert (info.race, info.here, info.lacks, info.planned) == (2, (False, True, True, False, False), (), False)
    assert info.batches == (True, True, False, False)
    assert info.unfit == ("it runs on devices", "", "", "it needs gone, missing on the server")
    assert [info.batches_at(1, 3, name) for name in info.variants] == [True, True, False, False] and not info.batches_at(1, 2, "cloud")
    assert (info.variant(), info.variant("", "cloud2"), info.variant("cloud3", "cloud")) == ("cloud", "cloud2", "cloud3")
    none = app_info(raced(cloud=Named("c", requires=("gone",))))
    assert (none.lacks, none.here[2]) == ((2,), False)


def test_a_job_runs_its_alternative() -> None:
    """That of the SUBMIT, else that of the HELLO, else the first cloud; local is refused in words, as is one that cannot run here."""
    one = server("cloud2", depth=1)
    assert runs(one.submits(0, 1.0, peer=b"0")) == [(SESSION, "cloud2")]
    one.submits(1, 1.0, peer=b"0", variant="cloud")
    assert runs(one.done(0, 1.1)) == [(SESSION, "cloud")]
    assert answers(one.submits(2, 1.2, peer=b"0", variant="local")) == [(2, "failed", "variant 'local': it runs on devices")]
    bare = server("")
    assert runs(bare.submits(0, 1.0, peer=b"0")) == [(SESSION, "cloud")]


def test_an_alternative_that_cannot_run_here_is_a_stage_that_is_lacking() -> None:
    """WELCOME says so, and why, to the session whose HELLO asks for it, and to no other."""
    one = ServerUnderTest(replace(RACED, unfit=("it runs on devices", "", "it needs torch, missing on the server")))
    lacks = []
    for index, variant in enumerate(("cloud", "cloud2", "")):
        said = one.connect(0.0, session=SESSION + index, peer=b"%d" % index, variant=variant)
        welcomes = [each.message for each in said if isinstance(each, SendMessage) and isinstance(each.message, Welcome)]
        lacks += [(message.lacks, message.warning) for message in welcomes]
    warning = "this server cannot run variant 'cloud2': it needs torch, missing on the server"
    assert lacks == [((), ""), ((2,), warning), ((), "")]
    assert "needs torch" in answers(one.submits(0, 1.0, session=RIVAL, peer=b"1"))[0][2]


def test_workers_load_what_sessions_ask_for() -> None:
    """Each HELLO with a new alternative has all workers load it, what most ask for first; nothing twice, local never."""
    one = ServerUnderTest(RACED, workers=2)

    def loads(number: int, variant: str) -> list[tuple[int, tuple[str, ...]]]:
        said = one.connect(0.0, session=number, peer=b"%d" % number, variant=variant)
        return [(each.worker, each.variants) for each in said if isinstance(each, Preload)]

    assert loads(1, "cloud2") == [(0, ("cloud2",)), (1, ("cloud2",))]
    assert loads(2, "cloud2") == [] and loads(3, "") == [] and loads(4, "local") == []
    assert loads(5, "cloud")[0] == (0, ("cloud2", "cloud"))


def test_workers_of_a_shipped_app_load_what_its_session_asks_for() -> None:
    """They are told when it says HELLO, each of them; what is told of apps whose sessions ended is forgotten."""
    demand, memory = Demand(4, shipped=2), Memory(1000, 100, 100)
    session = Session(7, replace(HELLO, bundle="b" * 64, variant="cloud2"), b"0", 0.0, memory)
    assert [(each.worker, each.app, each.variants) for each in demand.heard(session, RACED, {7: session})] == [
        (0, "app#7", ("cloud2",)), (1, "app#7", ("cloud2",)),
    ]
    other = Session(8, replace(HELLO, variant="cloud"), b"1", 0.0, memory)
    assert len(demand.heard(other, RACED, {8: other})) == 4 and len(demand.heard(session, RACED, {7: session})) == 2


def test_races_are_not_planned() -> None:
    """Their devices choose: with nothing else to plan no plan is ever asked for."""
    one = server("cloud")
    assert not one.machine.plans.on
    both = ServerUnderTest(RACED, replace(APP, name="b", variants=("s", "l"), accuracies=(0.4, 0.6), varies=(False, True, False)))
    both.connect(0.0, peer=b"0", variant="cloud")
    assert both.machine.plans.on and not any(isinstance(each, MakePlan) for each in both.submits(0, 1.0, peer=b"0") + both.tick(2.0))
    assert not both.machine.plans.uplinks


def test_answers_of_a_race_are_not_stored_as_final_values() -> None:
    """With --record too: which of them stands is for the device to say."""
    one = server("cloud", record=True)
    one.submits(0, 1.0, peer=b"0")
    assert not any(isinstance(each, Fold) for each in one.done(0, 1.1))


def test_two_sessions_of_one_device_live_side_by_side() -> None:
    """Each has its own jobs, dedup, credit and end; what one cancels or leaves is nothing to the other."""
    one = server("cloud", "cloud2", workers=2)
    assert runs(one.submits(0, 1.0, peer=b"0") + one.submits(0, 1.0, session=RIVAL, peer=b"1")) == [(SESSION, "cloud"), (RIVAL, "cloud2")]
    said = [each for each in one.done(1, 1.1) if isinstance(each, SendMessage) and isinstance(each.message, Result)]
    assert [(each.session, each.peer) for each in said] == [(RIVAL, b"1")]
    one.gone(1.2, b"1")
    assert one.machine.sessions[SESSION].peer == b"0" and one.machine.sessions[RIVAL].peer is None
    one.connect(1.3, session=RIVAL, peer=b"2", variant="cloud2")
    assert answers(one.done(0, 1.4)) == [(0, "done", "")] and len(one.machine.sessions) == 2


def test_a_device_with_two_sessions_has_one_share() -> None:
    """Beside a device with one session, both with jobs all the time, it gets half of the worker, not two thirds."""
    one = server("cloud", "cloud2", depth=1, max_batch=1)
    one.connect(0.0, session=OTHER, peer=b"o", device="other", variant="cloud")
    links = {SESSION: b"0", RIVAL: b"1", OTHER: b"o"}
    begun = []
    for seq in range(3):
        for session, peer in links.items():
            begun += runs(one.submits(seq, 1.0, session=session, peer=peer))
    for batch in range(8):
        begun += runs(one.done(batch, 2.0 + batch))
    behind = [session for session, _ in begun[1:7]]  # the first came when nobody else had asked
    assert behind.count(OTHER) == 3 and set(behind) == set(links)


def test_a_device_with_two_sessions_has_one_share_of_the_memory() -> None:
    """It counts as one device: where one session has it all the other may have an even part, and when one ends the other has it all."""
    one = server("cloud", "cloud2")
    memory, (mine, its) = one.machine.memory, [one.machine.sessions[session].account for session in (SESSION, RIVAL)]
    assert memory.live == 1 and mine.charge == memory.share and its.share == memory.share // 2
    one.hears(Bye("bye"), 1.0, session=SESSION, peer=b"0")
    assert memory.live == 1 and its.share == memory.share


@pytest.mark.parametrize("apart", [{"device": "other"}, {"variant": "cloud"}])
def test_two_devices_have_two_shares(apart: dict[str, str]) -> None:
    """Another name is another device, and so is the same name with the same alternative; who leaves is no sibling any more."""
    one = server("cloud")
    one.connect(0.0, session=RIVAL, peer=b"1", **{"variant": "cloud2", **apart})
    assert one.machine.sessions[SESSION].siblings == ()
    one.connect(0.0, session=OTHER, peer=b"2", variant="cloud3")
    assert one.machine.sessions[OTHER] in one.machine.sessions[SESSION].siblings
    one.hears(Bye("bye"), 1.0, session=OTHER, peer=b"2")
    assert one.machine.sessions[SESSION].siblings == ()


def test_a_batch_is_of_one_alternative_and_only_where_that_is_batched() -> None:
    """Jobs of a batched alternative run together, those of another one by one."""
    one = server("cloud", "cloud2", depth=1)
    one.submits(0, 1.0, peer=b"0")
    for seq in (1, 2):
        one.submits(seq, 1.0, peer=b"0")
        one.submits(seq, 1.0, session=RIVAL, peer=b"1")
    sizes = []
    for number in range(1, 4):
        commands = one.handle(BatchDone(number - 1, tuple(
            JobDone(session, seq, "filtered", 2) for session, seq in one._batches[number - 1].jobs), (0.01, 0.02)), 1.0 + number)
        sizes += [(each.variant, len(each.jobs)) for each in commands if isinstance(each, RunBatch)]
    assert sorted(sizes) == [("cloud", 2), ("cloud2", 1), ("cloud2", 1)]


def test_a_race_is_run_for_where_it_is_in_time_in_the_mean() -> None:
    """Of five answers four take 50 ms and one 300: with 90 ms left a job of a race runs, for its device has an answer of its own."""
    for app, reasons in ((RACED, []), (replace(RACED, race=-1), ["late on arrival"])):
        one = ServerUnderTest(app, depth=1)
        one.connect(0.0, variant="cloud")
        now = 0.0
        for seq in range(43):
            now += 1.0
            took = 0.3 if seq % 5 == 4 else 0.05
            one.submits(seq, now)
            one.done(seq, now + took, times=(took,))
        found = answers(one.submits(43, now + 0.8, budget=0.090, stamp=now - 0.2))
        assert [reason for _, _, reason in found] == reasons
