"""The lab's command line, with a body that takes no time."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.lab_runs import BASE, steady_run

from experiments.bodies import Body, Note
from experiments.command import main
from experiments.kinds import KINDS
from experiments.lab import Lab, built_in
from experiments.reporting.runs import Run
from experiments.truth import true_costs

LAB = """
name = "by hand"
about = "Nothing happens"
seconds = 12
rate = 10
warmup = 2
goal = {fps = 10}
link = {up_mbit = 8}
policies = ["auto", "oracle", "remote:raw"]
"""

Bodies = dict[str, Callable[[], Body]]


def instant(lab: Lab, policy: str, seed: int, note: Note) -> Run:
    return steady_run(lab, policy, seed)


def stopped_at(policy: str, error: BaseException) -> Bodies:
    """A body in which something happens at this policy."""

    def run(lab: Lab, asked: str, seed: int, note: Note) -> Run:
        if asked == policy:
            raise error
        return steady_run(lab, asked, seed)

    return {"simulate": lambda: Body(run, lambda lab, seed: true_costs(lab, BASE, seed))}


def absent() -> Body:
    raise ImportError("no module named physics")


BODIES: Bodies = {
    "simulate": lambda: Body(instant, lambda lab, seed: true_costs(lab, BASE, seed)),
    "live": lambda: Body(instant, None, lambda: "a test network needs root"),
    "absent": absent,
}


@pytest.fixture
def lab(tmp_path: Path) -> str:
    path = tmp_path / "hand.toml"
    path.write_text(LAB, encoding="utf-8")
    return str(path)


def test_run_compares_the_policies_and_leaves_a_report(lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, a table with each policy, and the five files at the place it names."""
    out = tmp_path / "out"
    assert main(["run", lab, "--out", str(out), "--seeds", "2", "--quiet"], BODIES) == 0
    said = capsys.readouterr()
    for words in ("auto", "remote:raw", "oracle", "least server time", f"report: {out / 'report.html'}"):
        assert words in said.out
    assert sorted(path.name for path in out.iterdir()) == ["decisions.csv", "frames.csv", "report.html", "report.json", "samples.csv"]
    assert f"python -m experiments run {lab} --out {out} --seeds 2 --quiet" in (out / "report.html").read_text(encoding="utf-8")


def test_options_change_the_experiment(lab: str, tmp_path: Path) -> None:
    """Policies, seeds and seconds are those asked for; of 4 s the first is warm-up."""
    assert main(["run", lab, "--out", str(tmp_path), "--policies", "local,auto", "--seeds", "3", "--seconds", "4", "--quiet"], BODIES) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    runs = [(one["run"]["policy"], one["run"]["seed"]) for one in report["measured"]]
    assert runs == [(policy, seed) for policy in ("local", "auto") for seed in (0, 1, 2)]
    assert (report["lab"]["seconds"], report["lab"]["warmup"]) == (4.0, 1.0)


def test_report_makes_the_page_again(lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the data alone, the same page."""
    main(["run", lab, "--out", str(tmp_path / "out"), "--quiet"], BODIES)
    page = tmp_path / "out" / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert main(["report", str(tmp_path / "out")], BODIES) == 0
    assert page.read_text(encoding="utf-8") == before
    assert main(["report", str(tmp_path)], BODIES) == 2
    assert "holds no report" in capsys.readouterr().err


def test_without_matplotlib_the_data_are_written(
    lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table and the place of the data, and what to install for the page."""
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.ticker"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["run", lab, "--out", str(tmp_path / "out"), "--quiet"], BODIES) == 0
    said = capsys.readouterr().out
    assert "remote:raw" in said
    assert f"data: {tmp_path / 'out'}; a page with drawings needs matplotlib" in said
    assert (tmp_path / "out" / "report.json").is_file()


def test_list_has_a_line_for_each_built_in_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name first."""
    assert main(["list"], BODIES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*built_in(), *(name for kind in KINDS for name in kind.built_in())]


def test_sweep_runs_the_whole_grid(lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three links and two rates with two policies: twelve lines, and a page with the plot."""
    words = ["sweep", lab, "--set", "link.up_mbit=2,5,10", "--set", "goal.fps=10,20", "--policies", "auto,local", "--quiet"]
    assert main([*words, "--out", str(tmp_path)], BODIES) == 0
    with (tmp_path / "sweep.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12
    assert {(line["link.up_mbit"], line["goal.fps"]) for line in lines} == {(up, fps) for up in ("2", "5", "10") for fps in ("10", "20")}
    assert {line["steady"] for line in lines if line["goal.fps"] == "20"} == {"0.0"}
    assert "data:image/svg+xml" in (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "report: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"), [(KeyboardInterrupt(), 130, "interrupted after 1 runs"), (OSError("gone"), 1, "OSError: gone")]
)
def test_what_was_finished_is_written_when_a_run_fails_or_ctrl_c_comes(
    lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    """The first policy is in the report, the exit code is that of the end."""
    assert main(["run", lab, "--out", str(tmp_path / "out"), "--quiet"], stopped_at("remote:raw", error)) == code
    assert said in capsys.readouterr().err
    report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes())
    assert [one["run"]["policy"] for one in report["measured"]] == ["auto"]


def test_an_interrupt_before_the_first_run_is_over_leaves_no_report(lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """130, and a word that there is none."""
    bodies, out = stopped_at("auto", KeyboardInterrupt()), ["--out", str(tmp_path / "out"), "--quiet"]
    for words in (["run", lab], ["sweep", lab, "--set", "goal.fps=10"]):
        assert main([*words, *out], bodies) == 130
        assert "no run was finished" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nosuch"], "no experiment of that name; there are bandwidth_cpu, "), (["run", "nosuch"], ", fleet_quick, "),
        (["run", "LAB", "--policies", "best"], "policy 'best'; legal are auto"),
        (["run", "LAB", "--seeds", "0"], "seeds=0; legal: 1 to 10000"),
        (["run", "LAB", "--body", "live"], "needs root; --body simulate needs none of it"),
        (["run", "LAB", "--body", "absent"], "no module named physics"),
        (["run", "LAB", "--out", "LAB"], "legal is a folder that can be written"),
        (["sweep", "LAB", "--set", "link.up=2"], "no scalar field 'link.up'; legal are name, "),
        (["sweep", "LAB", "--set", "link.up_mbit"], "legal is PATH=VALUE,VALUE"),
        (["sweep", "LAB", "--set", "link.up_mbit=fast"], "link.up_mbit=fast: Expected `float"),
        (["sweep", "LAB", "--set", "goal.fps=10,-1"], "fps=-1.0; legal: frames per second above 0"),
        (["sweep", "LAB", "--set", "app=tasks.app:app"], "there is no such attribute"),
    ],
)
def test_what_is_not_legal_is_refused_in_words(
    lab: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit code 2, what was wrong and what is legal, and nothing was run."""
    words = [lab if word == "LAB" else word for word in words]
    words += ["--out", str(tmp_path / "out")] if "--out" not in words else []
    assert main(words, BODIES) == 2
    assert said in capsys.readouterr().err


def test_a_command_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse does it: 2, with the usage."""
    with pytest.raises(SystemExit) as stop:
        main(["fly"], BODIES)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err
