"""A random race for each seed."""

from __future__ import annotations

from msgspec.structs import replace

from experiments.racing.plan import GRID, Cloud, Miss, RacePlan, Takes
from experiments.simulation.dice import Dice
from experiments.simulation.scenario import Network, Server

__all__ = ["draw_race"]


def draw_race(seed: int) -> RacePlan:
    """The plan of this seed; every other one is on the grid, where ties are the rule."""
    dice = Dice(f"race {seed}")
    grid = dice.chance(0.5)
    count = dice.pick(0, 1, 1, 1, 2, 2, 2, 3)
    fps = dice.pick(5.0, 16.0, 32.0) if grid else dice.scaled(4.0, 60.0)
    frames = dice.count(8, 40)
    end = frames / fps
    deadline = dice.pick(64, 205, 410) * GRID if grid else dice.between(0.05, 0.4)
    on_miss: Miss = dice.pick("late", "late", "drop", "extrapolate")
    local = None if count and dice.chance(0.2) else _takes(dice, grid, 0.05)
    live = dice.chance(0.75)
    clouds = [Cloud(takes=_takes(dice, grid, 0.1), server=_server(dice, end), network=_network(dice, end, grid)) for _ in range(count)]
    return RacePlan(
        clouds=_unfit(Dice(f"unfit {seed}"), clouds, count - (local is None)),
        local=local, deadline=deadline, prefer=dice.pick("accuracy", "accuracy", "cloud", "first"), on_miss=on_miss,
        hedge=dice.pick("always", "always", "risk", "never"), sends_when=count > 0 and dice.chance(0.3),
        merges=local is not None and count > 0 and dice.chance(0.25), extrapolates=on_miss == "extrapolate", tells_late=dice.chance(0.35),
        mode="live" if live else "lossless", frames=frames, fps=fps, workers=dice.pick(1, 2, 4), window=dice.pick(0, 0, 2, 16),
        behind=dice.chance(0.4), head_ms=dice.pick(0.0, 1.0, 10.0), head_fails=dice.pick(0.0, 0.0, 0.05), tail_ms=dice.pick(0.0, 5.0),
        hooks_ms=dice.pick(0.0, 2.0), hooks_fail=dice.pick(0.0, 0.0, 0.2), grid=grid,
        hangs=((dice.between(0, end), dice.scaled(0.01, 1.0)),) if dice.chance(0.1) else (),
        stops_at=dice.between(0, 1.2 * end) if dice.chance(0.1) else None, patience=dice.pick(0.0, 0.1, 2.0),
        spurious_ticks=dice.pick(0.0, 0.0, 0.0, 50.0),
    )


def _unfit(dice: Dice, clouds: list[Cloud], most: int) -> tuple[Cloud, ...]:
    """Some of them, `most` of them at most, cannot run at their servers: in the first life, or in any."""
    for rank in range(most):
        if dice.chance(0.15):
            clouds[rank] = replace(clouds[rank], unfit=dice.pick(1, 1, 99))
    return tuple(clouds)


def _takes(dice: Dice, grid: bool, worst: float) -> Takes:
    low, high = dice.pick((1.0, 1_000.0), (1.0, 1_000.0), (1.0, 50.0), (100.0, 400.0))
    if grid and dice.chance(0.3):
        low = high = dice.pick(32, 64, 128, 205) * GRID * 1e3
    return Takes(low_ms=low, high_ms=high, filters=dice.pick(0.0, worst), fails=dice.pick(0.0, worst, 5 * worst))


def _server(dice: Dice, end: float) -> Server:
    return Server(
        workers=dice.pick(1, 4, 16), spread=0.0, batched=dice.chance(0.2), max_batch=4,
        kills=_spans(dice, end) if dice.chance(0.2) else (), stops=_spans(dice, end) if dice.chance(0.05) else (),
        hangs=_spans(dice, end) if dice.chance(0.15) else (), lease=dice.pick(60.0, 4.0),
    )


def _network(dice: Dice, end: float, grid: bool) -> Network:
    return Network(
        latency_ms=0.0 if grid and dice.chance(0.6) else dice.pick(2.0, 10.0, 60.0), jitter_ms=dice.pick(0.0, 0.0, 20.0),
        mbit_s=dice.pick(0.0, 0.0, 5.0), damage=dice.pick(0.0, 0.0, 0.0, 0.02), loss=dice.pick(0.0, 0.0, 0.0, 0.05),
        partitions=tuple((at, at + seconds) for at, seconds in _spans(dice, end)[:1]) if dice.chance(0.2) else (),
        resets=(dice.between(0, end),) if dice.chance(0.2) else (), blackholes=(dice.between(0, end),) if dice.chance(0.1) else (),
    )


def _spans(dice: Dice, end: float) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((dice.between(0, 1.1 * end), dice.scaled(0.01, 2.0)) for _ in range(dice.count(1, 2))))
