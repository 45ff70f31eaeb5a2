"""What can run an experiment: virtual time or real processes, and the oracle for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import NamedTuple

from experiments.lab import Lab
from experiments.oracle import Least, least_over_time, oracle_run
from experiments.reporting.runs import Run
from experiments.truth import CostsAt, measured_costs, true_costs
from tasks.app import load

__all__ = ["BODIES", "Body", "Note", "least_of", "run_all"]

Note = Callable[[str], None]
"""Told what goes on, for a person who waits."""


class Body(NamedTuple):
    """One way to run an experiment.

    `run` gives one policy with one seed. `costs` are the true costs over time of what it runs, where it knows them;
    without, the oracle goes by what the other runs have shown. `lacking` says what this host lacks, "" if nothing.
    """

    run: Callable[[Lab, str, int, Note], Run]
    costs: Callable[[Lab, int], CostsAt] | None = None
    lacking: Callable[[], str] = str


def _simulated() -> Body:
    virtual = import_module("experiments.virtual")
    return Body(lambda lab, policy, seed, note: virtual.run_virtual(lab, policy, seed), getattr(virtual, "true_costs", None))


def _live() -> Body:
    runner, network = import_module("experiments.live.runner"), import_module("experiments.live.network")
    return Body(partial(runner.run_live, calibrated={}), None, network.unavailable)


BODIES: dict[str, Callable[[], Body]] = {"simulate": _simulated, "live": _live}
"""By name, loaded when asked for."""


def run_all(lab: Lab, body: Body, note: Note) -> Iterator[Run]:
    """Every policy with every seed, in the order of the experiment, but the oracle last."""
    runs: list[Run] = []
    for policy in sorted(lab.policies, key=lambda policy: policy == "oracle"):
        for seed in range(lab.seeds):
            note(f"{policy}, seed {seed}")
            run = _oracle(lab, body, seed, runs) if policy == "oracle" else body.run(lab, policy, seed, _prefixed(note, policy))
            runs.append(run)
            yield run


def least_of(lab: Lab, body: Body, runs: Sequence[Run]) -> Least | None:
    """The least server time at the goal's rate over the experiment's time; None where no rate is asked or no costs are known."""
    costs_at = _costs(lab, body, 0, runs)
    return least_over_time(lab, costs_at) if costs_at and lab.goal.fps else None


def _oracle(lab: Lab, body: Body, seed: int, runs: Sequence[Run]) -> Run:
    costs_at = _costs(lab, body, seed, runs)
    if costs_at is None:
        raise ValueError("policy 'oracle' is computed from what runs have measured, and there is none; add another policy, as auto")
    return oracle_run(lab, costs_at, seed)


def _costs(lab: Lab, body: Body, seed: int, runs: Sequence[Run]) -> CostsAt | None:
    if body.costs is not None:
        return body.costs(lab, seed)
    base = measured_costs(lab, runs, load(lab.app).n)
    return None if base is None else true_costs(lab, base, seed)


def _prefixed(note: Note, policy: str) -> Note:
    return lambda text: note(f"{policy}: {text}")
