"""The drawings of a report, each as one SVG text: the timeline of a run, policies against each other, a sweep.

matplotlib (extra `plot` or `lab`) is loaded by the functions that draw. Canvases are made by hand, since pyplot keeps
global state and may look for a display.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.reporting.comparison import COLUMNS, Column, written
from experiments.reporting.measure import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CLOUD", "DEVICE", "FAINT", "GREY", "RED", "TEXT", "bars", "canvas", "colours", "style", "svg", "sweep"]

TEXT, GREY, FAINT, RED = "#24292f", "#6e7781", "#d8dee4", "#cf222e"
DEVICE, CLOUD = "#1f77b4", "#e8710a"
"""As in the plots of metrics: told apart also by people who see red and green alike."""
_PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#6e40aa", "#7f7f7f")
_ORACLE = "#444c56"
_BARS = ("fps", "in_time_share", "server_s", "quality")


def canvas(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def svg(figure: Figure) -> str:
    """The figure as an SVG that looks the same everywhere: letters are outlines. Equal figures give equal text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "spillway"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def style(axes: Axes, title: str) -> None:
    """Quiet axes with the title at the upper left."""
    axes.set_title(title, loc="left", fontsize=9, color=TEXT, pad=4)
    axes.tick_params(colors=GREY, labelsize=8, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(color=FAINT, linewidth=0.6, axis="y")
    axes.set_axisbelow(True)


def colours(policies: Sequence[str]) -> dict[str, str]:
    """A colour for each policy; the oracle, which is no competitor, is grey."""
    others = [policy for policy in policies if policy != "oracle"]
    return {"oracle": _ORACLE, **{policy: _PALETTE[index % len(_PALETTE)] for index, policy in enumerate(others)}}


def bars(medians: Mapping[str, Mapping[str, Spread]]) -> str:
    """Policies against each other: a panel for each of a few figures, the median as a bar, the seeds' range as a whisker."""
    columns = [column for column in COLUMNS if column.name in _BARS and any(column.name in spreads for spreads in medians.values())]
    figure = canvas(11.0, 0.5 + 0.34 * len(medians))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns):
        _draw_bars(axes, column, medians)
    return svg(figure)


def _draw_bars(axes: Axes, column: Column, medians: Mapping[str, Mapping[str, Spread]]) -> None:
    policies = list(medians)
    paint = colours(policies)
    most = max((spreads[column.name].high for spreads in medians.values() if column.name in spreads), default=0.0) * column.scale
    for row, policy in enumerate(policies):
        spread = medians[policy].get(column.name)
        text = written(column, spread)[0]
        end = 0.0
        if spread is not None:
            middle, low, end = (value * column.scale for value in (spread.middle, spread.low, spread.high))
            axes.barh(row, middle, height=0.62, color=paint[policy])
            if end > low:
                axes.plot([low, end], [row, row], color=TEXT, linewidth=1.2, marker="|", markersize=5)
        axes.text(end + 0.03 * (most or 1.0), row, text, va="center", fontsize=8, color=TEXT)
    style(axes, f"{column.title} ({column.unit})" if column.unit else column.title)
    axes.grid(visible=False)
    axes.set_xlim(0.0, 1.22 * most or 1.0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(range(len(policies)), policies, fontsize=8.5, color=TEXT)
    axes.set_ylim(len(policies) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def sweep(points: Sequence[Mapping[str, Any]], field: str, others: Sequence[str]) -> str:
    """Figures over the values of one field: a line for each policy, and for each combination of the other fields' values.

    Args:
        points: each with `policy`, `spreads` (figures by name) and a value for each field.
    """
    names = [name for name in ("fps", "in_time_share", "p95", "server_s") if any(name in point["spreads"] for point in points)]
    columns = [column for column in COLUMNS if column.name in names]
    values = list(dict.fromkeys(point[field] for point in points))
    places = {value: place for place, value in enumerate(values)}
    lines: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for point in points:
        lines.setdefault((point["policy"], *(f"{other} = {point[other]}" for other in others)), []).append(point)
    figure = canvas(11.0, 3.6)
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for axes, column in zip(panels, columns):
        _draw_lines(axes, column, lines, places, field)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return svg(figure)


def _draw_lines(axes: Axes, column: Column, lines: Mapping[tuple[Any, ...], Any], places: Mapping[Any, int], field: str) -> None:
    paint = colours(list(dict.fromkeys(key[0] for key in lines)))
    variants = list(dict.fromkeys(key[1:] for key in lines))
    for key, points in lines.items():
        given = [point for point in points if column.name in point["spreads"]]
        spreads = [point["spreads"][column.name] for point in given]
        axes.errorbar(
            [places[point[field]] for point in given], [spread.middle * column.scale for spread in spreads],
            yerr=[[getattr(spread, end) * sign * column.scale - spread.middle * sign * column.scale for spread in spreads]
                  for end, sign in (("low", -1), ("high", 1))],
            color=paint[key[0]], linestyle=("-", "--", ":", "-.")[variants.index(key[1:]) % 4], marker="o", markersize=4,
            linewidth=1.4, capsize=2, label=", ".join(map(str, key)),
        )  # fmt: skip
    style(axes, f"{column.title} ({column.unit})" if column.unit else column.title)
    axes.set_xticks(list(places.values()), [str(value) for value in places], fontsize=8)
    axes.set_xlabel(field, fontsize=8.5, color=TEXT)
    axes.set_ylim(bottom=0.0)
    axes.margins(x=0.08)
