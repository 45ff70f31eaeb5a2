"""What hindsight would have chosen: the best way at each moment, from the true costs, as a run like any other.

    costs_at = true_costs(lab, base, seed)        # experiments/truth.py; base: true stage costs and sizes
    run = oracle_run(lab, costs_at, seed)         # measured and drawn like the run of a policy
    least = least_server(costs_at(0.0), goal, 17) # by linear programming, which knows nothing of iot_client.splitting.split

The oracle knows, so it keeps nothing back: it may fill the link and the server to the brim, and moves for free. It
looks at each quarter of a second by itself: a policy that lets a queue grow where it may can answer a frame more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import inf
from statistics import fmean

import msgspec

from experiments.lab import Lab
from experiments.reporting.runs import DecisionRow, FrameRow, Run, SampleRow
from experiments.truth import CostsAt
from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.goal import Goal
from iot_client.splitting.prediction import LINK, SERVER
from iot_client.splitting.split import SplitDecision, choose

__all__ = ["Least", "Moment", "goal_of", "hindsight", "least_over_time", "least_server", "oracle_run"]

PERIOD = 0.25
"""Seconds between two looks at the costs; the steps of a sloped link are no shorter."""
_FASTEST = 1_000.0
"""Frames per second of a source that reads as the pipeline takes, where nothing limits it."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What is best from `at` seconds on: answers in time per second, and the choice that gives them."""

    at: float
    rate: float
    in_time: float
    decision: SplitDecision
    costs: Costs


class Least(msgspec.Struct, frozen=True, kw_only=True):
    """The least server seconds of stages per captured frame at a rate; None if it cannot be had. `how` names the solver."""

    server_s: float | None
    how: str


def goal_of(lab: Lab) -> Goal:
    """The experiment's goal in the units of the client; the deadline is one where no slo_ms is given."""
    slo = None if lab.deadline == inf else lab.deadline
    return msgspec.structs.replace(lab.goal.goal(), slo=slo)


def hindsight(lab: Lab, costs_at: CostsAt) -> list[Moment]:
    """The best choice of every quarter of a second, over the whole experiment."""
    goal = goal_of(lab)
    known: dict[Costs, SplitDecision] = {}
    moments = []
    for index in range(int(lab.seconds / PERIOD + 1e-9)):
        at = index * PERIOD
        costs = costs_at(at)
        if costs not in known:
            known[costs] = choose(_exact(costs), goal)
        decision = known[costs]
        rate = min(decision.prediction.rate, costs.offered or _rate_wanted(lab, decision))
        late = goal.slo is not None and decision.prediction.p95 > goal.slo
        moments.append(Moment(at=at, rate=rate, in_time=0.0 if late else rate, decision=decision, costs=costs))
    return moments


def oracle_run(lab: Lab, costs_at: CostsAt, seed: int) -> Run:
    """What hindsight gives as a run: frames evenly spaced at its rate, a sample per quarter second, its moves.

    Frames a paced source has beyond that rate are dropped; none is late, since those that would be are not sent.
    """
    moments = hindsight(lab, costs_at)
    given = costs_at(0.0)
    return Run(
        lab=lab.name, body="oracle", policy="oracle", seed=seed, seconds=lab.seconds,
        frames=tuple(_frames(moments)), samples=tuple(_samples(moments)), decisions=tuple(_decisions(moments)),
        facts={"cpu_given": min(given.cpu, given.cores)}, notes=("computed from the true costs with hindsight, not run",),
    )  # fmt: skip


def _rate_wanted(lab: Lab, decision: SplitDecision) -> float:
    """Of a source that reads as the pipeline takes: all that it takes in live mode, else just the goal."""
    return lab.goal.fps or min(decision.prediction.rate, _FASTEST)


def _exact(costs: Costs) -> Costs:
    """Costs of which a choice that keeps headroom back makes all there is, at the latencies there are.

    All JPEG qualities of a cut decode alike, as in the client's profile: else the choice, for which server time comes
    first, would take the coarsest picture for the microseconds its decoding saves.
    """
    up, down = costs.up / LINK, costs.down / LINK
    decoding = {k: fmean(o.decode_s for o in costs.options if _is_jpeg(o, k)) for k in {o.k for o in costs.options if _is_jpeg(o, o.k)}}

    def slower(option: Option) -> Option:
        decode = decoding[option.k] if _is_jpeg(option, option.k) else option.decode_s
        hidden = option.decode_s - decode
        if option.codec and costs.up and costs.down:
            hidden += option.nbytes / costs.up - option.nbytes / up + option.back_nbytes / costs.down - option.back_nbytes / down
        extra_p50, extra_p95 = option.extra_p50 + hidden, option.extra_p95 + hidden
        return msgspec.structs.replace(option, decode_s=decode, extra_p50=extra_p50, extra_p95=extra_p95)

    return msgspec.structs.replace(
        costs, up=up, down=down, server_cpu=costs.server_cpu / SERVER, options=tuple(map(slower, costs.options))
    )


def _is_jpeg(option: Option, k: int) -> bool:
    return option.k == k and option.codec.startswith("jpeg:")


def _frames(moments: Sequence[Moment]) -> Iterator[FrameRow]:
    """Every frame of the source; those answered and those on the second way are spread evenly among them."""
    done = spilled = time = 0.0
    seq = 0
    while (place := int(time / PERIOD + 1e-9)) < len(moments):
        moment = moments[place]
        pace = moment.costs.offered or moment.rate
        if pace <= 0:
            time = (place + 1) * PERIOD
            continue
        done += min(1.0, moment.in_time / pace)
        answered = done >= 1.0 - 1e-6
        if answered:
            done -= 1.0
            spilled += moment.decision.share
        second = answered and spilled >= 1.0 - 1e-6
        spilled -= second
        yield _frame(seq, time, moment, second) if answered else FrameRow(0, seq, time, 0.0, "dropped")
        seq += 1
        time += 1.0 / pace


def _frame(seq: int, time: float, moment: Moment, second: bool) -> FrameRow:
    decision = moment.decision
    option = decision.second if second and decision.second is not None else decision.first
    here = option.k == moment.costs.n
    return FrameRow(
        0, seq, time, decision.prediction.p50, "done", "device" if here else "cloud", option.k, option.codec,
        round(option.nbytes), _stages_there(moment.costs, option),
    )  # fmt: skip


def _stages_there(costs: Costs, option: Option) -> float:
    """Server seconds of the stages per captured frame, as rows of runs count them."""
    return sum(stage.reach * stage.server_s for stage in costs.stages[option.k : costs.stop])


def _samples(moments: Sequence[Moment]) -> Iterator[SampleRow]:
    for moment in moments:
        found, costs = moment.decision.prediction, moment.costs
        yield SampleRow(
            0, moment.at + PERIOD, k=_mean_k(moment.decision), codec=moment.decision.first.codec, cpu=found.device_cpu_s * moment.rate,
            up=found.nbytes * moment.rate, capacity=costs.up, load=0.0, rate=found.rate, p50=found.p50, p95=found.p95,
            server_s=found.server_s, estimate=costs.up,
        )  # fmt: skip


def _decisions(moments: Sequence[Moment]) -> Iterator[DecisionRow]:
    """One at each change of the ways in use; a share that shifts is none."""
    before: set[int] = set()
    for _, group in groupby(moments, key=lambda moment: [(option.k, option.codec) for option in moment.decision.options]):
        moment = next(group)
        decision, second = moment.decision, moment.decision.second
        cuts = {option.k for option in decision.options}
        ways = " + ".join(f"k={option.k} {option.codec or 'local'}" for option in decision.options)
        yield DecisionRow(
            0, moment.at, bool(before) and cuts != before, decision.met, ways if decision.met else f"{ways}; lacks {decision.lacking}",
            decision.first.k, decision.first.codec, second.k if second else 0, second.codec if second else "", decision.share,
        )  # fmt: skip
        before = cuts


def _mean_k(decision: SplitDecision) -> float:
    second = decision.second
    return decision.first.k + (decision.share * (second.k - decision.first.k) if second else 0.0)


def least_server(costs: Costs, goal: Goal, fps: float) -> Least:
    """The least server time of stages at which this rate can be had by any mix of ways, not only of two.

    min s x  subject to  fps A x <= capacities, sum x = 1, x >= 0, over the ways that meet the deadline. Solved by
    scipy (extra `lab`); without it, by the choice of two, which is exact while at most one capacity binds.
    """
    exact = _exact(costs)
    try:
        from scipy.optimize import linprog
    except ImportError:
        decision = choose(exact, goal, fps)
        shares = zip(decision.options, (1.0 - decision.share, decision.share))
        spent = sum(share * _stages_there(costs, option) for option, share in shares)
        return Least(server_s=spent if decision.met else None, how="best mix of two (scipy is not installed)")
    legal = [option for option in costs.options if _legal(costs, goal, option)]
    rows = [_uses(costs, option) for option in legal]
    cpu = min(costs.cpu, inf if goal.max_cpu is None else goal.max_cpu / 100 * costs.cores)
    up = min(costs.up, inf if goal.max_mbit is None else goal.max_mbit * 125e3)
    capacities = (float(costs.workers), cpu, up, costs.down, min(costs.server_cpu, costs.allowance))
    binding = [place for place, capacity in enumerate(capacities) if capacity < inf]
    if not rows:
        return Least(server_s=None, how="linear program")
    scale = [capacities[place] / fps or 1e-300 for place in binding]
    solved = linprog(
        [_stages_there(costs, option) * 1e3 for option in legal],  # in milliseconds, far above the solver's tolerance
        A_ub=[[row[place] / limit for row in rows] for place, limit in zip(binding, scale)] or None, b_ub=[1.0] * len(binding) or None,
        A_eq=[[1.0] * len(rows)], b_eq=[1.0], method="highs",
    )  # fmt: skip
    return Least(server_s=float(solved.fun) / 1e3 if solved.success else None, how="linear program")


def least_over_time(lab: Lab, costs_at: CostsAt) -> Least:
    """The mean over the time in which the goal's rate can be had; `how` says if that is not all of it.

    Raises:
        ValueError: the experiment has no goal.fps.
    """
    if not lab.goal.fps:
        raise ValueError(f"lab {lab.name!r}: goal.fps={lab.goal.fps}; the least server time is that at a rate")
    goal, found = goal_of(lab), []
    known: dict[Costs, Least] = {}
    for index in range(int(lab.seconds / PERIOD + 1e-9)):
        costs = costs_at(index * PERIOD)
        if costs not in known:
            known[costs] = least_server(costs, goal, lab.goal.fps)
        found.append(known[costs])
    spent = [least.server_s for least in found if least.server_s is not None]
    share = len(spent) / len(found)
    part = "" if share in (0.0, 1.0) else f", over the {share:.0%} of the time in which it can be had"
    return Least(server_s=fmean(spent) if spent else None, how=found[0].how + part)


def _legal(costs: Costs, goal: Goal, option: Option) -> bool:
    good = goal.min_quality is None or option.quality >= goal.min_quality
    return good and (goal.slo is None or _uses(costs, option)[5] + option.extra_p95 <= goal.slo)


def _uses(costs: Costs, option: Option) -> tuple[float, float, float, float, float, float]:
    """Worker, CPU, bytes up and down, server per captured frame, and the seconds of one that goes all the way.

    Written from the table at the top of iot_client/splitting/split.py, not shared with it.
    """
    there = range(option.k, costs.stop) if option.k < costs.n else range(0)
    here = [index for index in range(costs.n) if index not in there]
    sent = costs.stages[option.k].reach if option.k < costs.n else 0.0
    cpu = sum(costs.stages[index].reach * costs.stages[index].cpu_s for index in here) + sent * option.encode_s
    idle = sum(costs.stages[index].reach * costs.stages[index].idle_s for index in here)
    server = sum(costs.stages[index].reach * costs.stages[index].server_s for index in there) + sent * option.decode_s
    wall = sum(costs.stages[index].cpu_s * costs.stretch + costs.stages[index].idle_s for index in here)
    if option.k < costs.n:
        wall += option.encode_s * costs.stretch + costs.rtt + costs.server_wait + option.decode_s
        wall += sum(costs.stages[index].server_s for index in there)
        for size, speed in ((option.nbytes, costs.up), (option.back_nbytes, costs.down)):
            wall += (size / speed if speed else inf) if size else 0.0
    host = costs.overhead_s + cpu + sent * option.send_s
    return cpu * costs.stretch + idle, host, sent * option.nbytes, sent * option.back_nbytes, server, wall
