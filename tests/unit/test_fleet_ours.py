"""A fleet run by Spillway: the product's machines on virtual time, folded into the rows every system leaves."""

from __future__ import annotations

import pytest

from experiments.fleet.lab import FleetLab
from experiments.fleet.measure import figures_of
from experiments.fleet.ours import run_ours, why_not_ours
from experiments.links import LinkSpec


def lab(template: str, **fields: object) -> FleetLab:
    links = {"lan": LinkSpec(up_mbit=60.0, delay_ms=0.5)}
    return FleetLab(name="x", templates=(template,), seconds=3.0, warmup=1.0, resident=16, **{"links": links, **fields})  # type: ignore[arg-type]


def test_every_frame_a_camera_showed_is_in_the_rows() -> None:
    """Answered, dropped or never read, once each, for each device, whether or not the server can carry them."""
    for variant, most in (("128", 0.0), ("608", 1.0)):
        asked = lab("4x25x75", workers=1)
        (case,) = asked.cases()
        run = run_ours(asked, case, f"spillway:{variant}", 0)
        for device in range(4):
            assert len([shot for shot in run.shots if shot.device == device]) == pytest.approx(75, abs=2)
        assert len({(shot.device, round(shot.shown, 4)) for shot in run.shots}) == len(run.shots)
        assert figures_of(run, asked, case.clients).miss_rate <= most


def test_equal_seeds_give_equal_runs() -> None:
    """Frame for frame, batch for batch."""
    asked = lab("2x25x100", links={"lte": LinkSpec(kind="lte", delay_ms=0.5)})
    (case,) = asked.cases()
    assert run_ours(asked, case, "spillway:256", 5) == run_ours(asked, case, "spillway:256", 5)


def test_a_pinned_variant_is_never_left() -> None:
    """Every frame that left was made with it, and has its accuracy."""
    asked = lab("1x15x150")
    (case,) = asked.cases()
    done = [shot for shot in run_ours(asked, case, "spillway:320", 0).shots if shot.outcome == "done"]
    assert {(shot.variant, shot.accuracy) for shot in done} == {("320", 0.3746)}


def test_a_setting_that_is_none_is_named() -> None:
    """With all that are."""
    assert "'spillway:best'; legal are spillway and spillway: auto, milp" in why_not_ours("spillway:best", lab("1x15x75"))
