"""Problems for the planner: a family of variants, and clients by chance."""

from __future__ import annotations

from random import Random
from typing import Any

from cloud_server.planning.problem import Choice, Client, Problem

__all__ = ["client", "family", "some_problem"]

SIZES = (96, 160, 224, 288, 352, 416)


def family(slow: float = 1.0, batches: int = 8) -> tuple[Choice, ...]:
    """Six variants; a larger picture takes longer and is seen better."""
    return tuple(
        Choice(f"m{size}", batch, slow * (0.003 + 0.006 * (size / 416) ** 2 * batch), 0.3 + 0.35 * (1 - (1 - size / 416) ** 2))
        for size in SIZES for batch in range(1, batches + 1)
    )


def client(session: int, slo: float = 0.1, fps: float = 15.0, mbit: float = 20.0, overhead: float = 0.005) -> Client:
    """A device whose frames weigh a fifth of a byte per pixel."""
    nbytes = {f"m{size}": size * size * 0.2 for size in SIZES}
    return Client(session=session, fps=fps, slo=slo, overhead=overhead, nbytes=nbytes, bandwidth=mbit * 125e3)


def some_problem(seed: int, workers: int, clients: int, **more: Any) -> Problem:
    """Clients of 5 to 40 frames/s with goals of 40 to 200 ms over links of 1 to 60 Mbit/s."""
    dice = Random(seed)
    devices = tuple(
        client(number, dice.choice((0.04, 0.075, 0.1, 0.15, 0.2)), dice.choice((5.0, 15.0, 25.0, 40.0)), dice.uniform(1, 60))
        for number in range(clients)
    )
    return Problem(workers=workers, clients=devices, choices=family(dice.choice((0.7, 1.0, 2.0))), **more)
