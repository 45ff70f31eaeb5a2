"""Experiments with many devices: what they ask for, their variants, and the figures of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.fleet.lab import Client, FleetLab, Group, built_in, link_of, load
from experiments.fleet.measure import STEPS, cdf_of, figures_of, jain
from experiments.fleet.rows import BatchRow, FleetRun, ShotRow
from experiments.fleet.systems import why_not
from experiments.fleet.variety import Variety, table
from experiments.links import SYNTHETIC, LinkSpec

LAN = LinkSpec(up_mbit=100.0)
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_fleet_can_be_run(name: str) -> None:
    """It loads, says what it is about, each system is one, and the case drawn exists."""
    lab = load(name)
    assert lab is not None
    assert lab.about
    assert not [problem for system in lab.systems if (problem := why_not(system, lab))]
    assert not lab.shown or lab.shown in [case.name for case in lab.cases()]


def test_templates_are_those_of_the_paper() -> None:
    """1, 2, 4, 8 clients at 15 and 25 fps with 75, 100, 150 ms, and mixed ones, on three kinds of link."""
    lab = load("fleet")
    assert lab is not None
    sizes = {(len(case.clients), client.fps, round(client.slo * 1e3)) for case in lab.cases() for client in case.clients}
    assert {(count, fps, slo) for count in (1, 2, 4, 8) for fps in (15, 25) for slo in (75, 100, 150)} <= sizes
    mixed = next(case for case in lab.cases() if case.name == "8xvar lte")
    assert {(client.fps, client.slo) for client in mixed.clients} == {(fps, slo) for fps in (15, 25) for slo in (0.075, 0.1, 0.15)}
    assert len(lab.cases()) == 26 * 3


def test_groups_of_devices_are_one_case() -> None:
    """Links are dealt out in turn, devices start one after the other."""
    wifi = LinkSpec(kind="wifi")
    lab = FleetLab(name="x", groups=(Group(count=3, fps=10, links=(LAN, wifi), every=2.0), Group(slo_ms=200)), links={"lan": LAN})
    (case,) = lab.cases()
    assert [client.link for client in case.clients] == [LAN, wifi, LAN, LAN]
    assert [client.starts_at for client in case.clients] == [0.0, 2.0, 4.0, 0.0]
    assert [client.slo for client in case.clients] == [0.1, 0.1, 0.1, 0.2]


@pytest.mark.parametrize(("fields", "text"), [
    ({"templates": ("4x25",)}, "template '4x25'; legal is CLIENTSxFPSxSLO"),
    ({"templates": ("1001x15x75",)}, "1001 devices; legal: 1 to 1000"),
    ({"templates": ("1x15x75",), "workers": 0}, "workers=0; legal: 1 to 1024"),
    ({"templates": ("1x15x75",), "warmup": 60.0}, "warmup=60.0; legal: 0 to below seconds=60"),
    ({"templates": ("1x15x75",), "variants": "none"}, "variants = 'none'; legal are jellyfish"),
    ({}, "must not be empty"),
])  # fmt: skip
def test_what_is_not_legal_is_named(fields: dict[str, object], text: str) -> None:
    """The field, its value and what is legal."""
    with pytest.raises(ValueError, match=text):
        FleetLab(name="x", **fields)  # type: ignore[arg-type]


def test_a_file_of_another_kind_is_no_fleet(tmp_path: Path) -> None:
    """It is left to others; a fleet with an unknown field is refused by name."""
    (tmp_path / "other.toml").write_text('name = "x"\n')
    assert load(tmp_path / "other.toml") is None
    (tmp_path / "wrong.toml").write_text('kind = "fleet"\nname = "x"\nspeed = 3\n')
    with pytest.raises(ValueError, match=r"wrong.toml: .*speed"):
        load(tmp_path / "wrong.toml")


@pytest.mark.parametrize("name", ["jellyfish", "small"])
def test_larger_variants_are_better_and_slower(name: str) -> None:
    """Accuracy, bytes and time rise together, else nobody would plan; a batch costs less per frame than frames alone."""
    varieties = table(name)
    assert all(a.accuracy < b.accuracy and a.nbytes < b.nbytes and a.seconds(1) < b.seconds(1) for a, b in zip(varieties, varieties[1:]))
    assert all(each.seconds(8) < 8 * each.seconds(1) for each in varieties)


def test_each_device_has_a_place_of_its_own_on_the_staircase() -> None:
    """The same steps, each for 20 s, from another one on."""
    first, second = (link_of(LinkSpec(kind="synthetic"), 60.0, number, 0) for number in (0, 1))
    assert [point.up_mbit for point in first.points] == list(SYNTHETIC[:6])
    assert [point.up_mbit for point in second.points] == [*SYNTHETIC[2:], SYNTHETIC[0]]


def test_a_miss_is_whatever_was_not_answered_in_time() -> None:
    """Late, dropped and unread frames count alike, and 0 in the accuracy; the warm-up does not count; at the deadline is in time."""
    lab = FleetLab(name="x", templates=("2x10x100",), links={"lan": LAN}, warmup=1.0, seconds=3.0, workers=1)
    clients = [Client(fps=10, slo=0.1, link=LAN, starts_at=0, stops_at=3)] * 2
    shots = (
        ShotRow(0, 0.5, 0.0, "unread"), ShotRow(0, 1.0, 0.1, "done", "a", 0.4), ShotRow(0, 1.5, 0.11, "done", "a", 0.4),
        ShotRow(1, 1.0, 0.05, "done", "b", 0.2), ShotRow(1, 1.5, 0.0, "dropped:late"), ShotRow(1, 2.0, 0.0, "unread"),
    )  # fmt: skip
    run = FleetRun(case="2x10x100 lan", link="lan", system="x", seed=0, shots=shots, batches=(BatchRow(0, 1.0, 0.5, 3, "a", 1),))
    found = figures_of(run, lab, clients)
    assert (found.frames, found.miss_rate, found.accuracy, found.accuracy_in_time) == (5, 0.6, pytest.approx(0.12), pytest.approx(0.3))
    assert (found.worst, found.utilisation, found.batch) == (pytest.approx(1 / 3), 0.25, 3.0)
    assert found.late_work == pytest.approx(1 / 3)
    assert dict(zip(STEPS, cdf_of(run, lab, clients)))[1.0] == 0.4
    assert dict(zip(STEPS, cdf_of(run, lab, clients)))[2.0] == 0.6


def test_fairness_is_jains_index() -> None:
    """1 for equal shares, 1/n where one has all."""
    assert jain([0.3, 0.3, 0.3]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_a_variant_out_of_range_is_refused() -> None:
    """With its name and what is legal."""
    with pytest.raises(ValueError, match="variant 'a'.*legal: accuracy 0 to 1"):
        Variety(name="a", accuracy=2.0, nbytes=1, base_ms=1, each_ms=1)


def test_the_detector_s_variants_are_worth_what_its_evaluation_found() -> None:
    """All twelve, with the accuracies of the committed file, whose figures the app's variants carry as well."""
    measured = json.loads((ROOT / "examples/detection/accuracy.json").read_text())["variants"]
    assert {each.name: each.accuracy for each in table("detection")} == {name: found["map"] for name, found in measured.items()}
