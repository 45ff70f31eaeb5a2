"""Runs made by hand, whose figures are known before they are measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.lab import GoalSpec, Lab
from experiments.links import LinkSpec
from experiments.reporting.runs import FrameRow, Run
from iot_client.splitting.costs import Costs, Option, StageCost

__all__ = ["BASE", "LAB", "even", "run_of", "steady_run"]

LAB = Lab(
    name="by hand", seconds=20.0, warmup=5.0, rate=10.0, goal=GoalSpec(fps=10.0, slo_ms=100.0),
    link=LinkSpec(kind="step", up_mbit=8.0, low_mbit=4.0, period_s=10.0, delay_ms=5.0),
)  # fmt: skip

BASE = Costs(
    stages=(StageCost(0.01), StageCost(0.03, server_s=0.01)),
    options=(Option(2), Option(1, "raw", 100, 100_000.0), Option(1, "jpeg:50", 50, 10_000.0)), stop=2, cpu=0.2, cores=2.0,
)  # fmt: skip
"""Local 40 ms of CPU, remote 10: with 0.2 cores 5 and 20 fps."""


def even(start: float, stop: float, rate: float, **fields: Any) -> list[FrameRow]:
    """Frames captured at this rate from start to before stop."""
    count = round((stop - start) * rate)
    given = {"device": 0, "latency": 0.05, "outcome": "done", **fields}
    return [FrameRow(seq=index, captured=start + index / rate, **given) for index in range(count)]


def run_of(frames: Iterable[FrameRow], **fields: Any) -> Run:
    """A run of LAB with these frames."""
    given = {"lab": LAB.name, "body": "hand", "policy": "auto", "seed": 0, "seconds": LAB.seconds, **fields}
    return Run(frames=tuple(frames), **given)


def steady_run(lab: Lab, policy: str, seed: int) -> Run:
    """A body that takes no time: every frame at the lab's rate in 40 ms, all on the device but for remote policies."""
    remote = policy.startswith("remote:")
    way: dict[str, Any] = {"where": "device", "k": 2}
    if remote:
        way = {"where": "cloud", "k": 1, "codec": policy.partition(":")[2], "nbytes": 20_000, "server_s": 0.01}
    frames = even(0.0, lab.seconds, lab.rate or 10.0, latency=0.04 + 0.001 * seed, **way)
    return run_of(frames, lab=lab.name, policy=policy, seed=seed, seconds=lab.seconds)
