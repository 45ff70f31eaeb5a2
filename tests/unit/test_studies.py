"""Frames that teach: few, cheap, and enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.moving import WAYS, World, decision, known, ways

from iot_client.splitting.goal import Goal
from iot_client.splitting.policy import Heading
from iot_client.splitting.profile import Profile
from iot_client.splitting.split import SplitDecision
from iot_client.splitting.studies import Studies


def studied(studies: Studies, held: SplitDecision, frames: int) -> list[Heading]:
    """The studies among so many frames."""
    return [heading for _ in range(frames) if (heading := studies.next(held)) is not None]


@given(st.floats(1e-4, 0.5), st.floats(1e-4, 0.2), st.sampled_from([1, 2, 3, 4]))
def test_at_most_two_in_a_hundred_go_another_way(usual: float, cost: float, k: int) -> None:
    """Whatever stages cost and frames do."""
    studies = Studies(known(cpu=cost), 1)
    held = decision(k, "raw" if k < 4 else "", cpu=usual)
    assert len(studied(studies, held, 1000)) <= 1000 * 0.021


@given(st.floats(1e-4, 0.05), st.floats(1e-4, 0.5))
def test_detours_take_a_bounded_part_of_the_cpu(usual: float, cost: float) -> None:
    """Where all stages here cost far more than a frame does, studies of the device are rarer still."""
    studies = Studies(known(cpu=cost), 1)
    here = [heading for heading in studied(studies, decision(1, cpu=usual), 5_000) if heading.k == 4]
    detours = max(0.0, 4 * cost - usual) * (len(here) - 1)  # the first one has to be
    assert detours <= 0.021 * 5_000 * usual


@pytest.mark.parametrize("bottleneck", ["link", "mbit budget"])
def test_a_link_that_binds_carries_no_studies_of_the_server(bottleneck: str) -> None:
    """A frame sent early is then one that queues; studies on the device go on."""
    studies = Studies(known(), 1)
    found = studied(studies, decision(3, bottleneck=bottleneck), 1000)
    assert found and all(heading.k == 4 for heading in found)
    assert any(heading.k == 1 for heading in studied(Studies(known(), 1), decision(3), 1000))


def test_what_is_in_use_is_not_studied_there() -> None:
    """If frames go by the fewest stages anyway, each one is a study of the server."""
    assert all(heading.k == 4 for heading in studied(Studies(known(), 1), decision(1), 1000))


def test_a_study_takes_every_stage_here_and_looks_at_cuts_in_turn() -> None:
    """A few encodings each, all of them after a while; PNG where it is not too dear."""
    profile = known(keys=ways(4, "raw", "bits", "png", "jpeg:90", "jpeg:70", "jpeg:50"))
    headings = studied(Studies(profile, 1), decision(3), 6000)
    here = [heading for heading in headings if heading.k == 4]
    assert all(heading.study is not None and len(heading.study) <= 2 for heading in here)
    seen = {way for heading in here for way in heading.study or ()}
    assert {(k, "bits") for k in (1, 2, 3)} <= seen
    for k in (1, 2, 3):
        assert len([codec for at, codec in seen if at == k and codec.startswith("jpeg")]) == 1  # the others follow from it


def test_raw_sizes_not_known_are_all_looked_at() -> None:
    """They cost nothing."""
    heading = Studies(Profile(4, 4, 1, WAYS), 1).first()
    assert heading.k == 4 and set(heading.study or ()) >= {(1, "raw"), (2, "raw"), (3, "raw")}


def test_floats_in_8_bits_are_looked_at_at_once_and_16_bits_only_where_those_paid() -> None:
    """One study prices int8 at every cut; where it makes nothing smaller neither form is tried again."""
    keys = (*((k, codec, quality) for k in (1, 2, 3) for codec, quality in (("raw", 100), ("fp16", 99), ("int8", 90))), (4, "", 100))
    profile = known(keys=keys)
    studies = Studies(profile, 1)
    assert set(studies.first().study or ()) >= {(1, "int8"), (2, "int8"), (3, "int8")}
    for k, share in ((1, 1.0), (2, 0.15), (3, 0.15)):
        profile.sizes.encoded(k, "int8", int(share * profile.sizes.measured[k, "raw"].nbytes), 1e-3)
    tried = {way for heading in studied(studies, decision(3), 6000) for way in heading.study or ()}
    assert tried == {(2, "int8"), (3, "int8"), (2, "fp16"), (3, "fp16")}


def test_a_link_of_unknown_rate_is_asked_for_floats_in_8_bits() -> None:
    """As for a JPEG: the smallest form first."""
    studies = Studies(Profile(4, 4, 1, ((1, "raw", 100), (1, "fp16", 99), (1, "int8", 90), (4, "", 100))), 1)
    assert {heading.codec for heading in (studies.first() for _ in range(6)) if heading.k < 4} == {"int8"}


def test_before_a_decision_both_sides_are_studied_and_the_split_asked_for_is_used() -> None:
    """In the first dozen frames: all here, the fewest here, and k."""
    studies = Studies(Profile(4, 4, 1, WAYS), 2)
    headings = [studies.first() for _ in range(12)]
    assert {heading.k for heading in headings} == {1, 2, 4}
    assert sum(heading.study is None for heading in headings) >= 3


def test_a_link_of_unknown_rate_is_asked_little_first() -> None:
    """Where a JPEG is a way, studies of the server and the first frames go as the smallest."""
    profile = Profile(4, 4, 1, ways(4, "raw", "jpeg:90", "jpeg:50"))
    studies = Studies(profile, 1)
    headings = [studies.first() for _ in range(6)]
    assert {heading.codec for heading in headings if heading.k < 4} == {"jpeg:50"}


def test_an_app_that_can_only_run_here_is_not_sent() -> None:
    """With all local as the only way nothing is studied elsewhere, and that is enough."""
    profile = Profile(4, 4, 1, ((4, "", 100),))
    studies = Studies(profile, 4)
    assert {studies.first().k for _ in range(12)} == {4}
    profile.ran(0, (0.01,) * 4, "done", 0.04, 0.0, (0.01,) * 4)
    assert studies.enough()


def test_in_a_run_studies_are_few_and_prices_stay() -> None:
    """Over a virtual minute at most one frame in forty is a study, and what changes on the server unused is noticed."""
    world = World(goal=Goal(fps=15)).run(30.0)
    world.server = (0.0, 0.04, 0.02, 0.004)
    world.run(60.0)
    late = [heading for at, heading in world.headings if at > 110.0]
    assert sum(heading.study is not None for heading in late) <= len(late) / 40
    assert world.auto.profile.server_s[1] > 0.01
