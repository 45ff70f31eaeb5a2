"""A report on disk says what was measured, and can be read back float for float."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from math import inf
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.lab_runs import BASE, LAB, even, run_of, steady_run

from experiments.description import description
from experiments.oracle import Least, oracle_run
from experiments.reporting.comparison import COLUMNS, best, table, written
from experiments.reporting.measure import Spread
from experiments.reporting.page import page, write_page
from experiments.reporting.report import Report, make_report, read, write
from experiments.reporting.runs import DecisionRow, FrameRow, SampleRow
from experiments.reporting.table import read_rows, write_rows, write_table
from experiments.truth import true_costs


@pytest.fixture(scope="module")
def report() -> Report:
    """Two seeds of two policies and the oracle."""
    decisions = (DecisionRow(0, 0.0, False, True, "starts with k = 1 <all>"), DecisionRow(0, 10.5, True, False, "cannot hold 10 fps"))
    samples = tuple(SampleRow(0, at / 4, 1.0, "jpeg:50", 0.1, 5e5, 1e3, 1e6, 0.0, 12.0, 0.04, 0.05, 0.01, 9e5) for at in range(80))
    runs = [steady_run(LAB, policy, seed) for policy in ("auto", "remote:raw") for seed in (0, 1)]
    runs[0] = msgspec.structs.replace(runs[0], decisions=decisions, samples=samples, facts={"cpu_given": 0.2, "free": inf})
    runs.append(oracle_run(LAB, true_costs(LAB, BASE, 0), 0))
    return make_report(LAB, runs, command="python -m experiments run x --seeds 2", least=Least(server_s=0.005, how="linear program"))


class _Page(HTMLParser):
    """What a browser would load, the text it shows, and whether all elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_report_reads_back_as_it_was_written(report: Report, tmp_path: Path) -> None:
    """All runs, rows and figures are equal; an infinite fact, which JSON cannot say, is left out before."""
    write(report, tmp_path)
    assert read(tmp_path) == report
    assert report.measured[0].run.facts == {"cpu_given": 0.2}


def test_the_data_can_be_read_without_us(report: Report, tmp_path: Path) -> None:
    """report.json has the medians by policy; frames.csv a line for each frame of each run."""
    write(report, tmp_path)
    found = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert found["medians"]["remote:raw"]["server_s"]["middle"] == pytest.approx(0.01)
    assert {"CPU", "kernel", "Python"} <= found["environment"].keys()
    with (tmp_path / "frames.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(one.run.frames) for one in report.measured)
    assert {(line["policy"], line["seed"]) for line in lines} >= {("auto", "1"), ("oracle", "0")}


def test_the_page_needs_no_network_and_says_it_all(report: Report, tmp_path: Path) -> None:
    """Everything in it is in it; the policies, decisions, least server time and command are there, and escaped."""
    text = write_page(report, tmp_path).read_text(encoding="utf-8")
    found = _Page(text)
    assert not found.open
    assert len(found.sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in found.sources)
    assert not re.search(r"(src|href)=\"?https?:", text)
    shown = " ".join(found.texts)
    for words in ("by hand", "remote:raw", "starts with k = 1 <all>", "5.000 ms per frame", report.command, "10.50 s"):
        assert words in shown


def test_the_page_is_the_same_each_time(report: Report) -> None:
    """Equal data give an equal page, so that a diff of two reports shows what differs."""
    assert page(report) == page(report)


def test_a_run_without_samples_decisions_or_frames_is_drawn_too() -> None:
    """A peer's run has no samples, a broken one not even frames."""
    text = page(make_report(LAB, [steady_run(LAB, "reqrep:80", 0), run_of([], policy="local")], command="x"))
    assert "no frames" in text


def test_of_several_devices_the_first_is_drawn() -> None:
    """And the page says so."""
    run = run_of([*even(0.0, 20.0, 10.0), *even(0.0, 20.0, 10.0, device=1)])
    assert "Of 2 devices the first is drawn." in page(make_report(LAB, [run], command="x"))


def test_a_report_of_nothing_is_a_page_all_the_same() -> None:
    """Interrupted before the first run was over."""
    assert "nothing was run" in page(make_report(LAB, [], command="x"))


def test_what_is_no_report_is_named(report: Report, tmp_path: Path) -> None:
    """An empty folder, a damaged line, a damaged file: the text says which."""
    with pytest.raises(ValueError, match=r"holds no report: .*report\.json"):
        read(tmp_path)
    write(report, tmp_path)
    (tmp_path / "samples.csv").write_text("policy,seed,device,at\nauto,0,0,soon\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"samples\.csv, line 2: .*float"):
        read(tmp_path)
    (tmp_path / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"report\.json"):
        read(tmp_path)


rows = st.builds(
    FrameRow, device=st.integers(0, 9), seq=st.integers(0), captured=st.floats(0, 1e5), latency=st.floats(0, allow_infinity=True),
    outcome=st.sampled_from(["done", "dropped"]),
    where=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")), k=st.integers(0, 20),
    server_s=st.floats(0, 1), score=st.floats(-1, 1),
)  # fmt: skip


@given(st.dictionaries(st.tuples(st.sampled_from(["auto", "remote:jpeg:50"]), st.integers(0, 99)), st.lists(rows, min_size=1), max_size=3))
def test_rows_survive_a_csv_file(tmp_path_factory: pytest.TempPathFactory, runs: dict[tuple[str, int], list[FrameRow]]) -> None:
    """Whatever numbers and words they hold."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(path, FrameRow, runs.items())
    assert read_rows(path, FrameRow) == {key: tuple(found) for key, found in runs.items()}


def test_a_table_has_all_names_that_occur(tmp_path: Path) -> None:
    """In the order of their first line, empty where a line lacks one."""
    write_table(tmp_path / "x.csv", [{"a": 1}, {"b": 2.5, "a": 3}])
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").split() == ["a,b", "1,", "3,2.5"]


def test_the_best_is_marked_unless_all_are_equal_and_never_the_oracle() -> None:
    """More fps is better, less server time is; the oracle competes with nobody; equal as written is equal."""
    fps, server = (next(column for column in COLUMNS if column.name == name) for name in ("fps", "server_s"))
    one, two, top = (Spread(value, value, value) for value in (10.0, 12.0, 30.0))
    policies = {"a": {"fps": one, "server_s": one}, "b": {"fps": two, "server_s": two}, "oracle": {"fps": top, "server_s": top}}
    assert (best(fps, policies), best(server, policies)) == ({"b"}, {"a"})
    assert best(fps, {"a": {"fps": one}, "b": {"fps": Spread(10.01, 10.0, 10.1)}}) == set()


def test_a_figure_shows_its_range_only_where_it_is_one() -> None:
    """17.04 to 17.06 fps is 17.0 to 17.1; equal as written, no range; absent, a dash."""
    fps = COLUMNS[0]
    assert written(fps, Spread(17.05, 17.04, 17.06)) == ("17.1", "17.0\u201317.1")
    assert written(fps, Spread(17.0, 17.0, 17.0)) == ("17.0", "")
    assert written(fps, None) == ("-", "")


def test_the_terminals_table_has_a_line_for_each_policy(report: Report) -> None:
    """And no column that no policy has a figure for."""
    made = table(report.medians, "x")
    assert made.row_count == 3
    assert "score" not in [str(column.header) for column in made.columns]


def test_the_setting_is_said_in_words() -> None:
    """Deadline in ms, the link's two rates."""
    words = description(LAB)
    assert words["deadline"] == "100 ms"
    assert words["link"] == "8 and 4 Mbit/s up in turn, 10 s each, 5 ms one way"
    assert words["goal"] == "at least 10 fps, 95 of 100 frames within 100 ms"


def test_figures_say_what_the_rows_hold(report: Report) -> None:
    """Both seeds of a policy in its medians: 40 and 41 ms."""
    assert report.medians["auto"]["p50"] == Spread(*(pytest.approx(value) for value in (0.0405, 0.04, 0.041)))
    assert len(even(0.0, 20.0, 10.0)) == len(report.measured[0].run.frames)
