"""The figures on services that share an uplink, each as one SVG text. matplotlib (extra `plot` or `lab`) is loaded by what draws."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.reporting.figures import FAINT, GREY, RED, TEXT, canvas, colours, style, svg
from experiments.uplink.lab import ServiceSpec
from experiments.uplink.report import UplinkReport, means, shown
from experiments.uplink.rows import FrameRow, UplinkRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["over_time", "shares"]

_WINDOW_S = 2.0
_COLUMNS = 3
_TOP = 1.5
"""Of the deadline: what took longer, or never came, is drawn there."""


def shares(report: UplinkReport) -> str:
    """A group of bars for each kind of link: the part of the bound that each system gained."""
    links, lab = list(report.uplink.links), report.uplink
    figure = canvas(11.0, 3.4)
    axes = figure.subplots()
    paint = colours(list(lab.systems))
    width = 0.8 / len(lab.systems)
    for place, system in enumerate(lab.systems):
        heights = [100 * means(report, link, system).get("share", 0.0) for link in links]
        spots = [number + (place - (len(lab.systems) - 1) / 2) * width for number in range(len(links))]
        axes.bar(spots, heights, width * 0.92, color=paint[system], label=system)
    axes.set_xticks(range(len(links)), links)
    axes.axhline(100, color=FAINT, linewidth=1.0)
    style(axes, "gain over local answers, % of what no plan exceeds")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return svg(figure)


def over_time(report: UplinkReport) -> str:
    """One case, a column for each of up to three systems: what is granted of the link, accuracy, and when answers came."""
    runs = [one.run for one in report.measured if one.run.frames]
    chosen = [run for run in runs if run.system in ("spillway", "equal", "greedy")][:_COLUMNS] or runs[:_COLUMNS]
    services = next(case.services for case in report.uplink.cases() if case.name == shown(report.uplink))
    figure = canvas(11.0, 6.4)
    panels = figure.subplots(3, max(1, len(chosen)), sharex=True, sharey="row", squeeze=False)
    for column, run in enumerate(chosen):
        _column([row[column] for row in panels], run, services, report.uplink.seconds)
    figure.legend(*panels[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return svg(figure)


def _column(panels: Sequence[Axes], run: UplinkRun, services: Sequence[ServiceSpec], seconds: float) -> None:
    paint = colours([service.name for service in services])
    for number, service in enumerate(services):
        colour = paint[service.name]
        rows = [row for row in run.frames if row.service == number]
        times = [step * _WINDOW_S / 2 for step in range(int(2 * seconds / _WINDOW_S))]
        panels[0].plot(times, [_mbit(rows, at) for at in times], color=colour, linewidth=1.2)
        panels[1].plot(times, [_accuracy(rows, at, service.local) for at in times], color=colour, linewidth=1.2, label=service.name)
        good, late = [row for row in rows if row.in_time], [row for row in rows if row.nbytes and not row.in_time]
        parts = [row.latency / service.deadline for row in good], [min(_TOP, row.latency / service.deadline or _TOP) for row in late]
        panels[2].plot([row.captured for row in good], parts[0], ".", color=GREY, markersize=1.5)
        panels[2].plot([row.captured for row in late], parts[1], ".", color=RED, markersize=2.5)
    links = sorted({(grant.at, grant.link) for grant in run.grants if grant.link})
    panels[0].step([at for at, _ in links], [link for _, link in links], where="post", color=FAINT, linewidth=1.0)
    titles = (f"{run.system}: Mbit/s sent; pale: the link, as known", "accuracy", "answer / deadline; red: sent in vain")
    for axes, title in zip(panels, titles):
        style(axes, title)
        axes.set_xlim(0, seconds)
    panels[2].axhline(1.0, color=FAINT, linewidth=1.0)
    panels[2].set_xlabel("s", fontsize=8.5, color=TEXT)


def _around(rows: Sequence[FrameRow], at: float) -> Sequence[FrameRow]:
    low = bisect_left(rows, at - _WINDOW_S / 2, key=lambda row: row.captured)
    return rows[low : bisect_left(rows, at + _WINDOW_S / 2, key=lambda row: row.captured)]


def _mbit(rows: Sequence[FrameRow], at: float) -> float:
    return sum(row.nbytes for row in _around(rows, at)) * 8e-6 / _WINDOW_S


def _accuracy(rows: Sequence[FrameRow], at: float, none: float) -> float:
    near = _around(rows, at)
    return sum(row.accuracy for row in near) / len(near) if near else none
