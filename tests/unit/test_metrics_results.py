"""A results file gives times per stage, tables and a plot."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from metrics.report import main, plot_run, stage_table, summary_table
from metrics.results import ResultsError, Row, StageTime, quantile, read_results, stage_times
from metrics.summary import Summary

if TYPE_CHECKING:
    from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


def _line(seq: int, **changes: object) -> dict[str, Any]:
    """A results line of five stages, split at 2, with a tail of one on the device."""
    line = {
        "stream": 0, "seq": seq, "outcome": "done", "where": "cloud", "split": 2, "value": {"x": 1.5}, "reason": "", "latency_ms": 20.0,
        "device_ms": [1.0, 2.0, 5.0], "cloud_ms": [3.0, 4.0], "sent_bytes": 1000, "codec": "raw",
    }
    return {**line, **changes}


def _write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _mixed(count: int) -> list[dict[str, Any]]:
    """All kinds of outcome, and a few frames far later than the others."""
    kinds: list[dict[str, object]] = [
        {},
        {"outcome": "done", "where": "device", "device_ms": [1.0, 2.0, 3.0, 4.0, 5.0], "cloud_ms": [], "sent_bytes": 0},
        {"outcome": "filtered", "where": "", "cloud_ms": [3.0], "device_ms": [1.0, 2.0]},
        {"outcome": "dropped", "where": None, "reason": "late", "latency_ms": None, "device_ms": [], "cloud_ms": []},
        {"outcome": "failed", "where": None, "reason": "it broke", "cloud_ms": []},
    ]
    return [_line(seq, **kinds[seq % len(kinds)]) for seq in range(count)] + [_line(count, latency_ms=5000.0)]


def _text(table: Table) -> str:
    from rich.console import Console

    console = Console(width=120, file=io.StringIO())
    with console.capture() as printed:
        console.print(table)
    return printed.get()


def test_rows_are_read_without_their_values(tmp_path: Path) -> None:
    """In the order of the file, null fields and all."""
    rows = read_results(_write(tmp_path / "r.jsonl", _mixed(5)))
    assert [row.kind for row in rows] == ["done in cloud", "done on device", "filtered", "dropped", "failed", "done in cloud"]
    assert [row.answered for row in rows] == [True, True, True, False, False, True]
    assert rows[3].latency_ms is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no results in it"),
        ("{}\n", ":1: not a result: Object missing required field `seq`"),
        ('{"seq":0,"outcome":"lost"}\n', ":1: not a result: Invalid enum value 'lost'"),
        ('{"seq":0,"outcome":"done"}\nnonsense\n', ":2: not a result: "),
    ],
)
def test_a_line_that_is_no_result_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    """The error has the file, the line and what is wrong."""
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(ResultsError) as caught:
        read_results(path)
    assert str(caught.value).startswith(str(path))
    assert wrong in str(caught.value)


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    """A run that was killed can still be plotted."""
    path = _write(tmp_path / "r.jsonl", [_line(0), _line(1)])
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_results(path)) == 1


def test_times_go_to_the_stage_and_side_that_took_them() -> None:
    """The device's first two, the cloud's two, the device's tail; a frame all on the device adds to each of its own."""
    rows = [
        Row(seq=0, outcome="done", where="cloud", split=2, device_ms=(1.0, 2.0, 5.0), cloud_ms=(3.0, 4.0)),
        Row(seq=1, outcome="done", where="device", split=2, device_ms=(3.0, 4.0, 6.0, 7.0, 9.0)),
        Row(seq=2, outcome="filtered", split=None, device_ms=(5.0,), cloud_ms=(8.0,)),
    ]
    assert stage_times(rows) == [
        StageTime(0, "device", 3, 3.0, 3.0, 3.0),
        StageTime(1, "device", 2, 3.0, 2.0, 2.0),
        StageTime(1, "cloud", 1, 8.0, 8.0, 8.0),
        StageTime(2, "device", 1, 6.0, 6.0, 6.0),
        StageTime(2, "cloud", 1, 3.0, 3.0, 3.0),
        StageTime(3, "device", 1, 7.0, 7.0, 7.0),
        StageTime(3, "cloud", 1, 4.0, 4.0, 4.0),
        StageTime(4, "device", 2, 7.0, 5.0, 5.0),
    ]


def test_a_quantile_of_sorted_samples_is_one_of_them() -> None:
    """At rank floor(q * (n - 1))."""
    assert [quantile([1.0, 2.0, 3.0, 4.0], q) for q in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 3.0, 4.0]
    assert quantile([], 0.5) == 0.0


@pytest.mark.parametrize(
    "lines",
    [
        _mixed(200),
        [_line(0)],
        [_line(seq, outcome="dropped", reason="late", latency_ms=None, device_ms=[], cloud_ms=[], split=None) for seq in range(3)],
        [_line(seq, stream=f"camera {seq % 2}", latency_ms=0.0, device_ms=[0.0], cloud_ms=[]) for seq in range(4)],
    ],
    ids=["mixed", "one frame", "all dropped", "two streams, no times"],
)
def test_any_run_can_be_drawn(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """The file is a PNG, whatever its name, and drawing warns of nothing."""
    out = tmp_path / "plot"
    plot_run(_write(tmp_path / "r.jsonl", lines), out, ("camera", "blur"))
    assert out.read_bytes().startswith(PNG)


def test_the_command_draws_and_prints_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named as asked; those without a name by their number."""
    results = _write(tmp_path / "r.jsonl", _mixed(10))
    assert main([str(results), "-o", str(tmp_path / "o.png"), "--stages", "camera, blur"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("camera", "blur", "stage 2", "device", "cloud"))
    assert (tmp_path / "o.png").read_bytes().startswith(PNG)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and no traceback, for a missing file and for one that is something else."""
    (tmp_path / "r.jsonl").write_text("nonsense\n")
    for name, wrong in (("none.jsonl", "No such file"), ("r.jsonl", "not a result")):
        assert main([str(tmp_path / name), "-o", str(tmp_path / "o.png")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert wrong in error


def test_tables_show_the_run_and_its_stages() -> None:
    """Counts, reasons, FPS, latency and a line per stage."""
    summary = Summary()
    summary.captured(0.0, 4)
    summary.add("done", "cloud", 0.02, (0.001, 0.002), (0.003,), split=2, now=1.0, sent_bytes=2_000_000)
    summary.add("dropped", reason="late", now=1.0)
    text = _text(summary_table(summary.snapshot(2.0, in_flight=1), ("camera", "blur")))
    for wanted in ("4 in 2.0 s", "0 on the device, 1 in the cloud", "1 (late 1)", "1 (does not add up)", "0.5", "2.00 MB"):
        assert wanted in text
    for wanted in ("camera", "blur", "stage 2", "3.000 ms"):
        assert wanted in text
    assert "blur" in _text(stage_table([StageTime(1, "device", 5, 1.0, 2.0, 3.0)], ("camera", "blur")))


def test_measuring_loads_no_plotting_no_tables_and_no_torch() -> None:
    """Nor does importing the modules that draw: they load what they need when they draw."""
    code = (
        "import sys, metrics, metrics.clock, metrics.estimate, metrics.host, metrics.report, metrics.summary, metrics.trace\n"
        "print(sorted({'matplotlib', 'rich', 'torch', 'numpy', 'zmq'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
