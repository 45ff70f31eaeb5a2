"""The plot of a run. matplotlib is loaded only by the function that draws."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from metrics.estimate import RollingQuantile
from metrics.results import KINDS, Row, StageTime, quantile, read_results, stage_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_run"]

TEXT, FAINT = "#24292f", "#d8dee4"
DEVICE, CLOUD = "#1f77b4", "#e8710a"
"""The same in every panel, and told apart by people who see red and green alike."""

LOOKS = dict(zip(KINDS, ((DEVICE, "o"), (CLOUD, "o"), ("#8c959f", "o"), ("#6e40aa", "|"), ("#cf222e", "x")), strict=True))
"""Colour and marker of each kind of outcome."""


def plot_run(results_jsonl: str | PathLike[str], out_png: str | PathLike[str], stage_names: Sequence[str] = ()) -> None:
    """Draw a results file: latency per frame by outcome, and time per stage on device and server.

    Raises:
        ResultsError: the results cannot be used.
        OSError: a file cannot be read or written.
    """
    # The canvas is made by hand: pyplot keeps global state and may look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_results(results_jsonl)
    times = stage_times(rows)
    stages = len({time.stage for time in times})
    figure = Figure(figsize=(11, 5.4 + 0.42 * max(stages, 2)), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(4.0, 0.6 + 0.42 * max(stages, 2)))
    _draw_latency(above, rows)
    _draw_stages(below, times, stage_names)
    _draw_title(figure, rows)
    figure.savefig(out_png, format="png")


def _draw_latency(axes: Axes, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    answers = sorted(row.latency_ms for row in rows if row.answered and row.latency_ms is not None)
    top = _top(answers)
    for kind in KINDS:
        found = [row for row in rows if row.kind == kind]
        if found:
            _draw_kind(axes, kind, found, top)
    _draw_trend(axes, rows, top)
    _draw_quantiles(axes, answers)
    _style(axes, "Latency per frame, capture to delivery", "frame (seq)", "ms")
    axes.set_ylim(0.0, top)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.13), ncols=6, frameon=False, fontsize=8.5, handletextpad=0.2, columnspacing=1.4)


def _top(answers: Sequence[float]) -> float:
    """The upper end of the axis: a few very late frames do not flatten all others."""
    most = min(quantile(answers, 1.0), max(1.5 * quantile(answers, 0.95), 1.25 * quantile(answers, 0.99)))
    return 1.08 * most if most > 0.0 else 1.0


def _draw_kind(axes: Axes, kind: str, rows: Sequence[Row], top: float) -> None:
    colour, marker = LOOKS[kind]
    if kind == "dropped":  # no answer, so its age says nothing: a tick on the axis
        label = f"dropped: {_reasons(rows)}"
        axes.scatter([row.seq for row in rows], [0.0] * len(rows), s=60, c=colour, marker="|", label=label, clip_on=False, zorder=3)
        return
    inside = [(row.seq, row.latency_ms or 0.0) for row in rows if (row.latency_ms or 0.0) <= top]
    beyond = [row.seq for row in rows if (row.latency_ms or 0.0) > top]
    label = f"{kind} ({len(rows)}{f', {len(beyond)} off scale' if beyond else ''})"
    size, alpha = (9, 0.65) if marker == "o" else (24, 0.9)
    xs, ys = [x for x, _ in inside], [y for _, y in inside]
    width = 0.0 if marker == "o" else 1.2
    axes.scatter(xs, ys, s=size, c=colour, marker=marker, alpha=alpha, linewidths=width, label=label, clip_on=False, zorder=3)
    axes.scatter(beyond, [top] * len(beyond), s=22, c=colour, marker="^", linewidths=0.0, clip_on=False, zorder=3)


def _draw_trend(axes: Axes, rows: Sequence[Row], top: float) -> None:
    """A running median, where one stream has enough frames for it."""
    answers = sorted((row.seq, row.latency_ms) for row in rows if row.answered and row.latency_ms is not None)
    width = max(15, len(answers) // 40)
    if len(answers) < 3 * width or len({row.stream for row in rows}) > 1:
        return
    recent, medians = RollingQuantile(width), []
    for _, latency in answers:
        recent.add(latency)
        medians.append(min(recent.quantile(0.5) or 0.0, top))
    middles = [seq for seq, _ in answers][width // 2 : len(answers) - (width - 1) // 2]
    axes.plot(middles, medians[width - 1 :], color=TEXT, linewidth=1.3, zorder=4, label=f"median of {width}")


def _draw_quantiles(axes: Axes, answers: Sequence[float]) -> None:
    for q, style in ((0.5, ":"), (0.95, "--")) if answers else ():
        value = quantile(answers, q)
        axes.axhline(value, color=TEXT, linewidth=0.8, linestyle=style, zorder=2)
        # p95 above its line and p50 below: close ones stay readable
        axes.annotate(f"p{100 * q:.0f} {_ms(value)}", (1.0, value), xycoords=("axes fraction", "data"), xytext=(6, 9 * q - 6.5),
                      textcoords="offset points", va="bottom" if q > 0.5 else "top", fontsize=8.5, color=TEXT, annotation_clip=False)


def _draw_stages(axes: Axes, times: Sequence[StageTime], stage_names: Sequence[str]) -> None:
    stages = sorted({time.stage for time in times})
    both = {time.stage for time in times if time.where == "device"} & {time.stage for time in times if time.where == "cloud"}
    for where, label, colour, offset in (("device", "device", DEVICE, -0.19), ("cloud", "server", CLOUD, 0.19)):
        found = [time for time in times if time.where == where]
        if not found:
            continue
        heights = [stages.index(time.stage) + (offset if time.stage in both else 0.0) for time in found]
        axes.barh(heights, [time.p50 for time in found], height=0.34, color=colour, label=label, zorder=3)
        axes.hlines(heights, [time.p50 for time in found], [time.p95 for time in found], color=TEXT, linewidth=1.0, zorder=4)
        for height, time in zip(heights, found, strict=True):
            axes.annotate(_ms(time.p50), (time.p95, height), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, color=TEXT)
    axes.set_yticks(range(len(stages)), [stage_names[stage] if stage < len(stage_names) else f"stage {stage}" for stage in stages])
    axes.set_ylim(len(stages) - 0.45, -0.55)
    axes.set_xlim(0.0, 1.12 * max((time.p95 for time in times), default=1.0) or 1.0)
    _style(axes, "Time per stage: median, line to p95", "ms", "")
    axes.grid(False, axis="y")
    if times:
        axes.legend(loc="lower right", frameon=False, fontsize=8.5)


def _draw_title(figure: Figure, rows: Sequence[Row]) -> None:
    splits = sorted({row.split for row in rows if row.split is not None})
    sent = sum(row.sent_bytes for row in rows)
    parts = [f"{len(rows)} frame{'s' if len(rows) > 1 else ''}"]
    if splits:
        parts.append(f"{splits[0]} stages on the device" if len(splits) == 1 else f"{splits[0]} to {splits[-1]} stages on the device")
    if sent:
        parts.append(f"{sent / len(rows) / 1e3:,.1f} kB sent per frame")
    figure.suptitle("   ·   ".join(parts), x=0.01, ha="left", fontsize=12.5, fontweight="bold", color=TEXT)


def _style(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=TEXT, pad=8)
    axes.set_xlabel(x_label, fontsize=9, color=TEXT)
    axes.set_ylabel(y_label, fontsize=9, color=TEXT)
    axes.tick_params(labelsize=8.5, colors=TEXT, length=0)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def _reasons(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.reason or "?"] = counts.get(row.reason or "?", 0) + 1
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))


def _ms(value: float) -> str:
    return f"{value:.3f} ms" if value < 1 else f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"
