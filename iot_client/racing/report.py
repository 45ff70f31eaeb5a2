"""How races went, in words for people and in fields and figures for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from iot_client.racing.config import EXTRAPOLATED, MERGED
from iot_client.racing.scores import EntrantScore, RaceScore
from metrics.exposition import Figure

__all__ = ["race_fields", "race_figures", "race_rows"]


def race_rows(score: RaceScore, cpu_s: float) -> list[tuple[str, str]]:
    """The summary's rows: who won, what was missed, what it cost; `cpu_s` are the CPU seconds of the whole process."""
    entrants = sorted(score.entrants, key=lambda entrant: entrant.name != "local")
    won = [f"{each.name} {_took(each)}won {_share(each.wins, score.frames)}" for each in entrants]
    won += [f"{name} {_share(count, score.frames)}" for name, count in ((MERGED, score.merged),) if count]
    misses = [f"{count} {name}" for name, count in ((EXTRAPOLATED, score.extrapolated), ("overtaken", score.overtaken)) if count]
    of_them = f" ({', '.join(misses)})" if misses else ""
    rows = [
        ("race", "; ".join(won)),
        ("deadline", f"{score.late} late, {score.misses} misses{of_them}; {score.late_answers} answers after the verdict"),
        ("price", f"extra device CPU {_share(score.extra_cpu_s, cpu_s)} ({score.extra_cpu_s:.2f} s, {score.unneeded} of {score.twins} "
         f"local runs), {score.extra_bytes / 1e6:.1f} of {score.sent_bytes / 1e6:.1f} MB, "
         f"{score.wasted_cloud_s:.2f} of {score.cloud_s:.2f} s of servers"),
    ]
    asked = sum(each.frames for each in score.risk)
    if asked:
        predicted, seen = (sum(each[at] * each.frames for each in score.risk) / asked for at in (0, 1))
        right = f"{100 * predicted:.2f} % predicted, {100 * seen:.2f} % seen, of {asked} frames asked about"
        rows.append(("risk", f"{right}; Brier score {score.brier:.4f}"))
    absent = [f"{each.name} for {each.without} of {score.frames} frames{_reason(each)}" for each in entrants if each.without or each.absent]
    if absent:
        rows.append(("took no part", "; ".join(absent)))
    failures = ", ".join(f"{hook} {count} times" for hook, count in sorted(score.hook_failures.items()))
    return [*rows, ("hooks that raised", failures)] if failures else rows


def race_fields(score: RaceScore) -> dict[str, Any]:
    """The same as plain data."""
    return {**msgspec.to_builtins(score), "misses": score.misses}


def race_figures(score: RaceScore) -> Iterator[Figure]:
    """The same for a metrics page."""
    entrants = score.entrants
    name = "spillway_client_race"
    yield Figure(f"{name}_answers_total", "Answers, by entrant.", {each.name: each.answers for each in entrants}, "entrant")
    wins = {each.name: each.wins for each in entrants} | {MERGED: score.merged, EXTRAPOLATED: score.extrapolated}
    yield Figure(f"{name}_wins_total", "Answers that stood, by entrant.", wins, "entrant")
    without = {each.name: each.without for each in entrants if each.name != "local"}
    yield Figure(f"{name}_absent_frames_total", "Frames captured while a cloud took no part, by entrant.", without, "entrant")
    took = {each.name: each.median_s for each in entrants}
    yield Figure(f"{name}_answer_seconds", "Median time of an answer, by entrant.", took, "entrant")
    dropped = score.dropped - score.overtaken
    misses = {"late": score.late, "dropped": dropped, "overtaken": score.overtaken, EXTRAPOLATED: score.extrapolated}
    yield Figure(f"{name}_misses_total", "Frames without an answer at the deadline, by what became of them.", misses, "how")
    for key, text, value in (
        ("late_answers_total", "Answers of clouds after the verdict.", score.late_answers),
        ("twins_unneeded_total", "Local runs whose answer did not stand.", score.unneeded),
        ("extra_cpu_seconds_total", "CPU seconds of these.", score.extra_cpu_s),
        ("extra_bytes_total", "Bytes sent for answers that did not stand.", score.extra_bytes),
        ("wasted_cloud_seconds_total", "Seconds of servers for answers that did not stand.", score.wasted_cloud_s),
    ):
        yield Figure(f"{name}_{key}", text, {"": value})
    for at, how in enumerate(("predicted", "seen", "frames")):
        values = {f"{each[0]:.4f}": each[at] for each in score.risk}
        yield Figure(f"{name}_risk_{how}", f"Chances of a miss: {how}, by what was predicted.", values, "risk")
    yield Figure(f"{name}_hook_failures_total", "Hooks that raised, by name.", score.hook_failures, "hook")


def _took(entrant: EntrantScore) -> str:
    return f"{1e3 * entrant.median_s:.0f} ms median, " if entrant.answers else "no answer, "


def _reason(entrant: EntrantScore) -> str:
    return f" ({entrant.absent})" if entrant.absent else ""


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
