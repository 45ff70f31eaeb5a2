"""The choice of the split: as much here as the device can carry, and only what is needed there.

An option is a cut k and a codec. Of each captured frame it uses, with reach the share of frames that come to a point
and r that of the cut (0 for k = n, where nothing is sent):

    thread   seconds of a worker here: stages, encoding, waiting       at most the workers
    host     CPU seconds of this process                               at most its CPU, and max_cpu
    up       bytes sent                                                at most the link, and max_mbit
    down     bytes returned                                            at most the link
    server   seconds of stages and decoding there                      at most what it has left, and the allowance
    turn     the same and the pause between two jobs                   at most 1, where a fold runs them one at a time

Two neighbouring frames may take different options. A mix in which a share w of the frames takes the second one uses
of each the mean, so its rate, the least of capacity / use, can be set exactly: between the rate of a cut and that of
the next there is a mix that has just the rate wanted. More than two options are never mixed. Measured capacities are
taken a little lower than measured (headroom); budgets are what they say.

Latency does not mix: a deadline has to hold for the frames of both options, so each must meet it by itself. It is
the sum of a frame's times on its whole way, the transfer at the link's full rate, and what frames have taken longer.

Of all that reaches the demanded rate in time the choice takes the least server time, then the least loss of quality,
then the fewest bytes, then the largest k. If nothing does, it says what is lacking and does what comes nearest: a
missed deadline is worse than a missed rate, since frames in time can be had by capturing fewer of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from iot_client.splitting.costs import LOSSLESS, Costs, Option
from iot_client.splitting.goal import Goal
from iot_client.splitting.mixing import Found, Row, cheapest, fastest, row_of
from iot_client.splitting.prediction import NO_GOAL, Limit, Prediction, Use, factors, limits_of, mix, predict, uses_of

__all__ = ["Prediction", "SplitDecision", "choose", "explain", "mix", "predict", "retune"]

INF = float("inf")

_SLACK = 1 + 1e-9
"""By how much a mix may be below the best rate when nothing reaches the one demanded: the noise of computing it."""
_FASTEST = 1e9
"""Frames per second beyond which a demand means the same."""
_NOTHING_MS = 0.1
"""Milliseconds that explain nothing, however much they changed."""

_HOPELESS = 1e60
"""A load only a capacity of nothing gives."""

_SAYS = {
    "device": "the device reaches", "link": "the link carries", "downlink": "the downlink carries", "server": "the server has room for",
    "fold": "one job at a time there gives",
    "cpu budget": "the CPU budget allows", "mbit budget": "the Mbit/s budget allows", "allowance": "the server's allowance covers",
}
_BUDGETS = ("cpu budget", "mbit budget", "allowance")


class SplitDecision(msgspec.Struct, frozen=True, kw_only=True):
    """How frames go from now on: `share` of them by `second`, the others by `first`, the better of the two.

    `met` says whether the goal is reached, and `lacking` in words what cannot be had. `pace` is the highest rate at
    which the budgets hold with this mix, 0 if none binds. `demand` is the rate that was asked for.
    """

    first: Option
    second: Option | None = None
    share: float = 0.0
    prediction: Prediction
    met: bool = True
    lacking: str = ""
    pace: float = 0.0
    demand: float = 0.0

    @property
    def options(self) -> tuple[Option, ...]:
        """The one or two options."""
        return (self.first,) if self.second is None else (self.first, self.second)


def choose(costs: Costs, goal: Goal, rate: float | None = None) -> SplitDecision:
    """The best option or mix of two for the goal, at `rate`, else the goal's, else the offered one, else none.

    The same values give the same decision, whatever the order of the options, unless two cost exactly the same:
    then the earlier one is taken.

    Raises:
        ValueError: there is no option, or none with the quality asked for.
    """
    options = _legal(costs, goal)
    if not options:
        raise ValueError(
            f"{len(costs.options)} options, none legal with min_quality={goal.min_quality!r}; legal: at least one; "
            "let stages run on the device, or lower min_quality"
        )
    demand = max(0.0, min(next(value for value in (rate, goal.fps, costs.offered) if value is not None), _FASTEST))
    limits = limits_of(costs, goal)
    uses = uses_of(costs, options)
    slo = INF if goal.slo is None else goal.slo
    rows = _rows(options, uses, factors(limits, demand), slo)
    met, (best, other, share) = _best(rows) if rows else (False, _soonest(options, uses, factors(limits, demand)))
    first, second = options[best[4]], None if other is None else options[other[4]]
    prediction = mix(costs, goal, first, second, share)
    return SplitDecision(
        first=first, second=second, share=share, prediction=prediction, met=met, demand=demand,
        lacking="" if met else _lacking(goal, prediction, demand, late=not rows), pace=_pace(limits, prediction),
    )


def retune(costs: Costs, goal: Goal, decision: SplitDecision, rate: float | None = None) -> SplitDecision | None:
    """The best mix of the decision's own options as they cost now, None if none of them is left or legal."""
    kept = _now(costs, decision)
    narrow = msgspec.structs.replace(costs, options=kept)
    return choose(narrow, goal, rate) if _legal(narrow, goal) else None


def _legal(costs: Costs, goal: Goal) -> Sequence[Option]:
    least = goal.min_quality
    return costs.options if least is None else [option for option in costs.options if option.quality >= least]


def _now(costs: Costs, decision: SplitDecision) -> tuple[Option, ...]:
    names = _names(decision)
    return tuple(option for option in costs.options if (option.k, option.codec) in names)


def _rows(options: Sequence[Option], uses: Sequence[Use], factors: Sequence[float], slo: float) -> list[Row]:
    """The options that are in time, best first, as the search wants them."""
    p, q, r, s, t, u = factors
    rows = []
    for index, (option, use) in enumerate(zip(options, uses)):
        thread, host, up, down, server, turn, wall, reach = use
        if wall + option.extra_p95 <= slo:
            cost = (server, reach * (LOSSLESS - option.quality), up, option.k)
            loads = thread * p, host * q, up * r, down * s, server * t
            rows.append(row_of(index, cost, (*loads, turn * u) if u else loads))
    rows.sort()
    return rows


def _best(rows: Sequence[Row]) -> tuple[bool, Found]:
    """Whether the rate can be had, all rows being in time, and the best choice at it or at the highest rate there is.

    That comes first: to see that no mix will do takes less than to look for the cheapest one in vain.
    """
    peak = fastest(rows, enough=1.0)
    found = cheapest(rows, 1.0) if peak <= 1.0 else None
    if found is not None:
        return True, found
    return False, cheapest(rows, INF if peak > _HOPELESS else peak * _SLACK) or (rows[0], None, 0.0)


def _soonest(options: Sequence[Option], uses: Sequence[Use], factors: Sequence[float]) -> Found:
    """What comes nearest to the deadline, of those that reach the rate if there are any."""
    rows = _rows(options, uses, factors, INF)
    enough = [row for row in rows if max(row[8:]) <= 1.0] or rows
    return min(enough, key=lambda row: uses[row[4]].wall + options[row[4]].extra_p95), None, 0.0


def _pace(limits: Iterable[Limit], prediction: Prediction) -> float:
    """The highest rate within the budgets, 0 if none binds."""
    uses = {1: prediction.device_cpu_s, 2: prediction.nbytes, 4: prediction.server_s}
    rates = [capacity / uses[place] for place, capacity, name in limits if name in _BUDGETS and uses[place] > 0]
    return min((rate for rate in rates if rate < INF), default=0.0)


def _lacking(goal: Goal, prediction: Prediction, demand: float, *, late: bool) -> str:
    """What cannot be had, in words."""
    slow = prediction.rate < demand
    rate = f"{_figure(demand)} fps: {_SAYS.get(prediction.bottleneck, 'the rate is')} {_figure(prediction.rate)}"
    if not late or goal.slo is None:
        return rate
    among = f" at {_figure(demand)} fps" if demand and not slow else ""
    text = f"{_figure(goal.slo * 1e3)} ms: the best p95{among} is {_figure(prediction.p95 * 1e3)} ms"
    return f"{text}; {rate}" if slow else text


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def explain(old: SplitDecision | None, new: SplitDecision, costs_then: Costs, costs_now: Costs) -> str:
    """Why the decision is another one, in words: the move, then what changed by more than a tenth.

    It also says what the old one lacks at the rate demanded now. Without an old one, what is predicted.
    """
    if old is None:
        return f"cannot hold {new.lacking}" if not new.met else f"starts with {_way(new, 'k')}: {_given(new.prediction)}"
    move = _move(old, new)
    if not new.met:
        return f"cannot hold {new.lacking}" + (f"; {move}" if _names(old) != _names(new) else "")
    reasons = _changes(old, new, costs_then, costs_now)
    before = _still(old, costs_now)
    if before is not None and before.rate < new.demand * (1 - 1e-9):
        reasons.append(_short(before, new.demand))
    if before is not None and _differ(before.p95, new.prediction.p95):
        reasons.append(f"predicted p95 {_figure(before.p95 * 1e3)} -> {_figure(new.prediction.p95 * 1e3)} ms")
    if not reasons and _differ(old.prediction.server_s, new.prediction.server_s):
        reasons.append(f"server {_figure(old.prediction.server_s * 1e3)} -> {_figure(new.prediction.server_s * 1e3)} ms a frame")
    return f"{move}: {', '.join(reasons) or 'nothing changed by more than a tenth'}"


def _given(prediction: Prediction) -> str:
    rate = "" if prediction.rate == INF else f"up to {_figure(prediction.rate)} fps, "
    return f"{rate}p95 {_figure(prediction.p95 * 1e3)} ms"


def _move(old: SplitDecision, new: SplitDecision) -> str:
    cuts = [{option.k for option in decision.options} for decision in (old, new)]
    if _names(old) == _names(new):
        field = "k" if len(cuts[0]) > 1 or new.second is None else "codec"
        same = abs(old.share - new.share) < 0.005
        return f"stays with {_way(new, field)}" if same else f"moved {_way(old, field)} -> {_way(new, field)}"
    if cuts[0] != cuts[1]:
        return f"moved {_way(old, 'k')} -> {_way(new, 'k')}"
    lowest = [min(decision.options, key=lambda option: option.quality) for decision in (old, new)]
    field = "quality" if lowest[0].quality != lowest[1].quality else "codec"
    if len(cuts[0]) > 1:
        return f"{field} {getattr(lowest[0], field)} -> {getattr(lowest[1], field)}"
    return f"{field} {_way(old, field)} -> {_way(new, field)}"


def _names(decision: SplitDecision) -> list[tuple[int, str]]:
    return [(option.k, option.codec) for option in decision.options]


def _way(decision: SplitDecision, field: str) -> str:
    """The decision by one field of its options: "5", or "70 % 5 + 30 % 6"."""
    first = getattr(decision.first, field)
    if decision.second is None or getattr(decision.second, field) == first:
        return f"{first}"
    spill = round(decision.share * 100)
    return f"{100 - spill} % {first} + {spill} % {getattr(decision.second, field)}"


def _still(decision: SplitDecision, costs: Costs) -> Prediction | None:
    """What the old decision would give now, None if an option of it is gone."""
    now = {(option.k, option.codec): option for option in _now(costs, decision)}
    options = [now.get((option.k, option.codec)) for option in decision.options]
    if options[0] is None or options[-1] is None:
        return None
    return mix(costs, NO_GOAL, options[0], options[-1] if len(options) > 1 else None, decision.share)


def _short(before: Prediction, demand: float) -> str:
    """What the old decision lacks at the rate demanded."""
    if before.bottleneck != "device":
        return f"{_SAYS[before.bottleneck]} {_figure(before.rate)} of {_figure(demand)} fps"
    where = "all stages here" if not before.nbytes else "the stages here"
    return f"{_figure(demand)} fps needs {_figure(1e3 / demand)} ms a frame, {where} take {_figure(1e3 / before.rate)}"


def _differ(a: float, b: float) -> bool:
    return a != b and (INF in (a, b) or abs(a - b) > 0.1 * max(abs(a), abs(b)))


def _changes(old: SplitDecision, new: SplitDecision, then: Costs, now: Costs) -> list[str]:
    """What changed by more than a tenth, as "name before -> after unit"."""
    pairs = (
        ("demand", old.demand, new.demand, "fps"),
        ("link", then.up * 8e-6, now.up * 8e-6, "Mbit/s"),
        ("downlink", then.down * 8e-6, now.down * 8e-6, "Mbit/s"),
        ("round trip", then.rtt * 1e3, now.rtt * 1e3, "ms"),
        ("wait at the server", then.server_wait * 1e3, now.server_wait * 1e3, "ms"),
        ("server", then.server_cpu, now.server_cpu, "s/s"),
        ("allowance", then.allowance, now.allowance, "s/s"),
        ("CPU", then.cpu, now.cpu, "s/s"),
        ("all stages here", _here(then), _here(now), "ms"),
    )
    told = [pair for pair in pairs if _differ(pair[1], pair[2]) and not (pair[3] == "ms" and max(pair[1:3]) < _NOTHING_MS)]
    return [f"{name} {_figure(a)} -> {_figure(b)} {unit}" for name, a, b, unit in told]


def _here(costs: Costs) -> float:
    """Milliseconds a frame takes with all stages on the device."""
    return sum(stage.reach * (stage.cpu_s * costs.stretch + stage.idle_s) for stage in costs.stages) * 1e3
