"""How a server stands at one moment, in numbers."""

from __future__ import annotations

import msgspec

from cloud_server.executors.seam import Executor
from cloud_server.profiling.tally import Batches, Tally
from cloud_server.scheduler import Scheduler

__all__ = ["ServerStatistics", "standing"]


class ServerStatistics(msgspec.Struct, frozen=True):
    """How a server stands at one moment; sizes in bytes.

    `memory` is what all sessions have here or may send, `waiting_for_memory` how many ask for more; `unsent` waits for
    devices to read it; `drops` counts the jobs not run, by reason. `variant_hits` are batches whose variant a worker had loaded,
    `variant_misses` those that waited for a load, `variant_swaps` loaded variants that left to make room. `batches` are by app,
    `variants` by device, where the app has any. `planned` is how many devices have each variant by plan ("none": nothing that would be
    in time), of `plan_accuracy`, which took `plan_seconds`; `plans` were made, of which `plans_changed` said something else than the
    one before, and `plan_swaps` variants were new to a worker. Of the jobs that devices cancelled `cancelled_before` never ran, and
    `cancelled_running` did, for `wasted_s` seconds of workers.
    """

    sessions: int
    queued: int
    running: int
    executed: int
    shed: int
    duplicates: int
    bad_messages: int
    bytes_received: int
    bytes_sent: int
    payloads_kept: int
    results_kept: int
    load: float
    memory: int = 0
    waiting_for_memory: int = 0
    unsent: int = 0
    drops: dict[str, int] = {}
    damaged: int = 0
    replaced: int = 0
    variant_hits: int = 0
    variant_misses: int = 0
    variant_swaps: int = 0
    batches: dict[str, Batches] = {}
    variants: dict[str, str] = {}
    planned: dict[str, int] = {}
    plan_accuracy: float = 0.0
    plan_seconds: float = 0.0
    plans: int = 0
    plans_changed: int = 0
    plan_swaps: int = 0
    cancelled_before: int = 0
    cancelled_running: int = 0
    wasted_s: float = 0.0


def standing(
    machine: Scheduler, executor: Executor, tally: Tally, *, bad_messages: int, bytes_received: int, bytes_sent: int, payloads_kept: int,
    results_kept: int, unsent: int,
) -> ServerStatistics:
    """As machine and workers say, and what the loop has counted; cheap, from any thread."""
    held = executor.residency()
    devices = {number: session.device for number, session in list(machine.sessions.items())}
    late = sum(count for reason, count in machine.drops.items() if reason.startswith("late"))
    return ServerStatistics(
        len(machine.sessions), machine.queued, machine.running, machine.executed, late, machine.duplicates,
        bad_messages, bytes_received, bytes_sent, payloads_kept, results_kept, machine.load, machine.memory.used,
        len(machine.memory.waiting), unsent, dict(machine.drops), machine.damaged, getattr(executor, "replaced", 0),
        sum(each.hits for each in held), sum(each.misses for each in held), sum(each.swaps for each in held),
        tally.apps(), tally.variants(devices),
        *machine.plans.standing(), machine.cancels.before, machine.cancels.while_running, machine.cancels.wasted,
    )
