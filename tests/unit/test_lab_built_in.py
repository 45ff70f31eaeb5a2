"""The experiments that come with Spillway, their app, and their fields by dotted path."""

from __future__ import annotations

import configparser
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.ball_tracking import clip as rendered
from experiments.apps import Blobs, Grey, score, watch
from experiments.bodies import Body, least_of, run_all
from experiments.description import description
from experiments.fields import changed, grid, scalar_fields
from experiments.lab import GoalSpec, Lab, built_in, load
from experiments.links import LinkSpec
from experiments.oracle import goal_of
from experiments.reporting.runs import Run
from tasks import load as load_app
from tests.unit.lab_runs import steady_run

NAMES = (
    "bandwidth_cpu", "bandwidth_ramp", "bandwidth_sawtooth", "bandwidth_step", "camera10", "cpu_steps", "lte", "lte15", "neural", "quick",
    "slow_server_bad_link", "target17", "target28", "wifi",
)  # fmt: skip


def test_these_experiments_come_with_spillway() -> None:
    """No more and no fewer, and the package takes them along."""
    assert tuple(built_in()) == NAMES
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    folders = ("labs", "labs/fleet", "labs/speculation", "labs/uplink")
    assert setup["options.package_data"]["experiments"] == ", ".join(f"{folder}/*.toml" for folder in folders)


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_experiment_can_be_run(name: str) -> None:
    """It loads and is described; its goal, link, load and app are legal, and it starts at a legal split."""
    lab = load(name)
    assert lab.about
    assert description(lab)
    goal_of(lab)
    assert lab.link.trace(lab.seconds).points
    assert lab.device.load is None or lab.device.load.trace().points
    assert lab.start in (0, *load_app(lab.app).legal_cuts())
    assert lab.warmup < lab.seconds / 2


def test_quick_is_quick() -> None:
    """At most a minute in all, also live."""
    lab = load("quick")
    assert lab.seconds * lab.seeds * len(lab.policies) <= 60
    assert len(lab.policies) == 3


def test_watching_happens_in_the_cloud() -> None:
    """One split, and a picture that may be lossy at it."""
    assert list(watch.legal_cuts()) == [1]
    assert watch.crossing(1, 3).lossy[""].quality == 20


@pytest.mark.parametrize("quality", [95, 50, 20])
def test_a_coarser_picture_gives_a_worse_answer(quality: int) -> None:
    """The score falls with the quality, and stays above that of another frame."""
    images = [image for index, image in enumerate(rendered.frames(60)) if index % 20 == 0]

    def boxes(image: np.ndarray, q: int = 0) -> object:
        seen = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, q])[1], cv2.IMREAD_COLOR) if q else image
        return Blobs().run(Grey().run(seen))

    better, same, worse = (
        np.mean([score(boxes(image), boxes(image, q)) for image in images]) for q in (min(quality + 30, 100), quality, max(quality // 4, 2))
    )
    assert better > same > worse
    assert all(score(boxes(image), boxes(image)) == 1.0 for image in images)


boxes = st.lists(st.tuples(*[st.floats(0, 500)] * 2, *[st.floats(1, 100)] * 2).map(list), max_size=8)


@given(boxes, boxes)
def test_a_score_is_a_share(one: list[list[float]], other: list[list[float]]) -> None:
    """Between 0 and 1; 1 against itself; 0 where only one of the two has boxes."""
    assert 0.0 <= score({"boxes": one}, {"boxes": other}) <= 1.0
    assert score({"boxes": one}, {"boxes": one}) == 1.0
    assert not one or score({"boxes": one}, {"boxes": []}) == 0.0


def test_half_of_the_boxes_found_is_a_score_of_two_thirds() -> None:
    """F1 of recall 1/2 and precision 1."""
    assert score({"boxes": [[0, 0, 10, 10], [50, 50, 10, 10]]}, {"boxes": [[1, 0, 10, 10]]}) == pytest.approx(2 / 3)


def test_a_box_is_found_once_and_only_where_it_is() -> None:
    """Two boxes on one count as one found; one that is shifted by half its side is another."""
    assert score({"boxes": [[0, 0, 10, 10], [1, 0, 10, 10]]}, {"boxes": [[0, 0, 10, 10]]}) == pytest.approx(2 / 3)
    assert score({"boxes": [[0, 0, 10, 10]]}, {"boxes": [[5, 0, 10, 10]]}) == 0.0


def test_fields_change_by_path_and_are_checked() -> None:
    """A nested one, one of the top, and one that is not set before."""
    found = changed(Lab(name="x"), {"link.up_mbit": 5, "seconds": 12, "goal.fps": 17})
    assert (found.link.up_mbit, found.seconds, found.goal) == (5.0, 12.0, GoalSpec(fps=17.0))
    assert found.link == LinkSpec(up_mbit=5.0, delay_ms=1.0)
    with pytest.raises(ValueError, match=r"link.loss=2: .*legal is 0 to 0.9"):
        changed(Lab(name="x"), {"link.loss": 2})
    with pytest.raises(ValueError, match=r"no field 'link.speed'"):
        changed(Lab(name="x"), {"link.speed": 2})


def test_every_scalar_field_has_a_path_that_leads_to_it() -> None:
    """Those listed exist; lists and parts are no scalars."""
    tree = msgspec.to_builtins(Lab(name="x"))
    for path in scalar_fields():
        place = tree
        for name in path.split("."):
            if place is None:
                break
            place = place[name]
    assert {"seconds", "goal.slo_ms", "link.kind", "device.cpu", "server.workers"} <= set(scalar_fields())
    assert not {"policies", "size", "link", "link.cuts", "device.load"} & set(scalar_fields())


def test_a_grid_has_all_combinations_the_last_field_changing_fastest() -> None:
    """Numbers and words, as they are written."""
    assert list(grid(["link.up_mbit=2,0.5", "link.kind=lte,wifi"])) == [
        {"link.up_mbit": 2, "link.kind": "lte"}, {"link.up_mbit": 2, "link.kind": "wifi"},
        {"link.up_mbit": 0.5, "link.kind": "lte"}, {"link.up_mbit": 0.5, "link.kind": "wifi"},
    ]  # fmt: skip


def test_the_oracle_runs_last_and_by_what_the_others_showed() -> None:
    """A body that knows no true costs: the oracle stays local, as it costs nothing, and is never late."""
    lab = Lab(name="x", seconds=10.0, rate=10.0, goal=GoalSpec(fps=10.0), policies=("oracle", "local", "remote:raw"))
    body = Body(lambda lab, policy, seed, note: steady_run(lab, policy, seed))
    runs: list[Run] = list(run_all(lab, body, lambda text: None))
    assert [run.policy for run in runs] == ["local", "remote:raw", "oracle"]
    assert {(row.outcome, row.where) for row in runs[-1].frames} == {("done", "device")}
    least = least_of(lab, body, runs)
    assert least is not None
    assert least.server_s == 0.0


def test_an_oracle_alone_says_what_it_needs() -> None:
    """Nothing was measured, so there is nothing to be wise about."""
    lab = Lab(name="x", seconds=10.0, rate=10.0, policies=("oracle",))
    with pytest.raises(ValueError, match="add another policy"):
        list(run_all(lab, Body(lambda lab, policy, seed, note: steady_run(lab, policy, seed)), lambda text: None))
