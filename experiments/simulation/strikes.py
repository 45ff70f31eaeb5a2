"""Faults that strike at a step instead of a time: step i is the i-th thing that happens in a run, so no moment is too short to be hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from iot_client.events import SplitRequested

if TYPE_CHECKING:
    from experiments.simulation.device_body import DeviceBody
    from experiments.simulation.server_body import ServerBody

__all__ = ["KINDS", "Strike", "strike"]

Kind = Literal["kill", "hang server", "hang device", "reset", "blackhole", "lose", "double", "harm", "hold", "split", "tick"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Strike(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault at one step, at this device (modulo their number) or on its path; `seconds` is how long it lasts, where it does.

    The next message after the step is lost, doubled, harmed (some of its bits flip) or held back; `split` asks for `k`;
    `tick` is one nobody asked for, at every machine.
    """

    step: int
    kind: Kind
    device: int = 0
    seconds: float = 0.3
    k: int = 1


def strike(plan: Strike, devices: list[DeviceBody], server: ServerBody) -> None:
    """Do what is planned, if there is still somebody to do it to."""
    device = devices[plan.device % len(devices)]
    path = device.path
    if plan.kind == "kill":
        server.kill(plan.seconds)
    elif plan.kind == "hang server":
        server.hang(plan.seconds)
    elif plan.kind == "tick":
        server.spurious_tick()
        for each in devices:
            each.spurious_tick()
    elif device.over or not device.life:
        return
    elif plan.kind == "hang device":
        device.hang(plan.seconds)
    elif plan.kind == "split":
        device.feed(SplitRequested(plan.k))
    elif path is not None:
        if plan.kind == "reset":
            path.cut()
        elif plan.kind == "blackhole":
            path.blackhole()
        else:
            path.fate = plan
