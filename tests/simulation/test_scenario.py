"""Scenarios as files and as random plans, and the command that runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from experiments.__main__ import main
from experiments.simulation.draw import draw
from experiments.simulation.scenario import Device, Scenario, Stage, ending, load

TOML = """
name = "two devices, one restart"
stages = [{device_ms = 1}, {device_ms = 20, cloud_ms = 4, nbytes = 60_000}, {device_ms = 5, cloud_ms = 1}]
devices = [{k = 1, frames = 40, fps = 20, network = {latency_ms = 20}}, {k = 2, frames = 30, mode = "lossless"}]
server = {workers = 2, kills = [[0.5, 0.3]]}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reading TOML needs Python 3.11")
def test_a_scenario_is_read_from_toml(tmp_path: Path) -> None:
    """What the file says is there, what it leaves out has its default."""
    scenario = load(write(tmp_path / "plan.toml", TOML))
    assert [device.mode for device in scenario.devices] == ["live", "lossless"]
    assert scenario.devices[0].network.latency_ms == 20
    assert scenario.server.kills == ((0.5, 0.3),)
    assert scenario.n == 3
    assert scenario.devices[1].workers == 1


def test_a_plan_printed_as_json_is_read_back_equal(tmp_path: Path) -> None:
    """The plan of a failing seed, saved to a file, is the same scenario again."""
    for seed in range(20):
        path = tmp_path / f"{seed}.json"
        path.write_bytes(msgspec.json.encode(draw(seed)))
        assert load(path) == draw(seed)


@pytest.mark.parametrize(
    ("text", "what"),
    [('{"stages": [{}], "devices": [{"k": 2}]}', "k=2"), ('{"stages": [{}], "devices": [{"kk": 1}]}', "kk"), ("{", "truncated")],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, text: str, what: str) -> None:
    """The error names the file and what is wrong in it."""
    with pytest.raises(ValueError, match=what) as error:
        load(write(tmp_path / "plan.json", text))
    assert "plan.json" in str(error.value)


def test_random_scenarios_differ_and_repeat() -> None:
    """Each seed has its own plan, always the same one."""
    plans = [draw(seed) for seed in range(50)]
    assert plans == [draw(seed) for seed in range(50)]
    assert len({msgspec.json.encode(plan) for plan in plans}) == 50


def test_the_ending_of_a_frame_follows_the_chances_and_nothing_else() -> None:
    """About 20 % filtered at stage 1 and about 10 % of the others failed at stage 2; asked again, the same."""
    plan = Scenario(stages=(Stage(), Stage(filters=0.2), Stage(fails=0.1)), devices=(Device(),))
    endings = [ending(plan, 0, seq) for seq in range(5_000)]
    assert endings == [ending(plan, 0, seq) for seq in range(5_000)]
    assert endings.count(("filtered", 1)) == pytest.approx(1_000, rel=0.1)
    assert endings.count(("failed", 2)) == pytest.approx(400, rel=0.15)
    assert endings.count(("done", 3)) == 5_000 - endings.count(("filtered", 1)) - endings.count(("failed", 2))


def test_the_command_runs_seeds_and_says_that_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and a table of what happened."""
    assert main(["simulate", "--seeds", "3"]) == 0
    out = capsys.readouterr().out
    assert "3 seeds" in out
    assert "every promise was kept" in out


def test_a_failing_seed_prints_its_plan_and_the_command_that_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that cannot end in time gives exit code 1, the broken rule, the whole plan and the command."""
    plan = msgspec.structs.replace(draw(5), limit=0.01)
    path = write(tmp_path / "plan.json", msgspec.json.encode(plan).decode())
    assert main(["simulate", str(path), "--seed", "5"]) == 1
    out = capsys.readouterr().out
    assert "broken: at" in out
    assert msgspec.json.encode(plan).decode() in out
    assert f"python -m experiments simulate {path} --seed 5" in out
