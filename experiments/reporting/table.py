"""Rows as CSV files and back, without loss: one line per row, before it the policy and seed it comes from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

__all__ = ["Key", "read_rows", "write_rows", "write_table"]

Key = tuple[str, int]
"""Policy and seed: which run a row belongs to."""
T = TypeVar("T", bound=msgspec.Struct)


def write_rows(path: Path, kind: type[T], runs: Iterable[tuple[Key, Iterable[T]]]) -> None:
    """All rows of all runs; floats as Python writes them, which reads back as the same number."""
    fields = kind.__struct_fields__
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("policy", "seed", *fields))
        for key, rows in runs:
            writer.writerows((*key, *(getattr(row, field) for field in fields)) for row in rows)


def read_rows(path: Path, kind: type[T]) -> dict[Key, tuple[T, ...]]:
    """The rows by run, in their order.

    Raises:
        ValueError: a line is none; the text names the file, the line and the field.
        OSError: the file cannot be read.
    """
    found: dict[Key, list[T]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), 2):
            try:
                key = line.pop("policy"), int(line.pop("seed"))
                found.setdefault(key, []).append(msgspec.convert(line, kind, strict=False))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return {key: tuple(rows) for key, rows in found.items()}


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Mappings as lines, under all the names that occur, in the order they first do; empty where one lacks a name."""
    lines = list(rows)
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(lines)
