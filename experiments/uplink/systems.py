"""The systems that are compared: what each asks of the planner."""

from __future__ import annotations

from experiments.links import LinkTrace
from experiments.traced_link import PAYLOAD
from iot_client.uplink.allowance import NOTHING_SENT, Allowance
from iot_client.uplink.planner import plan
from iot_client.uplink.problem import Grant, Plan, Problem
from iot_client.uplink.shared_link import SharedLink
from iot_client.uplink.sharing import Planner, Sharing, Stake

__all__ = ["sharing_of"]

_ORACLE = 0.95
"""Of the link an oracle grants: it need not guess the rate, but the links' queue is still one, and frames differ."""


class _Greedy(Sharing):
    """No plan: every frame goes to the server in the best codec."""

    def allow(self, seen: object, now: float) -> list[Allowance]:
        self._planned_at = now
        best = [max(stake.rungs, key=lambda rung: rung.accuracy) for stake in self.stakes]
        return [Allowance(rung.cloud, rung.codec) for rung in best]


class _Local(Sharing):
    def allow(self, seen: object, now: float) -> list[Allowance]:
        self._planned_at = now
        return [NOTHING_SENT for _ in self.stakes]


class _Known(SharedLink):
    """The link as it is, whatever was seen of it."""

    def __init__(self, trace: LinkTrace) -> None:
        super().__init__()
        self._trace = trace

    def rate(self, now: float) -> float:
        point = self._trace.at(now)
        return 0.0 if point.cut else point.up_mbit * 1e6 / 8 * PAYLOAD


class _Oracle(Sharing):
    """Plans exactly, and knows the link's rate at once."""

    def __init__(self, stakes: list[Stake], trace: LinkTrace) -> None:
        super().__init__(stakes, headroom=_ORACLE)
        self.link = _Known(trace)


def sharing_of(system: str, stakes: list[Stake], trace: LinkTrace) -> Sharing:
    """The one who decides for these streams."""
    if system in ("greedy", "local"):
        return (_Greedy if system == "greedy" else _Local)(stakes)
    if system == "oracle":
        return _Oracle(stakes, trace)
    planners: dict[str, Planner] = {
        "spillway": lambda problem, before: plan(problem, before=before),
        "spillway:greedy": lambda problem, before: plan(problem, "greedy", before=before),
        "equal": lambda problem, before: _apart(problem, before, len(problem.services)),
        "alone": lambda problem, before: _apart(problem, before, 1),
    }
    return Sharing(stakes, planners[system])


def _apart(problem: Problem, before: Plan | None, parts: int) -> Plan:
    """Each service plans for itself, with one of so many equal parts of the link."""
    grants: list[Grant] = []
    for number, service in enumerate(problem.services):
        had = Plan((before.grants[number],)) if before is not None and len(before.grants) == len(problem.services) else None
        grants += plan(Problem((service,), problem.capacity / parts, problem.headroom), before=had).grants
    return Plan(tuple(grants), sum(grant.value for grant in grants), "apart")
