"""One run of an experiment on virtual time: the machines of device and server, in a world made of measured costs.

    run = run_virtual(load("my_lab.toml"), "auto", seed=0)

The same experiment and seed give the same run; only the costs of the app are this machine's, measured once.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from experiments.appcosts import AppCosts, costs_of
from experiments.imagezmq_model import run_imagezmq
from experiments.lab import Lab, check_run
from experiments.reporting.rows import run_of
from experiments.reporting.runs import Run
from experiments.setting import Setting, base_costs, scenario_of, setting_of
from experiments.simulation.record import Learned
from experiments.simulation.simulate import simulate
from experiments.traced_link import PAYLOAD
from experiments.truth import CostsAt
from experiments.truth import true_costs as costs_over_time
from iot_client.splitting.costs import Costs
from iot_client.splitting.knowledge import Knowledge
from tasks.app import load as load_app

__all__ = ["run_virtual", "true_costs"]

_WARM_S = 10.0
"""Seconds of a first run, from which the next one knows."""


def run_virtual(
    lab: Lab, policy: str, seed: int, note: Callable[[str], None] = lambda text: None, *, costs: AppCosts | None = None
) -> Run:
    """Runs one policy of a lab with one seed.

    Args:
        note: told what takes time, in a line.
        costs: of the app, where they are not to be measured.

    Raises:
        ValueError: the policy is none, or none that can be run; the clip cannot be read; the text says which.
    """
    check_run(lab, policy)
    setting = _setting(lab, costs, note)
    if policy.partition(":")[0] in ("reqrep", "pubsub"):
        return run_imagezmq(lab, setting, policy, seed)
    prior = _learned(lab, setting, seed) if lab.warm and policy == "auto" else None
    return run_of(lab, setting, policy, seed, simulate(scenario_of(lab, setting, policy, seed, prior), seed))


def true_costs(lab: Lab, seed: int, *, costs: AppCosts | None = None) -> CostsAt:
    """What is true in the runs of this lab, over time; the oracle chooses by it. Headers leave their part of the link."""
    setting = _setting(lab, costs, lambda text: None)
    costs_at = costs_over_time(lab, base_costs(lab, setting), seed)

    def at(t: float) -> Costs:
        found = costs_at(t)
        return replace(found, up=found.up * PAYLOAD, down=found.down * PAYLOAD, offered=setting.rate)

    return at


def _setting(lab: Lab, costs: AppCosts | None, note: Callable[[str], None]) -> Setting:
    return setting_of(lab, load_app(lab.app), costs or costs_of(lab.app, lab.clip, lab.size, note, lab.variant))


def _learned(lab: Lab, setting: Setting, seed: int) -> Knowledge | None:
    """What a first run knows at its end."""
    short = replace(lab, seconds=min(lab.seconds, _WARM_S))
    records = simulate(scenario_of(short, setting, "auto", seed), seed).records
    return next((record.what.knowledge for record in reversed(records) if type(record.what) is Learned), None)
