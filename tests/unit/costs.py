"""Costs for tests of the split: a typical app on a typical device, and whatever chance makes."""

from __future__ import annotations

import random

from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.goal import Goal

__all__ = ["CODECS", "adversarial", "goal_for", "typical", "wild"]

INF = float("inf")
CODECS = (("raw", 100, 1.0, 2e-4), ("lz4", 100, 0.7, 1e-3), *((f"jpeg:{q}", q, 0.02 + q / 700, 3e-3) for q in (95, 90, 80, 70, 50, 30)))
"""(codec, quality, size as a part of raw, seconds to encode a full frame)."""


def typical(chance: random.Random, stages: int = 12, codecs: int = 8) -> Costs:
    """A chain with one or two heavy stages, filters, values that shrink; a link of 2 to 100 Mbit/s, a faster server."""
    heavy = chance.sample(range(1, stages), min(2, stages - 1))
    reach, made = 1.0, []
    for i in range(stages):
        cpu = chance.uniform(1e-3, 8e-3) * (8 if i in heavy else 1)
        made.append(StageCost(cpu, 1e-3 if not i else 0.0, cpu / chance.uniform(2, 6), reach))
        reach *= 0.6 if chance.random() < 0.2 else 1.0
    options = [Option(stages)]
    size = 920e3
    for k in range(1, stages):
        size *= chance.choice((1.0, 1.0, 0.8, 0.5))
        options += [
            Option(k, name, quality, size * part, encode * size / 920e3, encode * size / 2e6, 2e3, 2e-3, 0.02)
            for name, quality, part, encode in CODECS[:codecs]
        ]
    up = chance.choice((2, 5, 14, 30, 100)) * 1e6 / 8
    return Costs(
        stages=tuple(made), options=tuple(options), stop=stages,
        workers=2, overhead_s=1e-3, cpu=2.0, cores=2.0, up=up, down=up,
        rtt=chance.choice((5e-3, 2e-2, 8e-2)), server_wait=3e-3, server_cpu=chance.choice((0.2, 1.0, 4.0)),
        offered=chance.choice((5, 17, 30)), turn_s=chance.choice((-1.0, -1.0, 1e-3)),
    )


def adversarial(chance: random.Random, stages: int = 12, codecs: int = 8) -> Costs:
    """Every figure of every option by itself, so that nothing follows from anything and few options are dominated."""
    figure = chance.uniform
    made = tuple(StageCost(figure(0, 0.02), figure(0, 0.01), figure(0, 0.02), chance.random()) for _ in range(stages))
    options = [Option(stages)]
    for k in range(stages):
        options += [
            Option(
                k, f"c{c}", chance.randint(1, 100), chance.uniform(0, 2e5), chance.uniform(0, 0.1), chance.uniform(0, 0.1),
                chance.uniform(0, 2e5), chance.uniform(0, 0.01), chance.uniform(0, 0.1),
            )
            for c in range(codecs)
        ]
    chance.shuffle(options)
    return Costs(
        stages=made, options=tuple(options), stop=stages, workers=chance.randint(1, 3), stretch=chance.uniform(1, 3),
        cpu=chance.uniform(0.2, 2), cores=2.0, up=chance.uniform(2e5, 2e6), down=chance.uniform(2e5, 2e6), rtt=chance.uniform(0, 0.1),
        server_cpu=chance.uniform(0.2, 2), allowance=chance.choice((INF, chance.uniform(0.2, 2))), offered=chance.uniform(1, 30),
        turn_s=chance.choice((-1.0, chance.uniform(0, 0.02))),
    )


def wild(chance: random.Random) -> Costs:
    """A few stages and options with all that is odd: ties, zeros, nothing to send by, no bound, coarse figures."""
    n = chance.randint(1, 4)
    stop = chance.randint(0, n) if chance.random() < 0.3 else n

    def figure(*values: float) -> float:
        return chance.choice(values) if chance.random() < 0.5 else chance.uniform(0, max(values))

    made = tuple(
        StageCost(figure(0, 0.01, 0.02), figure(0, 0, 0.01), figure(0, 0.01, 0.02), chance.choice((1.0, 1.0, 0.5, 0.0, chance.random())))
        for _ in range(n)
    )
    options = [Option(n)] if chance.random() < 0.8 else []
    for c in range(chance.randint(0 if options else 1, 9)):
        options.append(Option(
            chance.randrange(n), f"c{c}", chance.choice((100, 100, 80, 50)), figure(0, 1e4, 2e4), figure(0, 0.01), figure(0, 0.01),
            figure(0, 1e4), figure(0, 0.01), figure(0, 0.05),
        ))
    chance.shuffle(options)
    bound = (INF, INF, 0.0, 1e5, 3e5)
    return Costs(
        stages=made, options=tuple(options), stop=stop, workers=chance.randint(1, 2), stretch=chance.choice((1.0, 1.5)),
        overhead_s=figure(0, 1e-3), cpu=chance.choice((INF, 0.5, chance.random() + 0.1)), cores=2.0,
        up=chance.choice((*bound, chance.uniform(1e4, 1e6))), down=chance.choice(bound), rtt=figure(0, 0.05),
        server_wait=figure(0, 0.01), server_cpu=chance.choice((INF, 0.0, 0.1, chance.random())),
        allowance=chance.choice((INF, INF, 0.0, chance.random())), offered=chance.choice((0.0, 10.0, chance.uniform(1, 100))),
        turn_s=chance.choice((-1.0, 0.0, 1e-3, 0.01)),
    )


def goal_for(chance: random.Random) -> Goal:
    """A goal with any of its bounds."""

    def maybe(value: float) -> float | None:
        return value if chance.random() < 0.4 else None

    quality = chance.choice((None, None, None, 40, 80))
    return Goal(
        fps=maybe(chance.uniform(1, 100)), slo=maybe(chance.uniform(0.01, 0.3)), max_cpu=maybe(chance.uniform(5, 100)),
        max_mbit=maybe(chance.uniform(0.1, 10)), min_quality=quality,
    )
