"""The table of docs/promises.md: what was found, from the files that `scripts/chaos --json` writes.

    python -m chaos.page results.json more.json              prints it; of a test in several files the last one counts
    python -m chaos.page results.json --into docs/promises.md    puts it between the page's two marks
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from chaos.registry import discover
from chaos.rows import ROWS
from chaos.verdict import KEPT, UNTESTED, Verdict

__all__ = ["BEGIN", "END", "into", "main", "table"]

NOT_RUN = "has tests; not run for this page"
BEGIN, END = "<!-- found: begin -->", "<!-- found: end -->"


class _File(msgspec.Struct):
    """What is needed of one run."""

    verdicts: list[Verdict]
    quick: bool = False


def table(files: Iterable[_File]) -> str:
    """Markdown: one line for each test, and for each row without one."""
    found: dict[str, tuple[Verdict, bool]] = {}
    for file in files:
        found |= {verdict.name: (verdict, file.quick) for verdict in file.verdicts if verdict.name}
    lines = ["| row | what is tried | seen | figures | test |", "|---|---|---|---|---|"]
    tested = {each.row for each in discover()}
    for row, title in ROWS.items():
        of_row = sorted((pair for pair in found.values() if pair[0].row == row), key=lambda pair: pair[0].name)
        without = f"| {row} | {title} | {NOT_RUN if row in tested else UNTESTED} | | |"
        lines += [_line(verdict, quick) for verdict, quick in of_row] or [without]
    return "\n".join(lines)


def _line(verdict: Verdict, quick: bool) -> str:
    seen = f"{verdict.good} of {verdict.tried}" if verdict.tried else verdict.status
    if verdict.status != KEPT and verdict.tried:
        seen = f"**{verdict.status}**: {seen}"
    figures = ", ".join(f"{name} {value}" for name, value in verdict.figures.items()).replace("|", "\\|")
    return f"| {verdict.row} | {verdict.title} | {seen}{' (quick)' if quick else ''} | {figures} | `{verdict.name}` |"


def into(page: str, lines: str) -> str:
    """The page with these lines between its marks.

    Raises:
        ValueError: it has not both marks.
    """
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page has not the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{lines}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--into", type=Path, metavar="PAGE.md")
    options = parser.parse_args(argv)
    try:
        lines = table([msgspec.json.decode(path.read_bytes(), type=_File) for path in options.files])
        if options.into is None:
            print(lines)
        else:
            options.into.write_text(into(options.into.read_text(encoding="utf-8"), lines), encoding="utf-8")
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        print(f"chaos.page: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
