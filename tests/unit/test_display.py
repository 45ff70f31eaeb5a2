"""The live line, the notes and the stage table."""

from __future__ import annotations

import io
import os

import pytest

from iot_client.client import Statistics
from iot_client.display import Display, emit, live_line, render
from iot_client.listing import listing
from iot_client.sinks import OutputError, ReaderGone
from metrics.host import HostSample
from metrics.summary import Summary
from metrics.tables import summary_table
from tasks import Aggregate, App, Input, StatefulTask, Task

LOCAL = Statistics(captured=4, in_flight=0, split=3, window=4, link="local")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


class Detect(Task):
    placement, requires = "cloud", ("no_such_package", "cv2")

    def run(self, item):
        return item


class Follow(StatefulTask):
    placement = "device"

    def initial(self):
        return 0

    def run(self, value, state):
        return value, state


class Board(Aggregate):
    def add(self, device, seq, value):
        raise NotImplementedError


def a_run():
    """Three frames over one second, one of them dropped."""
    summary = Summary()
    summary.captured(0.0, 4)
    summary.add("done", "device", 0.010, now=0.5, sent_bytes=0)
    summary.add("filtered", "", 0.010, now=1.0, sent_bytes=250_000)
    summary.add("dropped", reason="late", now=1.0)
    return summary


def test_the_line_has_every_figure():
    """FPS, k, latency, link with round trip and rate, outcome counts, CPU."""
    summary = a_run()
    summary.host(HostSample(at=1.0, system_cpu=51.0, process_cpu=34.4, rss=1, cores=2))
    statistics = Statistics(captured=4, in_flight=1, split=3, window=4, link="up", rtt_s=0.00123)
    line = live_line(summary.snapshot(1.0), statistics, 6)
    parts = line.split(" | ")
    assert parts[0].startswith("FPS ") and float(parts[0][4:]) > 0
    assert parts[1] == "k 3/6"
    assert parts[2] == "p50 10.0 p95 10.0 ms"
    assert parts[3].startswith("link up 1.2 ms ") and parts[3].endswith(" Mbit/s") and float(parts[3].split()[4]) > 0
    assert parts[4] == "done 1 filtered 1 dropped 1 failed 0"
    assert parts[5] == "CPU 34 % of a core, host 51 %"


def test_a_local_run_shows_no_link():
    """Nor figures that are not there yet."""
    assert live_line(Summary().snapshot(0.0), LOCAL, 6).split(" | ")[2:] == [
        "p50 - p95 - ms", "local", "done 0 filtered 0 dropped 0 failed 0",
    ]


def test_a_terminal_sees_one_line_redrawn_four_times_a_second():
    """Each redraw starts at the left edge and leaves nothing of the last; the summary takes its place."""
    screen, snapshot = Screen(), a_run().snapshot(1.0)
    display = Display(screen, quiet=False, n=6)
    assert not display.due(10.0)
    due = [now for now in (10.1, 10.2, 10.25, 10.4, 10.5) if display.due(now) and display.refresh(now, snapshot, LOCAL) is None]
    assert due == [10.25, 10.5]
    assert screen.getvalue().count("\n") == 0
    assert screen.getvalue().count("\rFPS") == 2
    display.finish(summary_table(snapshot))
    assert "\r\x1b[K" in screen.getvalue() and "frames captured" in screen.getvalue()


def test_a_file_gets_a_line_every_five_seconds():
    """A log is not flooded and holds no control characters."""
    log, snapshot = io.StringIO(), a_run().snapshot(1.0)
    display = Display(log, quiet=False, n=6)
    for tenth in range(120):
        if display.due(tenth / 10):
            display.refresh(tenth / 10, snapshot, LOCAL)
    assert len(log.getvalue().splitlines()) == 2
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()


def test_a_narrow_terminal_gets_a_shorter_line(monkeypatch):
    """A line that wraps could not be redrawn."""
    monkeypatch.setenv("COLUMNS", "30")
    screen = Screen()
    display = Display(screen, quiet=False, n=6)
    display.due(0.0)
    display.refresh(1.0, a_run().snapshot(1.0), LOCAL)
    assert len(screen.getvalue().removeprefix("\r").removesuffix("\x1b[K")) == 29


def test_quiet_leaves_warnings_and_errors(capsys):
    """Information, line and summary are left out; trouble is not."""
    log = io.StringIO()
    display = Display(log, quiet=True, n=6)
    for level in ("info", "warning", "error"):
        display.note(level, f"a piece of {level}")
    assert display.due(0.0)
    display.refresh(99.0, a_run().snapshot(1.0), LOCAL)
    display.finish(summary_table(a_run().snapshot(1.0)))
    assert log.getvalue() == ""
    assert capsys.readouterr().err == "iot-client: warning: a piece of warning\niot-client: a piece of error\n"


def test_a_flood_of_notes_is_cut_off(capsys):
    """A fault that befalls every frame does not fill the screen."""
    display = Display(io.StringIO(), quiet=False, n=6)
    for number in range(500):
        display.note("warning", f"trouble {number}")
    display.show_notes()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and lines[-1].endswith("... and 490 more of the kind")


@pytest.mark.parametrize(("target", "kind"), [("/dev/full", OutputError), ("pipe", ReaderGone)])
def test_a_broken_standard_stream_is_an_error_once(tmp_path, target, kind):
    """After it the stream leads nowhere, so that Python does not stumble over its buffer at exit."""
    if target == "pipe":
        read_end, write_end = os.pipe()
        os.close(read_end)
        stream = open(write_end, "w")  # noqa: SIM115 - closed below
    else:
        stream = open(target, "w")  # noqa: SIM115 - closed below
    with pytest.raises(kind, match="standard output"):
        emit(stream, "x" * 100_000)
    emit(stream, "more")
    stream.close()


def test_tables_use_only_characters_the_stream_has():
    """A terminal with an old encoding gets question marks rather than a traceback."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render(stream, summary_table(a_run().snapshot(1.0))).encode("ascii")


def test_the_listing_names_every_stage_its_place_and_why_it_may_not_be_split():
    """Placement, what is missing here, state, the aggregate, and the legal counts."""
    app = App("guard", [Input(), Follow(), Detect(), Board()])
    text = listing(app, io.StringIO())
    rows = {line.split()[1]: line for line in text.splitlines() if line.strip()[:1].isdigit() or line.strip().startswith("- ")}
    assert list(rows) == ["input", "follow", "detect", "board"]
    assert "device, keeps state" in rows["follow"] and "legal" in rows["follow"]
    assert "cloud" in rows["detect"] and "no_such_package (missing here), cv2" in rows["detect"]
    assert "may only run on the cloud" in rows["detect"]
    assert "one place for all devices" in rows["board"]
    assert f"fingerprint {app.fingerprint()}" in text
    assert "Legal stage counts on this device: 2." in text
