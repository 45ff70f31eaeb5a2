"""Systems side by side: the columns of such a table, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from math import isnan
from typing import NamedTuple

from rich.table import Table

__all__ = ["Column", "Rows", "best", "grid", "heads", "lines", "terminal"]

Rows = Mapping[str, Mapping[str, float]]
"""The figures of each system, by name."""


class Column(NamedTuple):
    """One figure: its name, heading, what it is multiplied by, digits, and whether +1 more or -1 less is better."""

    name: str
    title: str
    scale: float = 1.0
    digits: int = 1
    better: int = 0


def heads(columns: Sequence[Column]) -> list[str]:
    """The first line."""
    return ["system", *(column.title for column in columns)]


def lines(columns: Sequence[Column], rows: Rows) -> list[list[str]]:
    """One for each system; what it has no figure for is "-"."""
    return [[system, *(_written(column, row) for column in columns)] for system, row in rows.items()]


def best(columns: Sequence[Column], rows: Rows) -> set[tuple[int, int]]:
    """Line and column of each figure that no other system's beats."""
    top = {column: max((row[column.name] * column.better for row in rows.values()), default=0.0) for column in columns if column.better}
    return {
        (line, at) for line, row in enumerate(rows.values())
        for at, column in enumerate(columns, 1) if row[column.name] * column.better == top.get(column)
    }


def terminal(title: str, first: Sequence[str], rest: Iterable[Sequence[str]]) -> Table:
    """Lines as a table for a terminal."""
    made = Table(title=title, title_justify="left")
    for number, head in enumerate(first):
        made.add_column(head, no_wrap=not number, justify="right" if number else "left")
    for line in rest:
        made.add_row(*line)
    return made


def grid(first: Sequence[str], rest: Iterable[Sequence[str]], marked: Collection[tuple[int, int]] = ()) -> str:
    """Lines as a table for a page; the cells `marked`, by line and column, stand out."""
    head = "".join(f"<th>{escape(name)}</th>" for name in first)
    cells = ("".join(_cell(text, (number, at) in marked) for at, text in enumerate(line)) for number, line in enumerate(rest))
    body = "".join(f"<tr>{each}</tr>" for each in cells)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str, marked: bool) -> str:
    return f"<td{' class=best' if marked else ''}>{escape(text)}</td>"


def _written(column: Column, row: Mapping[str, float]) -> str:
    value = row.get(column.name, float("nan")) * column.scale
    return "-" if isnan(value) else f"{value:.{column.digits}f}"
