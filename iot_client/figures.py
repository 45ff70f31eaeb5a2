"""A device's figures, for its metrics page."""

from __future__ import annotations

from collections.abc import Iterator

from iot_client.racing.report import race_figures
from iot_client.result import Statistics
from metrics.exposition import Distribution, Figure
from metrics.histogram import LogHistogram
from metrics.summary import SummarySnapshot

__all__ = ["figures"]

_LINKS = ("local", "down", "probing", "up", "refused")


def figures(now: Statistics, run: SummarySnapshot, latencies: LogHistogram) -> Iterator[Figure | Distribution]:
    """Where things stand now."""
    for name, text, value in (
        ("frames_captured_total", "Frames that entered.", now.captured),
        ("frames_in_flight", "Frames without an outcome.", now.in_flight),
        ("fps", "Frames done or filtered per second, over the last five seconds.", run.fps),
        ("split", "Stages that most new frames have on this device.", now.split),
        ("window_frames", "Frames that may be under way.", now.window),
        ("round_trip_seconds", "To the server and back.", now.rtt_s),
        ("server_load", "Jobs waiting or running per worker, as the server says.", now.server_load),
        ("sent_bytes_total", "Payload bytes sent.", now.bytes_sent),
        ("received_bytes_total", "Payload bytes received.", now.bytes_received),
        ("resent_total", "Jobs sent again.", now.resent),
        ("late_results_total", "Answers of no use any more.", now.late_results),
        ("damaged_total", "Messages that were damaged.", now.damaged),
        ("twins_total", "Jobs begun here because of their deadline.", now.twins),
        ("waiting_for_server", "Frames that only a server can go on with while there is none.", now.waiting_for_server),
        ("reports_pending", "Final values the server does not have yet.", now.reports_pending),
        ("reports_discarded_total", "Final values given up.", now.reports_discarded),
        ("spooled_items", "Items on disk that wait to enter.", now.spooled),
        ("spool_bytes", "Bytes of all that is in the spool.", now.spool_bytes),
    ):
        yield Figure(f"spillway_client_{name}", text, {"": value})
    outcomes = {"done": run.done_device + run.done_cloud, "filtered": run.filtered, "dropped": run.dropped_total, "failed": run.failed}
    yield Figure("spillway_client_outcomes_total", "Frames by outcome.", outcomes, "outcome")
    yield Figure("spillway_client_done_total", "Frames done, by where.", {"device": run.done_device, "cloud": run.done_cloud}, "where")
    yield Figure("spillway_client_drops_total", "Frames dropped, by reason.", run.dropped, "reason")
    yield Figure("spillway_client_link", "1 for the state of the link.", {link: float(link == now.link) for link in _LINKS}, "state")
    if now.race is not None:
        yield from race_figures(now.race)
    yield Distribution("spillway_client_latency_seconds", "From capture to delivery, of frames done or filtered.", latencies)
