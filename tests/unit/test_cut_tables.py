"""Where it pays to cut an app: the table of cuts, and runs that are held at one."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.neural_app import app
from tests.unit.test_neural_cuts import LAB, MEASURED

from experiments.command import main
from experiments.cuts import HERE, INPUT, NETWORK, OTHER, best, pays_between, rows_of, taken
from experiments.cuts_command import rates_of
from experiments.lab import DeviceSpec, fixed_cut, why_not_policy
from experiments.links import LinkSpec
from experiments.virtual import run_virtual
from iot_client.splitting.goal import Goal

TABLE = replace(LAB, device=DeviceSpec(cpu=0.25))


def test_ways_are_told_apart_by_what_crosses() -> None:
    """Nothing, a picture as JPEG, features between two stages that take floats, or something else."""
    kinds = {(row.k, row.codec): row.kind for row in rows_of(TABLE, app, MEASURED, (10.0,))}
    assert kinds[6, ""] == HERE and kinds[1, "jpeg:50"] == INPUT and kinds[1, "raw"] == kinds[2, "int8"] == OTHER
    assert {kinds[k, codec] for k in (3, 4, 5) for codec in ("raw", "int8", "fp16")} == {NETWORK}


def test_a_latency_is_the_sum_of_its_parts() -> None:
    """Stages on a quarter of a core take four times as long, the link carries its rate less headers, and comes twice."""
    rows = {(row.k, row.codec): row for row in rows_of(TABLE, app, MEASURED, (2.0, 50.0))}
    local, cut = rows[6, ""], rows[4, "int8"]
    assert (local.device_s, local.server_s, local.latency_s) == (pytest.approx(0.4084), 0.0, (local.device_s,) * 2)
    assert (cut.device_s, cut.server_s) == (pytest.approx(0.1664), pytest.approx(0.0613))
    transfer = (16_000 + 200) * 8 / 2e6
    assert cut.latency_s[0] == pytest.approx(cut.device_s + cut.server_s + 0.02 + transfer, abs=0.006)
    assert cut.latency_s[1] == pytest.approx(cut.device_s + cut.server_s + 0.02 + transfer / 25, abs=0.002)


def test_it_says_at_which_rates_the_network_is_the_place_to_cut() -> None:
    """Where a picture is small never; where it is large, from what its features need to what the picture needs."""
    assert pays_between(TABLE, app, MEASURED) is None
    large = tuple(replace(way, nbytes=40.0 * way.nbytes) if way.k < 3 else way for way in MEASURED.ways)
    pays = pays_between(TABLE, app, replace(MEASURED, ways=large))
    assert pays is not None and 0.1 < pays[0] < 2 < 10 < pays[1] < 50
    found = rows_of(TABLE, app, replace(MEASURED, ways=large), (10.0,))
    soonest = best(found, NETWORK, 0)
    assert soonest is not None and min(found, key=lambda row: row.latency_s[0]) == soonest
    assert best(found, "none such", 0) is None


def test_it_says_what_is_chosen_for_a_deadline() -> None:
    """The choice of the split itself: the least server time that is in time, and at the rate."""
    def chosen(mbit: float, **goal: float) -> tuple[int, str]:
        decision = taken(TABLE, app, MEASURED, mbit, Goal(**goal))
        return decision.first.k, decision.first.codec

    assert chosen(10.0, slo=0.28) in {(4, "int8"), (4, "fp16")}
    assert chosen(2.0, slo=0.2)[0] == 1 and chosen(2.0, slo=0.45) == (6, "") == chosen(2.0, fps=2.4)
    assert chosen(50.0, fps=6.0, slo=0.25)[0] in {3, 4}
    assert not taken(TABLE, app, MEASURED, 2.0, Goal(slo=0.05)).met


def test_a_run_can_be_held_at_one_cut() -> None:
    """`cut:4:int8` keeps four stages here and that codec for every frame, which takes as long as the table says."""
    assert fixed_cut("cut:4:int8") == (4, "int8") and fixed_cut("remote:raw") is None
    assert why_not_policy("cut:4:jpeg:80") == "" and "cut:K:CODEC" in why_not_policy("cut:0:raw")
    lab = replace(TABLE, rate=2, seconds=20, link=LinkSpec(up_mbit=10, delay_ms=10))
    rows = [row for row in run_virtual(lab, "cut:4:int8", 0, costs=MEASURED).frames if row.captured > 2]
    assert {(row.k, row.codec, row.outcome) for row in rows} == {(4, "int8", "done")} and len(rows) > 30
    table = next(row for row in rows_of(lab, app, MEASURED, (10.0,)) if (row.k, row.codec) == (4, "int8"))
    assert sorted(row.latency for row in rows)[len(rows) // 2] == pytest.approx(table.latency_s[0], rel=0.1)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1,2,", "nan", ",".join(["1"] * 21)])
def test_rates_that_are_none_are_refused(text: str) -> None:
    """In words that name what is legal, or by Python's own for what is no number."""
    with pytest.raises(ValueError, match="legal are 1 to 20|could not convert"):
        rates_of(text)


def test_the_command_prints_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Costs are measured here and now, kept, and shown for each rate; a wrong rate or variant is refused in a line."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lab = tmp_path / "toy.toml"
    spec = "tests.neural_app:app"
    lab.write_text(f'name = "toy"\napp = "{spec}"\nclip = "{spec}"\ndevice = {{cpu = 0.25}}\nlink = {{up_mbit = 9, delay_ms = 5}}\n')
    assert main(["cuts", str(lab), "--rates", "2,50", "--slo", "100", "--fps", "3", "--all"]) == 0
    shown = capsys.readouterr().out
    for text in ("compressed input", "inside the network", "all here", "2 Mbit/s", "4, to two", "soonest at", "what is chosen"):
        assert text in shown
    assert main(["cuts", str(lab), "--rates", "0"]) == 2 and "--rates 0: legal" in capsys.readouterr().err
    assert main(["cuts", str(lab), "--variant", "huge"]) == 2 and "has no variant 'huge'" in capsys.readouterr().err
