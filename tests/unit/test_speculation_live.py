"""The experiment on races run live: what can be, its app, and how a device's log becomes rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from experiments.command import main
from experiments.speculation.app import app
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.live import recorded, refused
from experiments.speculation.measure import figures_of
from iot_client import Client
from iot_client.events import Deliver, FrameCaptured, MessageReceived, StagesDone
from iot_client.outcome import Done, Dropped
from metrics.trace import TraceWriter
from wire.protocol import Result

LAB = SpeculationLab(name="x", seconds=1.0, fps=4.0, warmup=0.0)


def test_what_no_option_of_a_client_says_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Systems of the simulation alone: before anything is made, with what is legal."""
    assert refused(LAB).startswith("systems last, local, cloud; legal live are risk, always, never")
    assert main(["run", "speculation_live", "--body", "live", "--policies", "risk:0.01"]) == 2
    assert "legal live are" in capsys.readouterr().err


def test_the_app_takes_as_long_as_it_is_told() -> None:
    """Its camera ends by itself; the small answer takes its time here, the picture has its bytes."""
    made = app(fps=100.0, frames=3, head_ms=0.0, nbytes=500, local_low=10.0, local_high=12.0)
    with Client(made) as client:
        results = list(client.results(10.0))
    assert [result.value for result in results] == ["small"] * 3
    assert all(result.device_s[-1] >= 0.01 for result in results)
    assert made.chain[1].run((0.0, 0.0))["picture"].nbytes == 500


def log(folder: Path) -> None:
    """Four frames from 100.0 s on: by the server, here at the deadline, late here, and by nobody."""
    with TraceWriter(folder / "trace.jsonl") as trace:
        trace.start(100.0, {})
        for seq in range(4):
            trace.event(100.0 + seq / 10, FrameCaptured(seq, 100.0 + seq / 10))
        trace.event(100.04, MessageReceived(Result(0, "done", 2, 3, times_us=(20_000,)), 1, 1))
        for seq in (1, 2):
            trace.event(100.2, StagesDone(seq, 2, 3, "done", (0.045,), answers=1))
        for seq, latency, entrant in ((0, 0.05, "cloud"), (1, 0.155, "local"), (2, 0.3, "local")):
            where = "cloud" if entrant == "cloud" else "device"
            trace.command(101.0, Deliver(seq, Done(where), 2, 100.0, latency, entrant=entrant, sent_bytes=1000))
        trace.command(101.0, Deliver(3, Dropped("late"), 2, 100.0, 0.15))
    (folder / "summary.json").write_text(json.dumps({"race": {"risk": [[0.1, 0.2, 30]], "brier": 0.05}}))


def test_a_log_becomes_rows(tmp_path: Path) -> None:
    """What ran where for each frame; an answer that stands at the deadline is in time, one of 45 ms later is not."""
    log(tmp_path)
    run = recorded(LAB, "risk", 150.0, 0, tmp_path, 99.5)
    assert [frame.captured for frame in run.frames] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert [(frame.entrant, frame.local_s, frame.cloud_s) for frame in run.frames] == [
        ("cloud", 0.0, 0.02), ("local", 0.045, 0.0), ("local", 0.045, 0.0), ("", 0.0, 0.0),
    ]  # fmt: skip
    figures = figures_of(run, LAB)
    assert (figures.frames, figures.miss_rate, figures.local_ms, run.brier, run.bins[0].frames) == (4, 0.5, pytest.approx(22.5), 0.05, 30)
    assert figures_of(replace(run, grace_s=0.0), LAB).miss_rate == 0.75
