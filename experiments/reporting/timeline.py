"""One run over time: what was reached, how frames went, and what CPU and link there was for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from experiments.lab import Lab
from experiments.reporting.figures import CLOUD, DEVICE, FAINT, GREY, RED, TEXT, canvas, style, svg
from experiments.reporting.measure import ANSWERED, quality_of, quantile, rates, target_of
from experiments.reporting.runs import FrameRow, Run, SampleRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["timeline"]

MBIT = 8e-6
_TICK = 0.25
_CLOSE = 0.022
"""Of the time shown: decisions nearer than this to the one before bear no number."""
_FAMILIES = {"local": "#9fc5e8", "raw": "#c7b8ea", "bits": "#b6d7a8", "png": "#ffe599", "jpeg": "#f6b26b"}
"""The strip below the quality: how values at the cut travel."""
_FADED = 0.35
_DECISION = "#6e40aa"


class _View:
    """The rows of one device of a run."""

    def __init__(self, run: Run, lab: Lab) -> None:
        self.run, self.lab = run, lab
        device = min((row.device for row in run.frames), default=0)
        self.frames = sorted((row for row in run.frames if row.device == device), key=lambda row: row.captured)
        self.samples: Sequence[SampleRow] = [row for row in run.samples if row.device == device]
        self.decisions = [row for row in run.decisions if row.device == device]
        self.answered = [row for row in self.frames if row.outcome in ANSWERED]
        self.times = [row.at for row in self.samples]


def timeline(run: Run, lab: Lab) -> str:
    """The run's first device as an SVG: panels that share the time, decisions numbered as in the report's list."""
    view = _View(run, lab)
    panels: list[tuple[Callable[[Axes, _View], None], float]] = [(_rate, 1.25), (_latency, 1.6), (_split, 1.0), (_quality, 1.1)]
    if view.samples:
        panels.append((_cpu, 1.0))
        if any(row.capacity for row in view.samples):
            panels.append((_link, 1.3))
    if view.decisions:
        panels.insert(0, (_numbers, 0.14))
    heights = [height for _, height in panels]
    figure = canvas(11.0, 0.5 + 1.05 * sum(heights))
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (draw, _) in zip(every, panels):
        draw(axes, view)
        if draw is not _numbers:
            _mark_decisions(axes, view)
    every[-1].set_xlabel("seconds", fontsize=8.5, color=TEXT)
    every[-1].set_xlim(0.0, run.seconds)
    return svg(figure)


def _rate(axes: Axes, view: _View) -> None:
    span = min(1.0, view.run.seconds)
    starts = [index * _TICK for index in range(int((view.run.seconds - span) / _TICK) + 1)]
    arrivals = sorted(row.captured + row.latency for row in view.answered)
    rate = rates(arrivals, starts, span)
    axes.plot([at + span / 2 for at in starts], rate, color=DEVICE, linewidth=1.4, label="answered, 1 s")
    target = target_of(view.lab)
    if target:
        axes.axhline(target, color=TEXT, linestyle="--", linewidth=1.0, label=f"target {target:g}")
    lost = [row.captured for row in view.frames if row.outcome not in ANSWERED]
    if lost:
        axes.scatter(
            lost, [0.0] * len(lost), marker="|", s=40, linewidths=0.7, color=RED, clip_on=False, rasterized=True, label=f"{len(lost)} lost"
        )
    style(axes, "frames per second")
    axes.set_ylim(0.0, 1.15 * max([target, *rate, 1.0]))
    _legend(axes)


def _latency(axes: Axes, view: _View) -> None:
    latencies = sorted(row.latency for row in view.answered)
    deadline = view.lab.deadline
    high = (quantile(latencies, 0.995) or 0.001) * 1e3
    top = 1.25 * max(high, min(deadline * 1e3, 3 * high))
    for where, colour in (("device", DEVICE), ("cloud", CLOUD)):
        rows = [row for row in view.answered if (row.where == "cloud") == (where == "cloud")]
        if rows:
            heights = [min(row.latency * 1e3, top) for row in rows]
            axes.scatter([row.captured for row in rows], heights, s=5, color=colour, linewidths=0, alpha=0.6, rasterized=True, label=where)
    for name, line in (("p50", "-"), ("p95", ":")):
        pairs = [(row.at, getattr(row, name) * 1e3) for row in view.samples if getattr(row, name) >= 0]
        if pairs:
            axes.plot(*zip(*pairs), color=TEXT, linestyle=line, linewidth=1.0, label=f"predicted {name}", drawstyle="steps-post")
    if deadline * 1e3 <= top:
        axes.axhline(deadline * 1e3, color=RED, linestyle="--", linewidth=1.0, label=f"deadline {deadline * 1e3:g} ms")
    style(axes, "latency, ms")
    axes.set_ylim(0.0, top)
    _legend(axes)


def _split(axes: Axes, view: _View) -> None:
    from matplotlib.ticker import MaxNLocator

    if view.samples:
        axes.plot(view.times, [row.k for row in view.samples], color=DEVICE, linewidth=1.5, drawstyle="steps-post")
    else:
        times, ks = [row.captured for row in view.answered], [row.k for row in view.answered]
        axes.plot(times, ks, color=DEVICE, linewidth=1.2, drawstyle="steps-post")
    ks = [row.k for row in view.answered] or [0]
    style(axes, "stages on the device (k, mean of a mix)")
    axes.set_ylim(min(ks) - 0.6, max(ks) + 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


def _quality(axes: Axes, view: _View) -> None:
    points = [(row.captured, quality_of(row.codec)) for row in view.answered]
    if points:
        times, qualities = zip(*points)
        axes.scatter(times, qualities, s=5, color=DEVICE, linewidths=0, alpha=0.6, rasterized=True)
    seen = set()
    for family, start, end in _stretches(view.answered):
        label = family if family not in seen else None
        axes.broken_barh([(start, end - start)], (-22, 14), color=_FAMILIES.get(family, GREY), label=label)
        seen.add(family)
    style(axes, "quality of what is sent, and codec")
    axes.set_ylim(-24, 108)
    axes.set_yticks([0, 50, 100])
    _legend(axes)


def _stretches(frames: Iterable[FrameRow]) -> Iterable[tuple[str, float, float]]:
    """(codec family, from, to) of neighbouring frames with the same one."""
    for family, group in groupby(frames, key=lambda row: row.codec.partition(":")[0] or "local"):
        rows = list(group)
        yield family, rows[0].captured, rows[-1].captured + 0.05


def _cpu(axes: Axes, view: _View) -> None:
    load = [row.load for row in view.samples]
    given, most = view.run.facts.get("cpu_given", 0.0), max(row.cpu for row in view.samples)
    top = 1.2 * max(most, given if given <= 4 * most else 0.0, 1e-3)
    if any(load):  # a load wants cores, of which it gets a part: only when it does is to be seen
        heights = [0.9 * top * busy / max(load) for busy in load]
        axes.fill_between(view.times, heights, step="post", color=FAINT, linewidth=0, label=f"others want up to {max(load):g} cores")
    axes.plot(view.times, [row.cpu for row in view.samples], color=DEVICE, linewidth=1.3, label="this process")
    if 0 < given <= 4 * most:
        axes.axhline(given, color=TEXT, linestyle="--", linewidth=1.0, label=f"given {given:.3g}")
    style(axes, "CPU, seconds per second")
    axes.set_ylim(0.0, top)
    _legend(axes)


def _link(axes: Axes, view: _View) -> None:
    used = [row.up * MBIT for row in view.samples]
    capacity = [row.capacity * MBIT for row in view.samples]
    axes.fill_between(view.times, used, color=CLOUD, alpha=_FADED, linewidth=0)
    axes.plot(view.times, used, color=CLOUD, linewidth=1.2, label="sent")
    top = max(capacity)
    room = 1.12 * top if max(used) > 0.15 * top else 4.0 * max(max(used), 0.02 * top)
    beyond = " (above)" if min(capacity) > room else ""
    axes.plot(view.times, capacity, color=TEXT, linewidth=1.2, drawstyle="steps-post", label=f"capacity, up to {top:.3g}{beyond}")
    seen = [(row.at, row.estimate * MBIT) for row in view.samples if row.estimate >= 0]
    if seen:
        axes.plot(*zip(*seen), color="#009e73", linewidth=1.0, linestyle="--", label="as the device sees it")
    style(axes, "uplink, Mbit/s")
    axes.set_ylim(0.0, room)
    _legend(axes)


def _numbers(axes: Axes, view: _View) -> None:
    """The decisions' numbers, in a strip of their own; where they are dense, not all."""
    shown = -1.0
    for number, row in enumerate(view.decisions, 1):
        if row.at - shown >= _CLOSE * view.run.seconds or shown < 0:
            weight = "bold" if row.moved else "normal"
            axes.text(row.at, 0.0, str(number), ha="center", va="bottom", fontsize=7, color=_DECISION, fontweight=weight)
            shown = row.at
    axes.set_title("decisions (bold, solid line: the cut moved)", loc="left", fontsize=9, color=TEXT, pad=4)
    axes.set_ylim(0.0, 1.0)
    axes.axis("off")


def _mark_decisions(axes: Axes, view: _View) -> None:
    for row in view.decisions:
        axes.axvline(row.at, color=GREY, linewidth=0.9 if row.moved else 0.6, linestyle="-" if row.moved else ":", alpha=0.8, zorder=0.5)


def _legend(axes: Axes) -> None:
    """To the right above the panel, where no data is."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=6, fontsize=7.5, frameon=False, borderaxespad=0.1,
            markerscale=1.6, scatterpoints=1, handlelength=1.4, columnspacing=1.2, handletextpad=0.4,
        )  # fmt: skip
