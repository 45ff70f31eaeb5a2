"""How a server is doing, in a line: while it serves, and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from time import monotonic
from typing import Any

from cloud_server.cli.console import Console
from cloud_server.coordinator import Server, ServerStatistics
from cloud_server.results.recorder import RecorderStatistics

__all__ = ["EVERY_S", "StatusLine", "recorded", "served", "units"]

EVERY_S = 10.0
"""Between two status lines."""


class StatusLine:
    """Tells every ten seconds what was done since, if there are sessions."""

    def __init__(self, server: Server, console: Console) -> None:
        self._server = server
        self._console = console
        self._since = monotonic()
        self._before = server.statistics()

    def patience(self) -> float:
        """Seconds until `tell` has something to do."""
        return self._since + EVERY_S - monotonic()

    def tell(self) -> None:
        """Write the line if it is due."""
        now = monotonic()
        if now >= self._since + EVERY_S:
            self._console.look()
            after = self._server.statistics()
            if after.sessions:
                self._tell(after, now - self._since)
            self._since, self._before = now, after

    def _tell(self, after: ServerStatistics, seconds: float) -> None:
        before = self._before
        rate = (after.executed - before.executed) / seconds
        received = (after.bytes_received - before.bytes_received) / seconds
        sent = (after.bytes_sent - before.bytes_sent) / seconds
        sizes = {app: batches.since(before.batches.get(app)) for app, batches in after.batches.items()}
        text = (
            f"{after.sessions} session{'s' if after.sessions != 1 else ''}, {rate:.1f} jobs/s{_sizes(sizes)}, {after.queued} waiting, "
            f"load {after.load:.2f}, {units(received)}/s in, {units(sent)}/s out"
        )
        fresh = {reason: count - before.drops.get(reason, 0) for reason, count in after.drops.items()}
        if any(fresh.values()):
            text += f", dropped: {_counts(fresh)}"
        text += _cancelled(after.cancelled_before - before.cancelled_before, after.cancelled_running - before.cancelled_running,
                           after.wasted_s - before.wasted_s)
        if after.variants:
            text += f", variants: {_by_variant(after.variants)}"
        misses, swaps = after.variant_misses - before.variant_misses, after.variant_swaps - before.variant_swaps
        if misses or swaps:
            text += f", {misses} batches waited for their variant, {swaps} variants made room"
        if after.planned:
            text += f", planned: {_counts(after.planned)} (accuracy {after.plan_accuracy:.3f}, {after.plan_seconds * 1e3:.0f} ms)"
        if after.waiting_for_memory:
            text += f", {after.waiting_for_memory} wait for memory"
        self._console.say(
            "status", text, sessions=after.sessions, jobs_per_s=round(rate, 3), waiting=after.queued, load=after.load,
            bytes_in_per_s=round(received), bytes_out_per_s=round(sent), duplicates=after.duplicates, bad_messages=after.bad_messages,
            memory=after.memory, waiting_for_memory=after.waiting_for_memory, drops=after.drops,
            variant_hits=after.variant_hits, variant_misses=after.variant_misses, variant_swaps=after.variant_swaps,
            batch_sizes={app: round(size, 2) for app, size in sizes.items() if size}, variants=after.variants,
            planned=after.planned, plan_accuracy=after.plan_accuracy, plan_seconds=round(after.plan_seconds, 6), plans=after.plans,
            plans_changed=after.plans_changed, plan_swaps=after.plan_swaps, cancelled_before=after.cancelled_before,
            cancelled_running=after.cancelled_running, wasted_s=round(after.wasted_s, 6),
        )


def _sizes(sizes: Mapping[str, float]) -> str:
    """Jobs of a batch, if there were more than one in any; by app, if there are several."""
    busy = {app: size for app, size in sizes.items() if size}
    if not busy or max(busy.values()) < 1.05:
        return ""
    return " in batches of " + ", ".join(f"{size:.1f}{f' ({app})' if len(busy) > 1 else ''}" for app, size in busy.items())


def _cancelled(before: int, running: int, wasted: float) -> str:
    """What devices cancelled, and what that came to."""
    if not before and not running:
        return ""
    return f", cancelled: {before} before they ran, {running} while they ran ({wasted:.2f} s wasted)"


def _by_variant(variants: Mapping[str, str]) -> str:
    """How many devices run with each, the most frequent first."""
    return ", ".join(f"{count} x {variant}" for variant, count in Counter(variants.values()).most_common())


def _counts(drops: Mapping[str, int]) -> str:
    """Reasons with their counts, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(drops.items(), key=lambda each: -each[1]) if count)


def served(server: Server) -> tuple[str, dict[str, Any]]:
    """What a server has done in its life: for people, and as fields."""
    statistics, machine = server.statistics(), server.scheduler
    outcomes = ", ".join(f"{count} {kind}" for kind, count in machine.outcomes.items())
    outcomes += f" ({_counts(machine.drops)})" if machine.drops else ""
    text = (
        f"{machine.opened} session{'s' if machine.opened != 1 else ''}, {sum(machine.outcomes.values())} jobs: {outcomes}; "
        f"{units(statistics.bytes_received)} in, {units(statistics.bytes_sent)} out"
    )
    if statistics.bad_messages:
        text += f"; {statistics.bad_messages} messages were none"
    if statistics.damaged:
        text += f"; {statistics.damaged} messages were damaged"
    if statistics.variant_misses:
        text += f"; {statistics.variant_misses} batches waited for their variant, {statistics.variant_hits} did not"
    text += _cancelled(statistics.cancelled_before, statistics.cancelled_running, statistics.wasted_s).replace(", ", "; ", 1)
    if machine.quarantine.refused:
        text += f"; {machine.quarantine.refused} jobs were refused, as their like killed workers"
    return text, {
        "sessions": machine.opened, **machine.outcomes, "bytes_in": statistics.bytes_received, "bytes_out": statistics.bytes_sent,
        "duplicates": statistics.duplicates, "bad_messages": statistics.bad_messages, "refused": machine.quarantine.refused,
        "drops": statistics.drops, "variant_hits": statistics.variant_hits, "variant_misses": statistics.variant_misses,
        "variant_swaps": statistics.variant_swaps, "cancelled_before": statistics.cancelled_before,
        "cancelled_running": statistics.cancelled_running, "wasted_s": round(statistics.wasted_s, 6),
    }


def recorded(values: RecorderStatistics) -> str:
    """What became of final values, for people: without duplicates, since a result computed here is reported as well."""
    text = f"values: {values.folded} folded, {values.written} written"
    for count, words in ((values.failed, "failed"), (values.lost, "lost")):
        text += f", {count} {words}" if count else ""
    return text


def units(size: float) -> str:
    """Bytes as people say them: 921600 -> "0.92 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.3g} {unit}"
