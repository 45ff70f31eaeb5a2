"""The four figures on a fleet, each as one SVG text: profiles, adaptation over time, accuracy against misses, latencies.

They are the figures 6 to 9 of Jellyfish's paper (RTSS 2022), for the systems that were run. matplotlib (extra `plot` or `lab`) is loaded by
the functions that draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from experiments.fleet.lab import FleetLab
from experiments.fleet.measure import STEPS, in_time
from experiments.fleet.report import FleetReport, Measured, means, shown
from experiments.fleet.rows import FleetRun
from experiments.fleet.variety import table
from experiments.reporting.figures import FAINT, GREY, RED, TEXT, canvas, colours, style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adaptation", "latencies", "misses", "profiles"]

_DRAWN = 8
"""Devices drawn over time."""


def profiles(lab: FleetLab) -> str:
    """What the variants take: a batch's milliseconds over its size, the rate of a worker, and the accuracy over one frame's time."""
    varieties = table(lab.variants)
    figure = canvas(11.0, 3.4)
    panels = figure.subplots(1, 3)
    sizes = range(1, lab.max_batch + 1)
    paint = _shades(len(varieties))
    for variety, colour in zip(varieties, paint):
        panels[0].plot(sizes, [variety.seconds(size) * 1e3 for size in sizes], color=colour, linewidth=1.3, label=variety.name)
        panels[1].plot(sizes, [size / variety.seconds(size) for size in sizes], color=colour, linewidth=1.3)
        place = variety.seconds(1) * 1e3, variety.accuracy
        panels[2].plot(*place, "o", color=colour, markersize=5)
        panels[2].annotate(variety.name, place, fontsize=6.5, color=GREY, xytext=(4, -7), textcoords="offset points")
    titles = ("ms per batch", "batch"), ("frames per second of a worker", "batch"), ("accuracy", "ms of one frame alone")
    for axes, (title, under) in zip(panels, titles):
        style(axes, title)
        axes.set_xlabel(under, fontsize=8.5, color=TEXT)
        axes.set_ylim(bottom=0.0)
    panels[0].legend(fontsize=6.5, frameon=False, ncols=2)
    return svg(figure)


def adaptation(report: FleetReport) -> str:
    """One case over time, a column for each of up to three systems: the links, the variants, and when answers came; misses are red."""
    runs = [one.run for one in report.measured if one.run.shots and one.run.case == shown(report.fleet)][:3]
    figure = canvas(11.0, 6.0)
    panels = figure.subplots(3, max(1, len(runs)), sharex=True, sharey="row", squeeze=False)
    slos = [client.slo for case in report.fleet.cases() if case.name == shown(report.fleet) for client in case.clients]
    for column, run in enumerate(runs):
        _over_time([row[column] for row in panels], run, slos, report.fleet)
    return svg(figure)


def _over_time(panels: Sequence[Axes], run: FleetRun, slos: Sequence[float], lab: FleetLab) -> None:
    paint = _shades(min(_DRAWN, len(slos)))
    for device, colour in enumerate(paint):
        offers = [offer for offer in run.offers if offer.device == device]
        panels[0].step([offer.at for offer in offers], [offer.mbit for offer in offers], where="post", color=colour, linewidth=1.0)
        made = [shot for shot in run.shots if shot.device == device and shot.variant]
        panels[1].step([shot.shown for shot in made], [shot.accuracy for shot in made], where="post", color=colour, linewidth=0.9)
    good = [shot for shot in run.shots if in_time(shot, slos[shot.device])]
    missed = [shot for shot in run.shots if not in_time(shot, slos[shot.device])]
    panels[2].plot([shot.shown for shot in good], [shot.latency * 1e3 for shot in good], ".", color=GREY, markersize=1.5)
    top = max(slos) * 1e3
    when = [min(shot.latency * 1e3 or top * 1.1, top * 1.1) for shot in missed]
    panels[2].plot([shot.shown for shot in missed], when, ".", color=RED, markersize=3)
    for slo in sorted(set(slos)):
        panels[2].axhline(slo * 1e3, color=FAINT, linewidth=1.0)
    for axes, title in zip(panels, (f"{run.system}: uplinks, Mbit/s", "accuracy of the variant", "latency, ms; red: missed")):
        style(axes, title)
        axes.set_xlim(0, lab.seconds)
    panels[2].set_ylim(0, top * 1.2)
    panels[2].set_xlabel("s", fontsize=8.5, color=TEXT)


def misses(report: FleetReport) -> str:
    """Accuracy, 0 for a miss, over the part of frames missed: a panel per kind of link, small a case, large the mean."""

    def draw(axes: Axes, link: str, system: str, colour: Any, found: Sequence[Measured]) -> None:
        mean = means(report, link, system)
        points = [100 * one.figures.miss_rate for one in found], [one.figures.accuracy for one in found]
        axes.plot(*points, "o", color=colour, markersize=2.5, alpha=0.5)
        axes.plot(100 * mean["miss_rate"], mean["accuracy"], "D", color=colour, markersize=7, label=system, markeredgecolor="white")

    def dress(axes: Axes) -> None:
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlim(left=-0.05)

    words = "accuracy (a miss counts 0)", "frames missed, % (red: one in a hundred)"
    return _by_link(report, words, draw, dress)


def latencies(report: FleetReport) -> str:
    """Of all frames shown the part that was answered within so much of the SLO; a panel per kind of link."""

    def draw(axes: Axes, link: str, system: str, colour: Any, found: Sequence[Measured]) -> None:
        axes.plot(STEPS, _mean_curve(found), color=colour, linewidth=1.4, label=system)

    def dress(axes: Axes) -> None:
        axes.set_ylim(0, 1.01)

    return _by_link(report, ("part of all frames answered", "latency / SLO"), draw, dress)


def _by_link(
    report: FleetReport, words: tuple[str, str], draw: Callable[[Axes, str, str, Any, Sequence[Measured]], None],
    dress: Callable[[Axes], None],
) -> str:
    """A panel per kind of link, `words` above and below it, with a red line at 1; each system drawn in its colour from its runs."""
    links = list(report.fleet.links)
    figure = canvas(11.0, 4.0)
    panels = figure.subplots(1, len(links), sharey=True, squeeze=False)[0]
    paint = colours(list(dict.fromkeys(one.run.system for one in report.measured)))
    for axes, link in zip(panels, links):
        for system, colour in paint.items():
            found = [one for one in report.measured if (one.run.link, one.run.system) == (link, system)]
            if found:
                draw(axes, link, system, colour, found)
        style(axes, f"{link}: {words[0]}")
        axes.axvline(1.0, color=RED, linewidth=0.8)
        axes.set_xlabel(words[1], fontsize=8.5, color=TEXT)
        dress(axes)
    _legend(figure, panels[0])
    return svg(figure)


def _mean_curve(found: Sequence[Measured]) -> list[float]:
    return [sum(one.cdf[place] for one in found) / len(found) for place in range(len(STEPS))]


def _legend(figure: Any, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def _shades(count: int) -> list[Any]:
    """From dark to light."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.95 * place / max(1, count - 1)) for place in range(count)]
