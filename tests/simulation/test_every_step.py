"""A fault at every single step of a short run, one run for each: no moment is too short to be hit."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from experiments.simulation.checker import validate
from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from experiments.simulation.simulate import simulate
from experiments.simulation.strikes import KINDS, Strike

EVERY = 5
"""Steps from one run to the next; `scripts/chaos --rows 28` leaves none out."""

STAGES = (Stage(device_ms=0.5), Stage(device_ms=3, cloud_ms=2, nbytes=20_000), Stage(device_ms=4, cloud_ms=2, nbytes=300))
PLANS = {
    mode: Scenario(
        stages=STAGES, server=Server(workers=1, credit=70_000), aggregate=True, limit=120.0,
        devices=(Device(k=1, mode=mode, frames=10, fps=50.0, network=Network(latency_ms=5, mbit_s=50)),),  # type: ignore[arg-type]
    )
    for mode in ("lossless", "live")
}  # fmt: skip


@pytest.mark.parametrize("mode", PLANS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_step_breaks_no_promise(kind: str, mode: str) -> None:
    """The checker finds nothing, wherever the fault strikes."""
    plan = PLANS[mode]
    steps = simulate(plan, 1).steps
    for step in range(1, steps + 1, EVERY):
        struck = replace(plan, strikes=(Strike(step=step, kind=kind, k=2),))  # type: ignore[arg-type]
        assert validate(simulate(struck, 1)) == [], f"{kind} at step {step} of {steps}"
