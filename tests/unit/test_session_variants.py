"""A frame is made with one variant, from its first stage to its outcome; what new ones are made with follows the server's plan."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import LIMIT, Device, at_server, run, served, without_permits

from iot_client.events import Command, Deliver, LinkDown, LinkUp, LoadVariant, Note, RunStages, SendMessage, VariantReady
from iot_client.outcome import Done
from wire.protocol import MINOR, Plan, Submit, Welcome

NAMES = ("small", "large", "huge")


def device(**options: Any) -> Device:
    """One that is welcomed and has three variants; stage 1 varies."""
    return served(variants=NAMES, varies=(False, True, False), **options)


def made(commands: list[Command]) -> list[tuple[int, str]]:
    """Seq and variant of whatever runs, leaves or is delivered."""
    found = []
    for command in commands:
        if isinstance(command, (RunStages, Deliver)):
            found.append((command.seq, command.variant))
        elif isinstance(command, SendMessage) and isinstance(command.message, Submit):
            found.append((command.message.seq, command.message.variant))
    return found


def loads(commands: list[Command]) -> list[str]:
    """The variants that are to be loaded."""
    return [command.variant for command in commands if isinstance(command, LoadVariant)]


def notes(commands: list[Command]) -> list[str]:
    """What a person is told."""
    return [command.text for command in commands if isinstance(command, Note)]


def test_without_a_plan_the_first_variant_is_used() -> None:
    """It stands in the run, the SUBMIT and the outcome."""
    one = device()
    assert made(one.capture(1.0)) == [(0, "small")]
    assert made(one.ran(0, 0, 1, 1.1)) == [(0, "small")]
    assert made(one.answered(0, 1.2)) == [(0, "small")]


@pytest.mark.parametrize("by", ["plan", "result"])
def test_a_planned_variant_is_loaded_then_used_for_new_frames(by: str) -> None:
    """PLAN or RESULT ask for it; frames go on as before until it is loaded, and what has begun keeps its own to the end."""
    one = device()
    one.capture(1.0)
    one.ran(0, 0, 1, 1.1)
    if by == "plan":
        assert loads(one.hears(Plan("large", 1e9), 1.2)) == ["large"]
        assert loads(one.hears(Plan("large", 1e9), 1.25)) == []
    else:
        assert loads(one.answered(0, 1.2, variant="large")) == ["large"]
    assert made(one.capture(1.3)) == [(1, "small")]
    assert without_permits(one.handle(VariantReady("large"), 1.4)) == []
    assert made(one.capture(1.5)) == [(2, "large")]
    assert made(one.ran(1, 0, 1, 1.6)) == [(1, "small")]
    assert made(one.ran(2, 0, 1, 1.7)) == [(2, "large")]
    assert made(one.answered(1, 1.8, variant="large")) == ([] if by == "plan" else [(1, "small")])


def test_a_twin_has_its_frames_variant() -> None:
    """The plan changed since it left: what runs here instead of the server is what the server would have run."""
    one = device()
    one.capture(1.0)
    one.ran(0, 0, 1, 1.1)
    one.hears(Plan("large", 1e9), 1.2)
    one.handle(VariantReady("large"), 1.3)
    twins = [each for each in one.handle(LinkDown(0, "cut"), 1.4) if isinstance(each, RunStages)]
    assert [(twin.seq, twin.start, twin.variant) for twin in twins] == [(0, 1, "small")]


def test_a_plan_taken_back_while_it_loads_changes_nothing() -> None:
    """What is ready too late is not used."""
    one = device()
    assert loads(one.hears(Plan("large", 1e9), 1.0)) == ["large"]
    assert loads(one.hears(Plan("small", 1e9), 1.1)) == []
    one.handle(VariantReady("large"), 1.2)
    assert made(one.capture(1.3)) == [(0, "small")]


def test_a_variant_that_cannot_be_loaded_is_not_used_and_told_once() -> None:
    """Frames go on with the one before."""
    one = device()
    one.hears(Plan("huge", 1e9), 1.0)
    [text] = notes(one.handle(VariantReady("huge", "stage 'a' cannot load variant 'huge': no file"), 1.1))
    assert text == "variant 'huge' cannot be used here: stage 'a' cannot load variant 'huge': no file; going on with 'small'"
    assert (loads(one.hears(Plan("huge", 1e9), 1.2)), made(one.capture(1.3))) == ([], [(0, "small")])


def test_without_a_link_the_first_variant_is_used_again() -> None:
    """A device on its own has no plan; when the session is resumed the plan holds again, after a new one it does not."""
    one = device()
    one.hears(Plan("large", 1e9), 1.0)
    one.handle(VariantReady("large"), 1.1)
    assert loads(one.handle(LinkDown(0, "cut"), 2.0)) == ["small"]
    one.handle(VariantReady("small"), 2.1)
    one.handle(LinkUp(), 3.0)
    assert loads(one.hears(Welcome(MINOR, "server", LIMIT, 500, 500_000, 60_000_000, resumed=True), 3.1)) == ["large"]
    one.handle(VariantReady("large"), 3.2)
    one.handle(LinkDown(0, "cut"), 4.0)
    one.handle(VariantReady("small"), 4.1)
    one.handle(LinkUp(), 5.0)
    assert loads(one.hears(Welcome(MINOR, "server", LIMIT, 500, 500_000, 60_000_000), 5.1)) == []
    assert made(one.capture(5.2)) == [(0, "small")]


@pytest.mark.parametrize("name", ["tiny", ""])
def test_a_plan_the_app_does_not_know_means_the_first(name: str) -> None:
    """A name from elsewhere is no reason to stop."""
    one = device()
    assert loads(one.hears(Plan(name, 1e9), 1.0)) == []
    assert made(one.capture(1.1)) == [(0, "small")]


def test_a_variant_fixed_by_hand_stays() -> None:
    """No plan, answer or cut of the link changes it."""
    one = device(variant="huge")
    assert made(one.capture(1.0)) == [(0, "huge")]
    assert loads(one.hears(Plan("large", 1e9), 1.1)) == []
    assert loads(one.ran(0, 0, 1, 1.2) + one.answered(0, 1.3, variant="small") + one.handle(LinkDown(0, "cut"), 1.4)) == []
    assert made(one.capture(1.5)) == [(1, "huge")]


@pytest.mark.parametrize("fixed", ["", "huge"])
def test_an_older_server_runs_with_the_first(fixed: str) -> None:
    """It would not know what SUBMIT names, so frames are made with what it does run; a choice by hand is taken back, in words."""
    one = Device(variants=NAMES, varies=(False, True, False), variant=fixed)
    one.handle(LinkUp(), 0.0)
    commands = one.hears(Welcome(2, "server", LIMIT, 500, 500_000, 60_000_000), 0.1)
    assert loads(commands) == (["small"] if fixed else [])
    told = "the server speaks 1.2, which knows no variants: frames are made with 'small', not with 'huge'"
    assert (told in notes(commands)) == bool(fixed)
    if fixed:
        one.handle(VariantReady("small"), 0.2)
    assert made(one.capture(1.0)) == [(0, "small")]


def test_an_app_without_variants_names_none() -> None:
    """Whatever a server says."""
    one = at_server(served())
    assert loads(one.hears(Plan("large", 0.5), 1.0)) == []
    one.answered(0, 1.1, variant="large")
    assert one.outcomes == [Done("cloud")]
    assert run(1, 0, 1, encode=True) in one.capture(1.2)
