"""A race's figures for people: tables, and the same as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.table import Table

from examples.detection.evaluate import score
from examples.detection.race_figures import ORDER, figures, found_in_time
from examples.detection.race_run import Alone, Run
from examples.detection.race_world import Clip
from iot_client.racing.scores import RaceScore

__all__ = ["Report", "report", "shown"]


class Report(msgspec.Struct, frozen=True):
    """One use of the race, with everything that is printed."""

    name: str
    run: dict[str, Any]
    entrants: list[dict[str, Any]]
    """answers, wins and median of the seconds of each, as the client counts them"""
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
    race = run.statistics.race
    assert race is not None, "the app declares one, and there is a server"
    answers = [{"seq": each.seq, "by": each.by, "late": each.late, "ms": round(1e3 * each.latency, 2)} for each in run.answers]
    entrants = msgspec.to_builtins(race.entrants)
    return Report(run.name, msgspec.to_builtins(figures(run.answers)), entrants, accuracy, _price(run, race, busy_s), answers)


def _price(run: Run, race: RaceScore, busy_s: float | None) -> dict[str, float]:
    """Of each frame, in the mean; keys of _PRICES."""
    frames = max(1, len(run.answers))
    used_s = race.cloud_s - race.wasted_cloud_s
    wasted_s = race.wasted_cloud_s if busy_s is None else max(0.0, busy_s - used_s)
    return {
        "device_cpu_ms": 1e3 * run.cpu_s / frames, "local_runs": race.twins / frames, "extra_cpu_ms": 1e3 * race.extra_cpu_s / frames,
        "kb_sent": race.sent_bytes / 1e3 / frames, "extra_kb": race.extra_bytes / 1e3 / frames, "cloud_ms": 1e3 * used_s / frames,
        "wasted_cloud_ms": 1e3 * wasted_s / frames, "late_answers": race.late_answers / frames,
    }


def shown(found: Report) -> list[Any]:
    """Who answered, what was found, and what it cost: what rich prints, one below the other."""
    run = found.run
    reasons = ", ".join(f"{count} {reason}" for reason, count in run["reasons"].items())
    given_up = f"{run['given_up']} given up{f': {reasons}' if reasons else ''}"
    misses = f"{run['misses']} ({run['late']} answered late, {run['extrapolated']} extrapolated, {given_up})"
    what = [_what(found)] if found.accuracy else []
    return [f"{found.name}: {run['frames']} frames", _who(found), f"no answer at the deadline: {misses}", *what, _cost(found), ""]


def _who(found: Report) -> Table:
    """Whose answers stood, and how long each entrant took: the device's own run, and from sending to the answer of a cloud."""
    table = Table("answered by", "frames", "share", "from capture, median ms", "p99 ms", "its answers", "they took, median ms")
    entrants = {each["name"]: each for each in found.entrants}
    rows = {row["by"]: row for row in found.run["shares"]}
    for by in ORDER:
        row, each = rows.get(by), entrants.get(by)
        won = (str(row["won"]), f"{row['share']:.1%}", *_ms(row["median"], row["slowest"])) if row else ("0", "", "", "")
        took = (str(each["answers"]), *_ms(each["median_s"])) if each else ("", "")
        if row or each:
            table.add_row(by, *won, *took)
    return table


def _what(found: Report) -> Table:
    """Accuracy, and what that is against each entrant alone."""
    table = Table("accuracy (COCO)", "mAP", "AP50", "delivered against it")
    delivered = found.accuracy["delivered"]["map"]
    for name, row in found.accuracy.items():
        label, against = (name, "") if name == "delivered" else (f"{name} alone", f"{delivered - row['map']:+.3f}")
        table.add_row(label, f"{row['map']:.3f}", f"{row['ap50']:.3f}", against)
    return table


def _cost(found: Report) -> Table:
    table = Table("price, in the mean of a frame", "", show_header=True)
    for name, words in _PRICES.items():
        table.add_row(words, f"{found.price[name]:.2f}")
    return table


def _ms(*seconds: float) -> list[str]:
    return [f"{1e3 * each:.1f}" for each in seconds]


_PRICES = {
    "device_cpu_ms": "CPU of the device's process, ms",
    "local_runs": "runs of the local detector",
    "extra_cpu_ms": "CPU of those whose answer did not stand, ms",
    "kb_sent": "sent, KB",
    "extra_kb": "sent for answers that did not stand, KB",
    "cloud_ms": "servers, for answers that stood, ms",
    "wasted_cloud_ms": "servers, for those that did not, ms",
    "late_answers": "cloud answers after the verdict",
}
