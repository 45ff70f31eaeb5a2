"""What frames truly cost, over the time of an experiment: what the oracle knows and no policy does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from experiments.lab import Lab
from experiments.reporting.measure import ANSWERED, quality_of, quantile
from experiments.reporting.runs import FrameRow, Run
from iot_client.splitting.costs import Costs, Option, StageCost

__all__ = ["CostsAt", "measured_costs", "true_costs"]

CostsAt = Callable[[float], Costs]
"""The true costs at so many seconds."""

_Way = tuple[int, str]
"""(k, codec) of a frame; (n, "") if it stays."""

_PEERS = ("reqrep", "pubsub", "oracle")
"""Policies whose frames do not tell what ours cost."""
_LUCKY = 0.1
"""The quantile of what frames took beyond the sum of their parts that the oracle gets away with."""
_FEW = 10


def true_costs(lab: Lab, base: Costs, seed: int) -> CostsAt:
    """The costs over time: `base` with the link, and what the load leaves of the CPU, of that moment.

    `base.cpu` is what the device has without load. Threads that compete get equal shares, so a load leaves at least
    that of the workers. `base.rtt` is left as it is where it says more than twice the link's delay. A cut link
    carries nothing. `base.offered` is the source's rate where the experiment names none.
    """
    link = lab.link.trace(lab.seconds, seed)
    load = lab.device.load.trace() if lab.device.load is not None else None
    whole = min(base.cpu, base.cores)

    def at(t: float) -> Costs:
        point = link.at(t)
        busy = load.at(t) if load is not None else 0.0
        threads = -(-busy // 1)
        left = max(whole - busy, whole * base.workers / (base.workers + threads)) if busy else whole
        carried = 0.0 if point.cut else 1.0
        return msgspec.structs.replace(
            base, up=carried * point.up_mbit * 125e3, down=carried * point.down_mbit * 125e3, rtt=max(base.rtt, 2e-3 * point.delay_ms),
            cpu=left, stretch=max(base.stretch, base.workers / left), offered=lab.rate or base.offered,
        )

    return at


def measured_costs(lab: Lab, runs: Iterable[Run], n: int) -> Costs | None:
    """The costs of an app of n stages, as runs of an experiment have shown them; None if they show no way at all.

    Each (k, codec) that frames went is an option: bytes and server time are means, and the time beyond the parts is
    that of the luckiest tenth. CPU is known where a run went one way only; of staying here also where the device was
    calibrated by it (facts local_fps and cpu_given), and then, of the ways that were mixed with it, from what is left of
    a run's CPU. Otherwise it is 0, so that the oracle made from this is too good rather than too bad. How the stages
    share it here is known where facts of a run say so (stage0_cpu_s, stage1_cpu_s, ...); if not, the last one has the CPU
    of all, and a remote option all of its CPU in `encode_s`. There, the stage at each cut has what it takes more than
    from the next cut on.
    """
    ours = [run for run in runs if run.policy.partition(":")[0] not in _PEERS]
    ways: dict[_Way, list[tuple[FrameRow, float]]] = {}
    for run in ours:
        link = lab.link.trace(run.seconds, run.seed)
        for row in run.frames:
            if row.outcome in ANSWERED:
                key = (row.k, row.codec) if row.where == "cloud" else (n, "")
                ways.setdefault(key, []).append((row, link.at(row.captured).up_mbit * 125e3))
    cpu = _cpu(ours, n)
    stages, there = _stages(ours, n, cpu), _stages_there(ways, n)
    options = []
    for (k, codec), rows in sorted(ways.items()):
        if len(rows) >= _FEW:
            options.append(_option(lab, k, codec, rows, (sum(stages[:k]), max(cpu.get((k, codec), 0.0) - sum(stages[:k]), 0.0))))
    if not options:
        return None
    given = next((run.facts["cpu_given"] for run in ours if run.facts.get("cpu_given")), lab.device.cpu or 1.0)
    return Costs(
        stages=tuple(StageCost(here, server_s=server) for here, server in zip(stages, there)), options=tuple(options), stop=n,
        workers=lab.device.workers, cpu=given, cores=max(given, 1.0),
        server_cpu=min(lab.server.workers, lab.server.cpu or lab.server.workers),
    )  # fmt: skip


def _option(lab: Lab, k: int, codec: str, rows: Sequence[tuple[FrameRow, float]], cpu: tuple[float, float]) -> Option:
    """One way from its frames, each with the link's bytes per second; `cpu` seconds of the stages here and of encoding."""
    spent, rtt = sum(cpu), 2e-3 * lab.link.delay_ms
    if not codec:
        parts = [0.0 for _ in rows]
    else:
        parts = [row.nbytes / up + rtt + row.server_s for row, up in rows]
    beyond = quantile(sorted(row.latency - part - spent for (row, _), part in zip(rows, parts)), _LUCKY) or 0.0
    extra = max(beyond, 0.0)
    if not codec:
        return Option(k, extra_p50=extra, extra_p95=extra)
    nbytes = fmean(row.nbytes for row, _ in rows)
    return Option(k, codec, quality_of(codec), nbytes, cpu[1], extra_p50=extra, extra_p95=extra)


def _stages(runs: Iterable[Run], n: int, cpu: Mapping[_Way, float]) -> tuple[float, ...]:
    """CPU seconds of each stage here. In all they are those of a frame that stays, with its share of what no stage does."""
    whole = cpu.get((n, ""), 0.0)
    for run in runs:
        known = [run.facts.get(f"stage{index}_cpu_s", -1.0) for index in range(n)]
        if min(known) >= 0:
            scale = whole / sum(known) if whole and any(known) else 1.0
            return tuple(scale * each for each in known)
    return (*[0.0] * (n - 1), whole)


def _stages_there(ways: Mapping[_Way, Sequence[tuple[FrameRow, float]]], n: int) -> list[float]:
    """Server seconds of each stage, so that those from each cut on sum up to what jobs from there took."""
    found = [0.0] * n
    behind = 0.0
    for k in sorted({k for k, codec in ways if codec and k < n}, reverse=True):
        total = fmean(row.server_s for (other, codec), rows in ways.items() if other == k and codec for row, _ in rows)
        found[k] = max(total - behind, 0.0)
        behind = max(total, behind)
    return found


def _cpu(runs: Sequence[Run], n: int) -> dict[_Way, float]:
    """CPU seconds per frame of the ways of which it is known."""
    found: dict[_Way, float] = {}
    mixed = []
    for run in runs:
        ways = Counter((row.k, row.codec) if row.where == "cloud" else (n, "") for row in run.frames if row.outcome in ANSWERED)
        if not run.samples or not ways:
            continue
        spent = fmean(row.cpu for row in run.samples) * run.seconds * len({row.device for row in run.frames})
        if len(ways) == 1:
            found[next(iter(ways))] = spent / ways.total()
        else:
            mixed.append((ways, spent))
    here = next((run.facts["cpu_given"] / run.facts["local_fps"] for run in runs if run.facts.get("local_fps")), 0.0)
    if here:
        found.setdefault((n, ""), here)
        for way, cost in _left_over(mixed, (n, ""), found[n, ""]).items():
            found.setdefault(way, cost)
    return found


def _left_over(mixed: Sequence[tuple[Counter[_Way], float]], here: _Way, cost: float) -> dict[_Way, float]:
    """CPU seconds of a frame that leaves, where those that stay take `cost`: the mean of a run for all its ways, which are
    encoded alike."""
    found: dict[_Way, list[float]] = {}
    for ways, spent in mixed:
        left = max(0.0, spent - ways[here] * cost) / (ways.total() - ways[here])
        for way in ways:
            if way != here:
                found.setdefault(way, []).append(left)
    return {way: fmean(costs) for way, costs in found.items()}
