"""The figures on races, each as one SVG text: misses against the price, chances foretold against seen, one outage frame by frame.

matplotlib (extra `plot` or `lab`) is loaded by the functions that draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.reporting.figures import CLOUD, DEVICE, FAINT, GREY, RED, TEXT, canvas, colours, style, svg
from experiments.speculation.measure import in_time
from experiments.speculation.report import Measured, SpeculationReport, bins_of, means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["foretold", "outage", "price"]

_AROUND = 2.5
"""Seconds drawn before and after an outage."""
_DRAWN = ("risk", "always", "never", "cloud")


def price(report: SpeculationReport) -> str:
    """Frames missed over the device's CPU, relative to running both always, a panel per deadline; the line joins the accepted risks."""
    deadlines = report.speculation.deadlines_ms
    figure = canvas(11.0, 3.8)
    panels = figure.subplots(1, len(deadlines), sharey=True, squeeze=False)[0]
    paint = colours([system for system in report.systems if not system.startswith("risk:")])
    for axes, deadline in zip(panels, deadlines):
        swept = sorted((row["cpu"], 100 * row["miss_rate"]) for system in report.systems if system.partition(":")[0] in ("risk", "last")
                       if (row := means(report, system, deadline)))  # fmt: skip
        axes.plot([cpu for cpu, _ in swept], [missed for _, missed in swept], "-", color=FAINT, linewidth=1.4)
        for system in report.systems:
            row, colour = means(report, system, deadline), paint.get(system, GREY)
            if row:
                label = None if ":" in system else system
                axes.plot(row["cpu"], 100 * row["miss_rate"], "o", color=colour, markersize=4 if ":" in system else 7, label=label)
        style(axes, f"deadline {deadline:g} ms: frames missed, %")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(bottom=-0.01)
        axes.axhline(0.1, color=RED, linewidth=0.8)
        axes.axvline(0.3, color=FAINT, linewidth=1.0)
        axes.set_xlabel("device CPU of the local entrant / always", fontsize=8.5, color=TEXT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return svg(figure)


def foretold(report: SpeculationReport) -> str:
    """Risks as foretold and as seen, a panel per deadline: on the line they agree; numbers are frames, empty circles fewer than 30."""
    deadlines = report.speculation.deadlines_ms
    figure = canvas(11.0, 3.8)
    panels = figure.subplots(1, len(deadlines), sharey=True, squeeze=False)[0]
    for axes, deadline in zip(panels, deadlines):
        axes.plot([1e-4, 1.0], [1e-4, 1.0], color=FAINT, linewidth=1.2)
        for each in bins_of(report, "risk", deadline):
            seen = max(each.seen, 1e-4)
            axes.plot(each.predicted, seen, "o", color=DEVICE, markersize=6, fillstyle="full" if each.frames >= 30 else "none")
            note = {"fontsize": 6.5, "color": GREY, "xytext": (4, -8), "textcoords": "offset points"}
            axes.annotate(str(each.frames), (max(each.predicted, 1e-4), seen), **note)
        style(axes, f"deadline {deadline:g} ms: late, seen")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(0.8e-4, 1.3)
        axes.set_ylim(0.8e-4, 1.3)
        axes.set_xlabel("late, foretold (none seen: at the bottom)", fontsize=8.5, color=TEXT)
    return svg(figure)


def outage(report: SpeculationReport) -> str:
    """The longest outage of the runs that are drawn: when each frame was answered and by whom, and what ran here; misses are red."""
    runs = [one for one in report.measured if one.run.frames and one.run.system in _DRAWN]
    figure = canvas(11.0, 1.0 + 1.5 * max(1, len(runs)))
    panels = figure.subplots(max(1, len(runs)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, one in zip(panels, runs):
        _over_time(axes, one)
    panels[-1].set_xlabel("s", fontsize=8.5, color=TEXT)
    return svg(figure)


def _over_time(axes: Axes, one: Measured) -> None:
    run, due = one.run, one.run.deadline_ms / 1e3
    last = max(frame.captured for frame in run.frames)
    start, seconds = max((cut for cut in run.cuts if cut[0] + cut[1] < last), key=lambda cut: cut[1], default=(5.0, 0.0))
    axes.axvspan(start, start + seconds, color=FAINT)
    for frame in run.frames:
        if not start - _AROUND <= frame.captured <= start + seconds + _AROUND:
            continue
        good = in_time(frame, due + run.grace_s)
        colour = (CLOUD if frame.entrant == "cloud" else DEVICE) if good else RED
        axes.plot(frame.captured, min(frame.latency, 1.3 * due) * 1e3, "o", color=colour, markersize=4)
        if frame.local_s:
            axes.plot(frame.captured, 0.0, "|", color=DEVICE, markersize=7)
    axes.axhline(due * 1e3, color=GREY, linewidth=0.8)
    style(axes, f"{run.system}: answered after ms; orange: cloud, blue: local (ran: |), red: missed")
    axes.set_ylim(-10, 1.4 * due * 1e3)
