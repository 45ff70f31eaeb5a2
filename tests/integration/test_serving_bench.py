"""The load of the serving benchmark reaches real servers and loses no frame from sight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from benchmarks import serving_app
from benchmarks.child import Child, free_port, python
from benchmarks.peers.batcher import BatcherLink, Rule
from benchmarks.serving_link import SpillwayLink
from benchmarks.serving_load import Link, open_loop

RATES = (60.0, 30.0)


@pytest.fixture(params=["plain", "spillway"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Devices of a server in a process of its own."""
    port = free_port()
    if request.param == "plain":
        with Child(python("benchmarks.peers.batcher", str(port), "timed")):
            with closing(BatcherLink(port)) as plain:
                plain.rule = Rule(4, 0.01, 16)
                yield plain
    else:
        options = ("--app", "benchmarks.serving_app:timed", "--port", str(port), "--executor", "thread", "--workers", "1")
        with Child(python("cloud_server", *options)):
            with closing(SpillwayLink(port, serving_app.timed)) as own:
                yield own


def test_every_frame_is_answered_or_refused(link: Link) -> None:
    """Within the capacity each device's frames leave at its rate, and each has one answer: it was run, or turned away."""
    turn = open_loop(link, RATES, slo=5.0, seconds=0.5, warmup=0.1, capacity=100.0)
    for score, rate in zip(turn.scores, RATES):
        assert score.offered == pytest.approx(rate * 0.5, abs=1.5)
        assert score.refused + len(score.latencies) == score.offered
    assert sum(len(score.latencies) for score in turn.scores) > 0
    again = open_loop(link, RATES[:1], slo=5.0, seconds=0.2, warmup=0.0, capacity=100.0)
    assert len(again.scores) == 1 and again.scores[0].latencies
