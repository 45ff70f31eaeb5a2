"""What devices that fit each frame to their link may take beyond the plan, if their link turns out better than it seems.

A plan is for the link of the last second, and for a frame that has to wait as long as any may. A device that looks at its link before each
frame needs no such caution: all it takes of the server is time, and of that there is often some left. So each such client is raised, step
by step and whoever gains most for a second of the server first, to the best variant that would be in time on a link somewhat better
than now at a worker that is free, as long as all of them together leave workers idle so often that waits stay rare. Where workers do not
keep all variants ready it is one of those that the plan has them run: to load another one would cost more frames than it betters.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from msgspec.structs import replace

from cloud_server.planning.problem import Choice, Client, Plan, Problem, budget

__all__ = ["raised"]

_BETTER = 1.5
"""Times its bandwidth: links change by so much within a second or two."""
_BUSY = 0.7
"""Part of the workers' time up to which clients are raised."""
_LEAST = 1e-9
"""Seconds in each second that something takes at least."""


def raised(problem: Problem, plan: Plan) -> Plan:
    """The same plan with `most` for each client that fits its frames."""
    ready = _ready(problem, plan)
    clients = {client.session: client for client in problem.clients}
    held = {each.session: ready[each.variant] for each in plan.clients if each.variant in ready and clients[each.session].fits}
    ladders = {session: _ladder(clients[session], has, ready.values()) for session, has in held.items()}
    left = _BUSY * problem.workers - sum(each.allowance for each in plan.clients)
    steps = [(*_worth(clients[session], held[session], ladder[0]), session, 0) for session, ladder in ladders.items() if ladder]
    heapify(steps)
    while steps:
        _, takes, session, place = heappop(steps)
        if takes > left:
            continue
        ladder = ladders[session]
        left, held[session] = left - takes, ladder[place]
        if place + 1 < len(ladder):
            heappush(steps, (*_worth(clients[session], ladder[place], ladder[place + 1]), session, place + 1))
    return replace(plan, clients=tuple(
        replace(each, most=held[each.session].variant if each.session in held else "") for each in plan.clients
    ))  # fmt: skip


def _ready(problem: Problem, plan: Plan) -> dict[str, Choice]:
    """By variant what a frame takes alone, of those that workers keep ready."""
    alone = {choice.variant: choice for choice in problem.choices if choice.batch == 1}
    if problem.resident >= len(alone):
        return alone
    return {slot.variant: alone[slot.variant] for worker in plan.workers for slot in worker.slots if slot.variant in alone}


def _ladder(client: Client, has: Choice, choices: Iterable[Choice]) -> list[Choice]:
    """What is better than what it has and would be in time, the least accurate first."""
    hopeful = replace(client, bandwidth=client.bandwidth * _BETTER)
    better = [choice for choice in choices if choice.accuracy > has.accuracy and budget(hopeful, choice.variant) >= choice.seconds]
    return sorted(better, key=lambda choice: choice.accuracy)


def _worth(client: Client, has: Choice, better: Choice) -> tuple[float, float]:
    """What is gained for a second of the server, negative so that the most comes first, and the seconds in each second it takes."""
    takes = client.fps * max(0.0, better.seconds - has.seconds)
    return -(better.accuracy - has.accuracy) * client.fps / max(takes, _LEAST), takes
