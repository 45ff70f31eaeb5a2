"""Jobs of one app that are made with different variants: kept apart, known apart, and refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.server import APP, ServerUnderTest, answers, serving

from cloud_server.events import RunBatch, SendMessage
from wire.protocol import Result

VARIED = replace(APP, batched=(False, True, True), variants=("small", "large"), accuracies=(0.4, 0.6), varies=(False, True, False))


def server(**options: Any) -> ServerUnderTest:
    """One worker that takes one batch at a time, and has one of frame 0 with the small variant."""
    made = ServerUnderTest(VARIED, depth=1, **options)
    made.connect(0.0)
    made.submits(0, 1.0, variant="small")
    return made


def runs(commands: list[Any]) -> list[tuple[tuple[int, ...], str]]:
    """The seqs and the variant of each batch begun."""
    return [(tuple(seq for _, seq in each.jobs), each.variant) for each in commands if isinstance(each, RunBatch)]


def test_a_batch_is_of_one_variant() -> None:
    """Jobs that are alike but for their variant run one after the other; those with the same run together."""
    one = server()
    one.connect(0.5, session=8, peer=b"M", device="other")
    for seq, variant in ((1, "large"), (2, "small")):
        one.submits(seq, 1.1, variant=variant)
        one.submits(seq, 1.2, variant=variant, session=8, peer=b"M")
    assert runs(one.done(0, 2.0)) == [((1, 1), "large")]
    assert runs(one.done(1, 3.0)) == [((2, 2), "small")]


def test_a_job_that_names_no_variant_has_the_first() -> None:
    """What a device of an older minor sends runs with the first variant, in one batch with those who name it."""
    one = server()
    one.submits(1, 1.1)
    one.submits(2, 1.2, variant="small")
    assert runs(one.done(0, 2.0)) == [((1, 2), "small")]


def test_an_unknown_variant_fails_in_words() -> None:
    """The answer names it and those there are; of an app without variants, that it has none."""
    assert answers(server().submits(1, 1.0, variant="tiny")) == [(1, "failed", "variant 'tiny': app 'app' has small, large here")]
    assert answers(serving().submits(0, 1.0, variant="small")) == [(0, "failed", "variant 'small': app 'app' has none here")]


def test_what_is_known_of_a_variant_is_of_it_alone() -> None:
    """The small variant takes 0.1 s; a job with the large one, of which nothing is known, is tried where that would be too late."""
    one = server()
    one.done(0, 1.5, times=(0.05, 0.05))
    assert runs(one.submits(1, 1.6, budget=0.09, stamp=0.6, variant="large")) == [((1,), "large")]
    one.done(1, 1.7)
    assert answers(one.submits(2, 1.8, budget=0.09, stamp=0.8, variant="small")) == [(2, "dropped", "late on arrival")]


@pytest.mark.parametrize("planned", ["", "large"])
def test_every_answer_says_what_is_planned(planned: str) -> None:
    """RESULT has the variant to use from now on, whether its job ran or not, and whatever it ran with."""
    one = server()
    one.machine.sessions[7].planned = planned
    one.submits(1, 1.1, budget=0.0)
    said = [each.message for each in one.done(0, 2.0) if isinstance(each, SendMessage) and isinstance(each.message, Result)]
    assert [(message.seq, message.outcome, message.variant) for message in said] == [(0, "done", planned), (1, "dropped", planned)]


def test_an_answer_said_again_says_what_is_planned_now() -> None:
    """A device that comes back is not sent back to an older plan by the answers that wait for it."""
    one = server()
    one.machine.sessions[7].planned = "small"
    one.done(0, 2.0)
    one.machine.sessions[7].planned = "large"
    [again] = [each.message for each in one.submits(0, 3.0, variant="small") if isinstance(each, SendMessage)]
    assert isinstance(again, Result) and (again.seq, again.variant) == (0, "large")
