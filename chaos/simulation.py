"""Row 28: random scenarios under every fault on virtual time; each trace is checked against every promise it can show."""

from __future__ import annotations

import os
import time
from collections import Counter

from chaos.registry import Broken, Run, Seen, promise
from experiments.simulation.seeds import Verdict, run_seeds

__all__ = ["any_seed"]

_NOTED = 5_000
"""Seeds between two signs of life."""


@promise(28, "no seed breaks a promise on virtual time", quick=1_000, full=100_000)
def any_seed(run: Run) -> Seen:
    """Device and server machines under random plans of faults."""
    begun, virtual, bad, events = time.monotonic(), 0.0, [], Counter[str]()
    for number, verdict in enumerate(run_seeds(range(run.seed, run.seed + run.count), jobs=_cores()), start=1):
        virtual += verdict.seconds
        events += verdict.seen
        if verdict.problems:
            bad.append(verdict)
            run.note(_told(verdict))
        if number % _NOTED == 0:
            run.note(f"{number} of {run.count} seeds, {len(bad)} failed")
    took = time.monotonic() - begun
    figures = {"x real time": round(virtual / took), "seeds/s": round(run.count / took)}
    seen = Seen(good=run.count - len(bad), tried=run.count, figures=figures)
    if bad:
        raise Broken(_told(bad[0]), seen)
    return seen


def _told(verdict: Verdict) -> str:
    return f"seed {verdict.seed}: {verdict.problems[0]}; again, with its plan: python -m experiments simulate --seed {verdict.seed}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
