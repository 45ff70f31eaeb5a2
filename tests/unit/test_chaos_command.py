"""What `scripts/chaos` does with its promises: kept, broken, skipped, not tested yet, interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.command import main
from chaos.registry import Broken, Promise, Run, Seen, Skipped, discover
from chaos.rows import ROWS


def kept(run: Run) -> Seen:
    assert run.folder.is_dir() and not list(run.folder.iterdir())
    (run.folder / "left").write_text("behind")
    return Seen(good=run.count, tried=run.count, figures={"p99 ms": 12.5, "seed": run.seed})


def short(run: Run) -> Seen:
    return Seen(good=run.count - 1, tried=run.count)


def enough(run: Run) -> Seen:
    return Seen(good=19, tried=20, least=0.95)


def broken(run: Run) -> Seen:
    raise Broken("3 frames lost, promised are 0", Seen(good=7, tried=10))


def raising(run: Run) -> Seen:
    raise OSError("no such thing")


def skipped(run: Run) -> Seen:
    raise Skipped("needs root")


def nothing(run: Run) -> Seen:
    return Seen(good=0, tried=0)


def interrupted(run: Run) -> Seen:
    raise KeyboardInterrupt


def promises(*tests: object) -> list[Promise]:
    return [Promise(row=1, title="a title", quick=2, full=10, test=test) for test in tests]  # type: ignore[arg-type]


def verdicts(path: Path, *tests: object, options: tuple[str, ...] = ()) -> tuple[int, list[tuple[str, int, int]]]:
    """The exit code, and status, good and tried of each test."""
    code = main(["--rows", "1", "--json", str(path), *options], promises(*tests))
    found = json.loads(path.read_text())["verdicts"]
    return code, [(each["status"], each["good"], each["tried"]) for each in found]


def test_kept_promises_leave_exit_code_0(tmp_path: Path) -> None:
    """Kept, kept often enough and skipped is no failure."""
    assert verdicts(tmp_path / "f", kept, enough, skipped) == (0, [("kept", 10, 10), ("kept", 19, 20), ("skipped", 0, 0)])


def test_quick_runs_get_the_small_number(tmp_path: Path) -> None:
    """--quick and --seed reach the test."""
    assert verdicts(tmp_path / "f", kept, options=("--quick", "--seed", "9")) == (0, [("kept", 2, 2)])
    assert json.loads((tmp_path / "f").read_text())["verdicts"][0]["figures"]["seed"] == 9


@pytest.mark.parametrize(("test", "seen"), [(short, (9, 10)), (broken, (7, 10)), (raising, (0, 0)), (nothing, (0, 0))])
def test_a_broken_promise_gives_exit_code_1(test: object, seen: tuple[int, int], tmp_path: Path) -> None:
    """So does one that raises, falls short or tried nothing; the others run all the same."""
    assert verdicts(tmp_path / "f", test, kept) == (1, [("BROKEN", *seen), ("kept", 10, 10)])


def test_an_interrupt_shows_what_was_found(tmp_path: Path) -> None:
    """After Ctrl-C no further test runs, the table and the file have the others."""
    assert verdicts(tmp_path / "f", kept, interrupted, kept) == (130, [("kept", 10, 10), ("interrupted", 0, 0)])


def test_a_row_without_a_test_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody takes silence for a kept promise."""
    assert main(["--rows", "1,3"], promises(kept)) == 0
    assert "not tested yet" in capsys.readouterr().out


@pytest.mark.parametrize("rows", ["x", "0", "1-", "99", "1-99"])
def test_rows_that_do_not_exist_are_refused(rows: str) -> None:
    """Exit code 2 for what is no row."""
    assert main(["--rows", rows], promises(kept)) == 2


def test_all_tests_are_found_by_importing_the_package() -> None:
    """Each has a row of its own list, a title and a name told by its place."""
    found = discover()
    assert found == discover()
    assert {each.row for each in found} <= set(ROWS)
    assert "simulation.any_seed" in {each.name for each in found}
