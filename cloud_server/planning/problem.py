"""What there is to plan, what a plan is, and whether it is one.

W identical workers serve clients. A *choice* is a variant at a batch size: a batch of b takes `seconds`. A client that gives `fps`
frames per second can be served by a choice if what is left of its latency goal pays for the wait and the run,

    budget = slo - overhead - bytes(variant) / bandwidth  >=  cycle + seconds

where a worker's *cycle* is the time from one batch of a slot to the next. A worker that has one choice begins its next batch when the
last one ends, so its cycle is `seconds` and the rule is budget >= 2 x seconds (Jellyfish, RTSS'22). A worker may share its time
between two choices: it runs one batch of each per cycle, so that seconds + seconds' <= cycle (the duty cycle of Nexus, SOSP'19).
Either way a slot carries batch / cycle frames per second, and of a variant's clients those within some budget must not need more
than the slots that are quick enough for them carry. Workers with the same choice serve the clients of that choice together.

The value of a plan is the accuracy its frames have: fps-weighted, 0 for a client that is not served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

import msgspec

__all__ = ["Assignment", "Choice", "Client", "Plan", "Problem", "Slot", "Worker", "accuracy", "budget", "swaps", "wrong"]

_ROUNDING = 1e-9


class Choice(msgspec.Struct, frozen=True):
    """A batch of so many jobs of a variant takes a worker `seconds`, by the model's tail; `accuracy` is the variant's, 0 to 1."""

    variant: str
    batch: int
    seconds: float
    accuracy: float


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A device: frames per second, and seconds from capture to result as its goal.

    `overhead` is what passes besides the transfer of its frame and the batch; `nbytes` the size of a frame for each variant it
    may use; `bandwidth` in bytes per second. One that `fits` each frame to its link may be allowed more than its link seems to carry.
    """

    session: int
    fps: float
    slo: float
    overhead: float
    nbytes: Mapping[str, float]
    bandwidth: float = inf
    fits: bool = False


class Slot(msgspec.Struct, frozen=True):
    """A choice that a worker runs once per cycle."""

    variant: str
    batch: int
    seconds: float


class Worker(msgspec.Struct, frozen=True):
    """What one worker runs, over and over, in `cycle` seconds."""

    cycle: float
    slots: tuple[Slot, ...]


class Assignment(msgspec.Struct, frozen=True):
    """A client gets a variant and `allowance` server seconds per second; variant "" and 0.0 if it is not served. `most` is the best one
    it may take where its link is better than it seems, "" for none but that."""

    session: int
    variant: str = ""
    batch: int = 0
    allowance: float = 0.0
    most: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What every worker runs and every client gets; `accuracy` as in the module's text, `by` the way it was found."""

    workers: tuple[Worker, ...] = ()
    clients: tuple[Assignment, ...] = ()
    accuracy: float = 0.0
    by: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One moment's question. `shares`: workers may share their time. `previous` is the plan in force, kept unless a better one gains
    more than `epsilon` of accuracy or it no longer holds. A new plan leaves `slack`: as if batches took longer, and goals were nearer,
    by this part, so that the next noise does not break it. A worker keeps `resident` variants ready."""

    workers: int
    clients: tuple[Client, ...]
    choices: tuple[Choice, ...]
    shares: bool = True
    previous: Plan | None = None
    epsilon: float = 0.005
    slack: float = 0.0
    resident: int = 1


def budget(client: Client, variant: str) -> float:
    """Seconds a frame of this variant has at the server; -inf if the client may not use it or its link cannot carry its rate."""
    nbytes = client.nbytes.get(variant)
    if nbytes is None or nbytes * client.fps > client.bandwidth:
        return -inf
    return client.slo - client.overhead - nbytes / client.bandwidth


def accuracy(problem: Problem, variants: Mapping[int, str]) -> float:
    """The fps-weighted accuracy if these sessions get these variants."""
    known = {choice.variant: choice.accuracy for choice in problem.choices}
    total = sum(client.fps for client in problem.clients)
    got = sum(client.fps * known.get(variants.get(client.session, ""), 0.0) for client in problem.clients)
    return got / total if total else 0.0


def swaps(before: Plan | None, after: Plan) -> int:
    """Variants that workers have to take up which none of them ran before, counted per worker that does."""
    had = [{slot.variant for slot in worker.slots} for worker in before.workers] if before else []
    count = 0
    for worker in after.workers:
        needs = {slot.variant for slot in worker.slots}
        best = max(had, key=lambda has: len(needs & has), default=set())
        if best in had:
            had.remove(best)
        count += len(needs - best)
    return count


def wrong(problem: Problem, plan: Plan) -> Iterator[str]:
    """What is wrong with a plan, in words; nothing if it keeps every deadline by the rules above."""
    if len(plan.workers) > problem.workers:
        yield f"{len(plan.workers)} workers are planned for, {problem.workers} there are"
    yield from _wrong_workers(problem, plan)
    clients = {client.session: client for client in problem.clients}
    if sorted(each.session for each in plan.clients) != sorted(clients):
        yield "not every client is in the plan once"
        return
    slots: dict[str, dict[float, float]] = {}
    for worker in plan.workers:
        for slot in worker.slots:
            rates, need = slots.setdefault(slot.variant, {}), worker.cycle + slot.seconds
            rates[need] = rates.get(need, 0.0) + slot.batch / worker.cycle
    for variant in {each.variant for each in plan.clients if each.variant}:
        mine = [clients[each.session] for each in plan.clients if each.variant == variant]
        served = sorted((budget(client, variant), client.fps) for client in mine)
        load = 0.0
        for left, fps in served:
            load += fps
            room = sum(rate for need, rate in slots.get(variant, {}).items() if need <= left + _ROUNDING)
            if load > room * (1 + _ROUNDING) + _ROUNDING:
                yield f"{variant}: {load:g} frames/s have at most {left * 1e3:.1f} ms, and there are slots for {room:g}"


def _wrong_workers(problem: Problem, plan: Plan) -> Iterator[str]:
    known = {(choice.variant, choice.batch): choice.seconds for choice in problem.choices}
    for worker in plan.workers:
        busy = sum(slot.seconds for slot in worker.slots)
        if busy > worker.cycle + _ROUNDING:
            yield f"a worker has {busy * 1e3:.1f} ms to do in each {worker.cycle * 1e3:.1f} ms"
        for slot in worker.slots:
            if slot.seconds < known.get((slot.variant, slot.batch), inf) - _ROUNDING:
                yield f"{slot.variant} in batches of {slot.batch} takes longer than {slot.seconds * 1e3:.1f} ms"
