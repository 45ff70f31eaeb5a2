"""The live line, the notes and the stage table."""

from __future__ import annotations

import io
import os

import pytest

from iot_client.cli.listing import listing
from iot_client.client import Statistics
from iot_client.media.display import Display, attained_rows, decisions_table, emit, live_line, render
from iot_client.media.sinks import OutputError, ReaderGone
from iot_client.splitting.attainment import Attained
from iot_client.splitting.goal import Goal
from iot_client.splitting.guide import Standing
from metrics.host import HostSample
from metrics.summary import Summary
from metrics.tables import summary_table
from tasks import Aggregate, App, Input, Speculative, StatefulTask, Task
from tests.unit.races import Named, raced

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


def standing(**changes):
    """A decision that holds its goal with five stages here."""
    fields = dict.fromkeys(Standing.__struct_fields__, 0.0)
    fields.update(k=5, codec="jpeg:70", k2=0, codec2="", share=0.0, met=True, lacking="", moves=1, bottleneck="device")
    return Standing(**(fields | changes))


def automatic(**changes):
    """The statistics of a client that stands so."""
    return Statistics(captured=4, in_flight=0, split=5, window=4, link="up", codec="jpeg:70", standing=standing(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "k 5/6 jpeg:70"),
        ({"k": 6, "codec": ""}, "k 6/6"),
        ({"k2": 6, "share": 0.3}, "k 5/6 (30 % 6) jpeg:70"),
        ({"k": 6, "codec": "", "k2": 5, "codec2": "jpeg:70", "share": 0.7}, "k 5/6 (30 % 6) jpeg:70"),
        ({"k2": 5, "codec2": "jpeg:75", "share": 0.25}, "k 5/6 (25 % jpeg:75) jpeg:70"),
        ({"k2": 3, "codec2": "raw", "share": 0.1}, "k 5/6 (10 % 3 raw) jpeg:70"),
    ],
)
def test_a_mix_shows_its_larger_part_first(changes, words):
    """With the share of the other part, its stage count and its codec where they differ."""
    assert live_line(a_run().snapshot(1.0), automatic(**changes), 6).split(" | ")[1] == words


def test_a_fixed_codec_shows_where_something_is_sent():
    """Raw is what nobody asked about."""
    for split, codec, words in ((3, "png", "k 3/6 png"), (6, "png", "k 6/6"), (3, "raw", "k 3/6")):
        statistics = Statistics(captured=4, in_flight=0, split=split, window=4, link="up", codec=codec)
        assert live_line(a_run().snapshot(1.0), statistics, 6).split(" | ")[1] == words


def test_every_target_stands_behind_its_figure(monkeypatch):
    """Frames per second, the deadline in ms, Mbit/s, and percent of the whole machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    summary = a_run()
    summary.host(HostSample(at=1.0, system_cpu=51.0, process_cpu=34.4, rss=1, cores=2))
    goal = Goal(fps=17.0, slo=0.1, max_cpu=40.0, max_mbit=5.5)
    parts = live_line(summary.snapshot(1.0), automatic(), 6, goal).split(" | ")
    assert parts[0].endswith("/17") and parts[2] == "p50 10.0 p95 10.0/100 ms"
    assert parts[3].endswith("/5.5 Mbit/s") and parts[5] == "CPU 9/40 % of the machine, host 51 %"


def test_a_goal_that_cannot_be_held_says_so():
    """What is lacking stands behind the split."""
    line = live_line(a_run().snapshot(1.0), automatic(met=False, lacking="17 fps: 9 at most"), 6, Goal(fps=17.0))
    assert line.split(" | ")[2] == "cannot hold 17 fps: 9 at most"


def test_the_summary_tells_how_long_the_goal_was_met_and_why_stages_moved():
    """The goal in words, shares of windows, moves, and the latest decisions with their times."""
    decisions = [{"at_s": float(second), "text": f"reason {second}"} for second in range(20)]
    attained = Attained(goal=Goal(fps=17.0, slo=0.1), windows=8, fps=0.875, slo=0.5, moves=3, decisions=decisions)
    assert attained_rows(attained) == [
        ("goal", "17 FPS, 95 % within 100 ms"), ("FPS held", "in 88 % of 8 windows of 5 s"),
        ("deadline met", "in 50 % of 8 windows of 5 s"), ("moves", "3"), ("decisions", "20"),
    ]
    lines = render(io.StringIO(), decisions_table(attained)).splitlines()
    assert lines[0] == "Decisions" and "8 earlier ones" in lines[1] and lines[2].split() == ["8.0", "s", "reason", "8"]
    assert lines[-1].split() == ["19.0", "s", "reason", "19"] and len(lines) == 14


def test_a_short_run_does_not_claim_to_have_met_a_goal():
    """Nor to have missed it."""
    rows = attained_rows(Attained(goal=Goal(fps=17.0), windows=0, fps=None, slo=None, moves=0, decisions=[]))
    assert rows[1] == ("goal met", "not known: no window of 5 s has ended")


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
    assert "the whole value" in listing(app, io.StringIO())
    text = listing(app, io.StringIO())
    rows = {line.split()[1]: line for line in text.splitlines() if line.strip()[:1].isdigit() or line.strip().startswith("- ")}
    assert list(rows) == ["input", "follow", "detect", "board"]
    assert "device, keeps state" in rows["follow"] and "legal" in rows["follow"]
    assert "cloud" in rows["detect"] and "no_such_package (missing here), cv2" in rows["detect"]
    assert "may only run on the cloud" in rows["detect"]
    assert "one place for all devices" in rows["board"]
    assert f"fingerprint {app.fingerprint()}" in text
    assert "Legal stage counts on this device: 2." in text


class Look(Task):
    reads, writes, accepts = ("image", "box"), ("face",), {"image": ("jpeg:60", "width:320")}

    def run(self, item):
        return item


class Find(Task):
    reads, writes, accepts = ("image",), ("box",), ("jpeg:40",)

    def run(self, item):
        return item


class Blur(Task):
    accepts = ("jpeg:30",)

    def run(self, item):
        return item


def test_the_listing_tells_what_each_split_sends_and_may_lose():
    """By field where the stages behind declare them, the strictest of them; else the whole value; nothing at the end."""
    lines = listing(App("door", [Input(), Blur(), Find(), Look()]), io.StringIO()).splitlines()
    sent = [line.partition(" legal ")[2].strip() for line in lines if line.strip()[:1].isdigit()]
    assert sent == ["the whole value (jpeg:30)", "image (jpeg:60)", "box, image (jpeg:60 width:320)", "nothing"]


def test_the_listing_tells_the_race_in_words():
    """Who races and what they are made of, by which rule, what each side needs, and that all behind it runs on the device."""
    race = {"local": Named("small", requires=("gone",)), "cloud": (Named("large", requires=("torch",)), [Named("crop"), Named("huge")])}
    text = listing(raced(Named("draw"), **race, deadline=0.2, prefer="first", on_miss="drop"), io.StringIO())
    assert "Race at 'speculative': cloud: large, cloud2: crop -> huge, then local: small (not here: gone is missing)." in text
    assert "Within 200 ms of capture the first answer wins; without one the frame is dropped." in text
    rows = {line.split()[1]: line for line in text.splitlines() if line.strip()[:1].isdigit()}
    assert "device and cloud, raced" in rows["speculative"] and "gone (missing here), torch (server)" in rows["speculative"]
    assert "device or cloud" in rows["resize"] and "device or cloud" not in rows["draw"]
    alone = listing(App("t", [Input(), Speculative(cloud=Named("a"))]), io.StringIO())
    assert "cloud: a, no local one." in alone and "without one the local answer is waited for, or where there is none a cloud's." in alone
