"""Where an automatic split may be when state moves with it: the regions of an app, and what is worth a move between them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.moving import decision

from iot_client.servers.hosts import Host
from iot_client.splitting.goal import Goal
from iot_client.splitting.policy import Region
from iot_client.splitting.profile import Profile
from iot_client.splitting.regions import Regions, word_of
from iot_client.splitting.ways import regions_of
from iot_client.terms import Terms
from tasks import App, Input, StatefulTask, Task

BEFORE, THERE, BEHIND = (
    Region(2, -1, ((1, "raw", 100), (4, "", 100))), Region(4, 2, ((1, "raw", 100), (2, "raw", 100))),
    Region(4, -1, ((3, "raw", 100), (4, "", 100))),
)
ALL = (BEFORE, THERE, BEHIND)


class Step(Task):
    """A stage that may run anywhere."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, item: Any) -> Any:
        return item


class Count(StatefulTask):
    """A stage with state."""

    def initial(self) -> Any:
        return 0

    def run(self, value: Any, state: Any) -> tuple[Any, Any]:  # type: ignore[override]  # a fold has a state
        return value, state + 1


APP = App("app", [Input(), Step("one"), Count(), Step("three")])


def terms(**changed: Any) -> Terms:
    """What a lossless client with a goal asks for."""
    fields: dict[str, Any] = {
        "device": "d", "hosts": (Host("h", 5555),), "mode": "lossless", "split": None, "workers": 1, "want": None, "max_age": 1.0,
        "memory": 2**20, "window": 0, "goal": Goal(fps=10),
    }
    return Terms(**(fields | changed))


def cuts(region: Region) -> set[int]:
    """The stage counts of a region."""
    return {k for k, _, _ in region.ways}


def test_all_cuts_of_a_region_lie_on_one_side_of_the_fold() -> None:
    """Before it with jobs that end there, before it with the fold in the job, and behind it; all stages here wherever it is here."""
    found = {(region.stop, region.stage): cuts(region) for region in regions_of(APP, frozenset(), 1, "lossless", None)}
    assert found == {(2, -1): {1, 4}, (4, -1): {3, 4}, (4, 2): {1, 2}}


@pytest.mark.parametrize(("k", "first"), [(1, (2, -1)), (2, (4, 2)), (3, (4, -1)), (4, (2, -1))])
def test_the_run_begins_with_k_stages_here_and_the_state_too_if_it_may(k: int, first: tuple[int, int]) -> None:
    """The first region holds the split that was asked for."""
    region = regions_of(APP, frozenset(), k, "lossless", None)[0]
    assert (region.stop, region.stage) == first and k in cuts(region)


def test_state_moves_with_a_goal_in_lossless_mode_without_a_deadline() -> None:
    """Regions for fps alone; none live, with a latency to hold, a deadline, a spool or the threshold rule."""
    steer = terms().session(APP).steer
    assert steer is not None and len(steer.regions) == 3 and steer.ways == steer.regions[0].ways
    others = (
        {"mode": "live"}, {"goal": Goal(fps=10, slo=0.1)}, {"deadline": 0.1}, {"spooled": True}, {"policy": "threshold"},
    )
    for changed in others:
        config = terms(**changed).session(APP)
        assert config.steer is not None and not config.steer.regions and not config.stops


def moved(regions: Regions, own: Any, other: Any, seconds: float, start: float = 100.0) -> float:
    """When the regions said to move to the second one, so many seconds being looked four times each; -1.0 if never."""
    for step in range(int(4 * seconds)):
        if regions.move(own, [(THERE, other)], start + step / 4) is not None:
            return step / 4
    return -1.0


def test_a_move_takes_a_second_in_which_the_goal_breaks_here_alone() -> None:
    """The fourth choice in a row; what breaks once or twice is noise."""
    own, other = decision(4, met=False, rate=8.0), decision(2, rate=40.0)
    regions = Regions(ALL)
    assert moved(regions, own, other, 5) == 0.75
    assert regions.here is THERE
    calm = Regions(ALL)
    for step in range(40):
        shaky = own if step % 4 < 3 else decision(4, rate=20.0)
        assert calm.move(shaky, [(THERE, other)], 100.0 + step / 4) is None


def test_what_is_only_cheaper_waits_five_seconds_and_saves_a_fifth() -> None:
    """Likewise where it saves a tenth: never; in bytes alone: never."""
    own = decision(2, server_s=0.010)
    assert moved(Regions(ALL), own, decision(1, server_s=0.007), 20) == 5.0
    assert moved(Regions(ALL), own, decision(1, server_s=0.009), 20) == -1.0
    assert moved(Regions(ALL), own, decision(1, server_s=0.010, nbytes=10.0), 20) == -1.0


def test_a_move_is_followed_by_rest() -> None:
    """Nothing is decided within three seconds of a move, whatever is predicted."""
    regions = Regions(ALL)
    assert moved(regions, decision(4, met=False, rate=8.0), decision(2, rate=40.0), 5, 100.0) == 0.75
    assert regions.move(decision(2, met=False, rate=8.0), [(BEHIND, decision(4))], 103.0) is None
    assert moved(regions, decision(2, met=False, rate=8.0), decision(4), 5, 103.75) == 0.75


def test_of_two_regions_that_hold_the_goal_the_one_with_less_server_time_is_taken() -> None:
    """And of two that do not, the faster one."""
    regions = Regions(ALL)
    own = decision(4, met=False, rate=8.0)
    for step in range(4):
        best = regions.move(own, [(THERE, decision(2, server_s=0.02)), (BEHIND, decision(3, server_s=0.01))], 100.0 + step / 4)
    assert best is not None and best[0] is BEHIND
    slow = Regions(ALL)
    for step in range(4):
        best = slow.move(own, [(THERE, decision(2, met=False, rate=15.0)), (BEHIND, decision(3, met=False, rate=10.0))], 100.0 + step / 4)
    assert best is not None and best[0] is THERE


def test_a_state_that_cannot_travel_stays_here() -> None:
    """No region at the server is offered any more, and the split goes back to where the jobs end."""
    regions = Regions((THERE, BEFORE, BEHIND))
    regions.stay(4)
    assert regions.here is BEHIND
    assert regions.others == (BEFORE,)


def test_what_a_server_lacks_is_no_place_to_be() -> None:
    """A new server that cannot run the fold: home, whatever was before."""
    regions = Regions((THERE, BEFORE, BEHIND))
    regions.offer((BEFORE,))
    assert regions.here is BEFORE and regions.others == ()


def test_the_reason_says_where_the_state_goes() -> None:
    """There, home, or nothing where it stays."""
    assert word_of(BEFORE, THERE) == "state from stage 2 on goes to the server; "
    assert word_of(THERE, BEHIND) == "state from stage 2 on comes home; "
    assert word_of(BEFORE, BEHIND) == ""


def test_what_no_job_has_shown_is_guessed_from_the_stages_seen_on_both_sides() -> None:
    """Stage 3 takes half as long there as here; so does the fold, as long as nothing better is known. Here alone nothing is guessed."""
    profile = Profile(4, 2, 1, BEFORE.ways)
    profile.all_keys = (*BEFORE.ways, *THERE.ways)
    profile.ran(0, (0.001, 0.01, 0.04, 0.02), "done", 0.071, 0.0, (0.001, 0.01, 0.04, 0.02))
    profile.served(3, (0.01,), "done", 0.0)
    profile.sizes.encoded(1, "raw", 1000, 0.0)
    costs = profile.costs(1.0, THERE)
    assert [stage.server_s for stage in costs.stages[1:]] == pytest.approx([0.005, 0.02, 0.01])
    assert costs.turn_s > 0.0 and costs.stop == 4
    assert not [option for option in profile.costs(1.0).options if option.codec]
