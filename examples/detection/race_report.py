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

__all__ = ["Report", "report", "tables"]


class Report(msgspec.Struct, frozen=True):
    """One use of the race, with everything that is printed."""

    name: str
    run: dict[str, Any]
    accuracy: dict[str, dict[str, float]]
    """mAP and AP50 of COCO by whose answers they are: delivered, local, cloud; empty where nobody knows what is in the frames"""
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
    return Report(run.name, msgspec.to_builtins(figures(run.answers)), accuracy, _price(run, references, busy_s), answers)


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


def tables(found: Report) -> list[Table]:
    """Who answered, what was found, and what it cost."""
    return [_who(found), *([_what(found)] if found.accuracy else []), _cost(found)]


def _who(found: Report) -> Table:
    run = found.run
    title = f"{found.name}: {run['frames']} frames"
    shown = Table("answered by", "frames", "share", "median ms", "p99 ms", title=title, title_justify="left")
    for row in run["shares"]:
        shown.add_row(row["by"], str(row["won"]), f"{row['share']:.1%}", f"{1e3 * row['median']:.1f}", f"{1e3 * row['slowest']:.1f}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in run["reasons"].items())
    shown.caption = (
        f"no answer at the deadline: {run['misses']} ({run['late']} answered late, {run['extrapolated']} extrapolated, {run['given_up']} "
        f"given up{': ' + reasons if reasons else ''})"
    )
    shown.caption_justify = "left"
    return shown


def _what(found: Report) -> Table:
    """Accuracy, and what that is against either entrant alone."""
    shown = Table("accuracy (COCO)", "mAP", "AP50", "delivered against it", title_justify="left")
    delivered = found.accuracy["delivered"]["map"]
    for name, row in found.accuracy.items():
        against = "" if name == "delivered" else f"{delivered - row['map']:+.3f}"
        shown.add_row(name if name == "delivered" else f"{name} alone", f"{row['map']:.3f}", f"{row['ap50']:.3f}", against)
    return shown


def _cost(found: Report) -> Table:
    shown = Table("price of it", "", show_header=False)
    for name, words in _PRICES.items():
        if name in found.price:
            shown.add_row(words, f"{found.price[name]:.2f}")
    return shown


_PRICES = {
    "device_cpu_ms": "device CPU, ms a frame",
    "local_runs": "runs of the local detector, of frames",
    "local_cpu_ms": "their CPU, ms a frame",
    "kb_sent": "sent, KB a frame",
    "cloud_ms": "server time in answers that stood, ms a frame",
    "wasted_cloud_ms": "server time in answers that did not, ms a frame",
    "late_answers": "answers that came after the verdict",
}
