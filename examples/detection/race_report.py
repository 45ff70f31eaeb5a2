"""A race's figures for people: tables, and the same as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.table import Table

from examples.detection.evaluate import score
from examples.detection.race_figures import figures, found_in_time
from examples.detection.race_run import Alone, Run
from examples.detection.race_world import Clip

__all__ = ["Report", "report", "shown"]


class Report(msgspec.Struct, frozen=True):
    """One use of the race, with everything that is printed."""

    name: str
    run: dict[str, Any]
    accuracy: dict[str, dict[str, float]]
    """mAP and AP50 of COCO by whose answers they are: delivered, local, cloud; empty where nobody knows what is in the frames"""
    alone_ms: dict[str, float]
    """median of a frame through each entrant on this machine, without a network"""
    price: dict[str, float]
    answers: list[dict[str, Any]]
    """of each frame: who answered, late or not, after how many milliseconds"""


def report(run: Run, references: Sequence[Alone], clip: Clip, busy_s: float | None) -> Report:
    """The figures of one run beside what its entrants would have said alone.

    Args:
        busy_s: seconds that servers ran stages meanwhile, if that is known.
    """
    accuracy = {}
    if clip.truth is not None:
        accuracy["delivered"] = score(*found_in_time(run.answers, clip.truth))
        accuracy |= {each.entrant: score(clip.truth, each.found) for each in references}
    answers = [{"seq": each.seq, "by": each.by, "late": each.late, "ms": round(1e3 * each.latency, 2)} for each in run.answers]
    alone_ms = {each.entrant: 1e3 * each.seconds for each in references}
    return Report(run.name, msgspec.to_builtins(figures(run.answers)), accuracy, alone_ms, _price(run, references, busy_s), answers)


def _price(run: Run, references: Sequence[Alone], busy_s: float | None) -> dict[str, float]:
    """Of each frame, in the mean; keys of _PRICES."""
    frames, statistics = max(1, len(run.answers)), run.statistics
    found = {"device_cpu_ms": 1e3 * run.cpu_s / frames, "kb_sent": statistics.bytes_sent / 1e3 / frames}
    here = next((each.cpu_s for each in references if each.entrant == "local"), None)
    if here is not None:
        found |= {"local_runs": statistics.twins / frames, "local_cpu_ms": 1e3 * here * statistics.twins / frames}
    used_s = sum(each.cloud_s for each in run.answers)
    found["cloud_ms"] = 1e3 * used_s / frames
    if busy_s is not None:
        found["wasted_cloud_ms"] = 1e3 * max(0.0, busy_s - used_s) / frames
    return found | {"late_answers": float(statistics.late_results)}


def shown(found: Report) -> list[Any]:
    """Who answered, what was found, and what it cost: what rich prints, one below the other."""
    run = found.run
    reasons = ", ".join(f"{count} {reason}" for reason, count in run["reasons"].items())
    given_up = f"{run['given_up']} given up{f': {reasons}' if reasons else ''}"
    misses = f"{run['misses']} ({run['late']} answered late, {run['extrapolated']} extrapolated, {given_up})"
    what = [_what(found)] if found.accuracy else []
    return [f"{found.name}: {run['frames']} frames", _who(found), f"no answer at the deadline: {misses}", *what, _cost(found), ""]


def _who(found: Report) -> Table:
    table = Table("answered by", "frames", "share", "median ms", "p99 ms")
    for row in found.run["shares"]:
        table.add_row(row["by"], str(row["won"]), f"{row['share']:.1%}", f"{1e3 * row['median']:.1f}", f"{1e3 * row['slowest']:.1f}")
    return table


def _what(found: Report) -> Table:
    """Accuracy, and what that is against each entrant alone."""
    table = Table("accuracy (COCO)", "mAP", "AP50", "delivered against it", "median ms, here")
    delivered = found.accuracy["delivered"]["map"]
    for name, row in found.accuracy.items():
        rest = ("", "") if name == "delivered" else (f"{delivered - row['map']:+.3f}", f"{found.alone_ms[name]:.1f}")
        table.add_row(name if name == "delivered" else f"{name} alone", f"{row['map']:.3f}", f"{row['ap50']:.3f}", *rest)
    return table


def _cost(found: Report) -> Table:
    table = Table("price of it", "", show_header=False)
    for name, words in _PRICES.items():
        if name in found.price:
            table.add_row(words, f"{found.price[name]:.2f}")
    return table


_PRICES = {
    "device_cpu_ms": "device CPU, ms a frame",
    "local_runs": "runs of the local detector, of frames",
    "local_cpu_ms": "their CPU, ms a frame",
    "kb_sent": "sent, KB a frame",
    "cloud_ms": "server time in answers that stood, ms a frame",
    "wasted_cloud_ms": "server time in answers that did not, ms a frame",
    "late_answers": "answers that came after the verdict",
}
