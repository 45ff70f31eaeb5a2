"""A server's figures, for its metrics page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cloud_server.coordinator import Server
from cloud_server.results.recorder import Recorder
from metrics.exposition import Figure

__all__ = ["figures"]


def figures(server: Server, recorder: Recorder) -> Iterator[Figure]:
    """Where things stand now; from any thread."""
    now, machine, values = server.statistics(), server.scheduler, recorder.statistics()
    for name, text, value in (
        ("sessions", "Devices with a session.", now.sessions),
        ("sessions_opened_total", "Sessions ever opened.", machine.opened),
        ("jobs_waiting", "Jobs that wait for a worker.", now.queued),
        ("batches_running", "Batches given to workers and not yet answered.", now.running),
        ("jobs_executed_total", "Jobs run, whatever came of them.", now.executed),
        ("duplicates_total", "SUBMITs that came again.", now.duplicates),
        ("bad_messages_total", "Messages that were none.", now.bad_messages),
        ("damaged_total", "Messages whose buffers were not those of their checksum.", now.damaged),
        ("received_bytes_total", "Payload bytes received.", now.bytes_received),
        ("sent_bytes_total", "Payload bytes sent.", now.bytes_sent),
        ("memory_bytes", "Bytes that devices have here.", now.memory),
        ("unsent_bytes", "Bytes that wait for devices that do not read.", now.unsent),
        ("results_held", "Results held until their device has them.", now.results_kept),
        ("load", "Jobs waiting or running, per worker.", now.load),
        ("workers", "Jobs run at a time.", machine.config.workers),
        ("worker_restarts_total", "Worker processes that died or were killed, and were replaced.", now.replaced),
        ("variant_hits_total", "Batches whose variant their worker had loaded.", now.variant_hits),
        ("variant_misses_total", "Batches that waited for their variant to be loaded.", now.variant_misses),
        ("variant_swaps_total", "Loaded variants that left a worker to make room.", now.variant_swaps),
        ("cancelled_before_total", "Jobs that devices cancelled before they ran.", now.cancelled_before),
        ("cancelled_running_total", "Jobs that devices cancelled while they ran.", now.cancelled_running),
        ("wasted_seconds_total", "Seconds of workers that went into jobs cancelled while they ran.", now.wasted_s),
        ("plans_total", "Plans made.", now.plans),
        ("plans_changed_total", "Plans that said something else than the one before.", now.plans_changed),
        ("plan_swaps_total", "Variants that a plan gave a worker which did not have them.", now.plan_swaps),
        ("plan_seconds", "Seconds that making the last plan took.", now.plan_seconds),
        ("plan_accuracy", "Accuracy of the plan in force, weighted by frame rates.", now.plan_accuracy),
        ("values_folded_total", "Final values given to aggregates.", values.folded),
        ("values_lost_total", "Final values that could not be kept.", values.lost),
    ):
        yield Figure(f"spillway_server_{name}", text, {"": value})
    yield Figure("spillway_server_planned", "Devices by the variant planned for them.", now.planned or {"none": 0}, "variant")
    yield Figure("spillway_server_results_total", "Answers by outcome.", dict(machine.outcomes), "outcome")
    yield Figure("spillway_server_drops_total", "Jobs that were not run, by reason.", now.drops or {"late on arrival": 0}, "reason")
    for name, text, of in (
        ("batches_total", "Batches given to workers, by app.", "batches"),
        ("batch_jobs_total", "Jobs in these batches, by app.", "jobs"),
        ("batch_largest", "Jobs in the largest batch so far, by app.", "largest"),
    ):
        yield Figure(f"spillway_server_{name}", text, {app: getattr(each, of) for app, each in now.batches.items()}, "app")
    yield Figure("spillway_server_devices", "Devices by the variant their last job ran with.", Counter(now.variants.values()), "variant")
