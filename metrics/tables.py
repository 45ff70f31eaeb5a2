"""Tables of a run for the terminal. rich is loaded only by the functions that draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metrics.results import StageTime
from metrics.summary import SummarySnapshot

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["stage_table", "summary_table"]


def summary_table(snapshot: SummarySnapshot, stage_names: Sequence[str] = ()) -> Table:
    """A run in one table for the terminal, stage means last."""
    from rich.table import Table

    table = Table(title="Run", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, text in _summary_lines(snapshot):
        table.add_row(name, text)
    table.add_section()
    for index in range(max(len(snapshot.device_stage_s), len(snapshot.cloud_stage_s))):
        device = _at(snapshot.device_stage_s, index)
        cloud = _at(snapshot.cloud_stage_s, index)
        table.add_row(_name(stage_names, index), f"device {_ms(device):>10}   cloud {_ms(cloud):>10}")
    return table


def stage_table(times: Sequence[StageTime], stage_names: Sequence[str] = ()) -> Table:
    """Times per stage and side, in ms, for the terminal."""
    from rich.table import Table

    table = Table(title="Time per stage, ms", title_justify="left")
    for column in ("stage", "where", "runs", "mean", "p50", "p95"):
        table.add_column(column, justify="left" if column in ("stage", "where") else "right")
    for time in times:
        figures = (f"{value:.3f}" for value in (time.mean, time.p50, time.p95))
        table.add_row(_name(stage_names, time.stage), time.where, str(time.runs), *figures)
    return table


def _summary_lines(run: SummarySnapshot) -> list[tuple[str, str]]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(run.dropped.items()))
    latency = run.latency_all
    lines = [
        ("frames captured", f"{run.captured} in {run.elapsed_s:.1f} s"),
        ("done", f"{run.done_device} on the device, {run.done_cloud} in the cloud"),
        ("filtered", str(run.filtered)),
        ("dropped", f"{run.dropped_total} ({reasons})" if reasons else "0"),
        ("failed", str(run.failed)),
        ("in flight", f"{run.in_flight}" + ("" if run.conserved else " (does not add up)")),
        ("FPS", f"{run.fps_all:.1f}"),
        ("latency p50 / p95 / p99", " / ".join(map(_ms, (latency.p50, latency.p95, latency.p99)))),
        ("sent", f"{run.sent_bytes / 1e6:.2f} MB"),
    ]
    if run.process_cpu_mean is not None:
        lines.append(("CPU, process", f"{run.process_cpu_mean:.0f} % of a core"))
    if run.rss_max:
        lines.append(("memory, at most", f"{run.rss_max / 2**20:.0f} MiB"))
    return lines


def _name(stage_names: Sequence[str], stage: int) -> str:
    return stage_names[stage] if stage < len(stage_names) else f"stage {stage}"


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3f} ms"
