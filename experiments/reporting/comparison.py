"""The comparison of policies: which figures stand in it, how they are written, and which of two is the better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from experiments.reporting.measure import Spread

__all__ = ["COLUMNS", "Column", "best", "shown", "table", "written"]

Spreads = Mapping[str, Spread]
"""One policy's figures by name."""


class Column(NamedTuple):
    """One figure: its name in Figures, heading, what it is multiplied by, digits, and whether +1 more or -1 less is better."""

    name: str
    title: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 1
    better: int = 0


COLUMNS = (
    Column("fps", "fps", "", 1.0, 1, +1),
    Column("steady", "at target", "%", 100.0, 0, +1),
    Column("reached_s", "target after", "s", 1.0, 1, -1),
    Column("in_time", "in time", "/s", 1.0, 1, +1),
    Column("in_time_share", "in time", "%", 100.0, 1, +1),
    Column("p50", "p50", "ms", 1e3, 0, -1),
    Column("p95", "p95", "ms", 1e3, 0, -1),
    Column("server_s", "server", "ms/frame", 1e3, 2, -1),
    Column("cpu", "CPU", "s/s", 1.0, 2),
    Column("quality", "quality", "", 1.0, 0, +1),
    Column("score", "score", "", 1.0, 3, +1),
    Column("moves", "moves", "", 1.0, 0),
    Column("answer_s", "decided after", "s", 1.0, 2, -1),
    Column("link_use", "link use", "%", 100.0, 0),
    Column("p50_error", "p50 error", "%", 100.0, 1),
)  # fmt: skip

BRIEF = ("fps", "steady", "in_time", "in_time_share", "p50", "p95", "server_s", "cpu", "quality", "moves", "p50_error")
"""What fits into a terminal."""


def shown(policies: Mapping[str, Spreads]) -> list[Column]:
    """The columns that at least one policy has a figure for."""
    return [column for column in COLUMNS if any(column.name in spreads for spreads in policies.values())]


def written(column: Column, spread: Spread | None) -> tuple[str, str]:
    """The median, and the range of the seeds where they differ in what is shown; an absent figure is "-"."""
    if spread is None:
        return "-", ""
    middle, low, high = (f"{value * column.scale:.{column.digits}f}" for value in (spread.middle, spread.low, spread.high))
    return middle, f"{low}\N{EN DASH}{high}" if low != high else ""


def best(column: Column, policies: Mapping[str, Spreads]) -> set[str]:
    """The policies with the best figure, as written; none if all are equal, or no direction is better. The oracle is no competitor."""
    figures = {policy: spreads[column.name] for policy, spreads in policies.items() if column.name in spreads and policy != "oracle"}
    texts = {policy: written(column, spread)[0] for policy, spread in figures.items()}
    if not column.better or len(set(texts.values())) < 2:
        return set()
    top = max(figures, key=lambda policy: column.better * figures[policy].middle)
    return {policy for policy, text in texts.items() if text == texts[top]}


def table(policies: Mapping[str, Spreads], title: str, notes: Sequence[str] = ()) -> Table:
    """All policies for a terminal; the range over the seeds below the median."""
    columns = [column for column in shown(policies) if column.name in BRIEF]
    made = Table(title=title, title_justify="left", caption="\n".join(notes) or None, caption_justify="left")
    made.add_column("policy", no_wrap=True)
    for column in columns:
        made.add_column(f"{column.title}\n{column.unit}".strip(), justify="right")
    winners = [best(column, policies) for column in columns]
    for policy, spreads in policies.items():
        made.add_row(policy, *(_cell(column, spreads, policy in won) for column, won in zip(columns, winners)))
    return made


def _cell(column: Column, spreads: Spreads, won: bool) -> str:
    middle, span = written(column, spreads.get(column.name))
    text = f"[bold]{middle}[/bold]" if won else middle
    return f"{text}\n[dim]{span}[/dim]" if span else text
