"""What stages with state fold in a simulation: a running hash of the frames each has seen, so that order and number show."""

from __future__ import annotations

from collections.abc import Callable

from experiments.simulation.scenario import Scenario

__all__ = ["INITIAL", "STATE_BYTES", "Sequential", "States", "fold", "moves"]

States = dict[int, int]
"""Stage -> state; what travels."""

INITIAL = 0
STATE_BYTES = 500


def fold(state: int, seq: int) -> int:
    """The state after one more frame (FNV-1a over the seq, 64 bits)."""
    return ((state ^ (seq + 1)) * 1099511628211 + 1) & 0xFFFF_FFFF_FFFF_FFFF


def moves(scenario: Scenario, device: int) -> bool:
    """True if the state of this device's stages may move, as iot_client.terms says."""
    plan = scenario.devices[device]
    lossless = plan.mode == "lossless" and plan.online and (plan.steer is None or bool(plan.steer.regions)) and not plan.deadline_ms
    return lossless and any(stage.stateful for stage in scenario.stages)


class Sequential:
    """The states a run in order on one machine has, by stage, after each frame.

    Args:
        reached: the last stage that a frame comes to.
    """

    def __init__(self, reached: Callable[[int], int]) -> None:
        self._reached = reached
        self._after: dict[int, list[int]] = {}

    def after(self, stage: int, seq: int) -> int:
        """The state of a stage after frame `seq` of a stream of which no frame was given up."""
        known = self._after.setdefault(stage, [])
        while len(known) <= seq:
            state = known[-1] if known else INITIAL
            known.append(fold(state, len(known)) if self._reached(len(known)) >= stage else state)
        return known[seq]
