"""Puts Spillway's promises to the test: kills, cuts, floods, flipped bits, at full numbers.

    scripts/chaos                        all rows, hours
    scripts/chaos --quick                all rows with small numbers
    scripts/chaos --rows 1,2,12 --seed 7
    scripts/chaos --mutants [--only NAME]    row 29: which broken protocols do the tests notice
    scripts/chaos --list                 what is tested, and what is not yet

Exit codes: 0, 1 a promise is broken, 2 what was asked for is not legal, 130 interrupted; what had been found by then is
shown all the same.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.report import facts
from chaos.registry import Promise, discover
from chaos.rows import ROWS
from chaos.verdict import BROKEN, INTERRUPTED, KEPT, Verdict, judge, untested

__all__ = ["main"]

_INTERRUPTED = 130
_MUTANTS = 29
_WIDE = 160
"""Columns of a table that goes to a file or a pipe."""


def main(argv: Sequence[str] | None = None, promises: Sequence[Promise] | None = None) -> int:
    """The command line; returns its exit code. `promises` instead of all there are."""
    options = _parser().parse_args(argv)
    found = discover() if promises is None else list(promises)
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    try:
        rows = {_MUTANTS} if options.mutants else _rows(options.rows)
    except ValueError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    chosen = [each for each in found if each.row in rows and (options.mutants or options.only in each.name)]
    missing = untested(rows - {each.row for each in found} if not options.only else set())
    if options.list:
        _show_list(console, chosen, missing)
        return 0
    verdicts: list[Verdict] = []
    complete = _judge_all(chosen, options, verdicts, console)
    verdicts = sorted(verdicts + missing, key=lambda each: each.row)
    _show(console, verdicts)
    if options.json:
        _write(options.json, options, verdicts)
    return _INTERRUPTED if not complete else 1 if any(each.status == BROKEN for each in verdicts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", metavar="A,B,..", help="only these rows of docs/promises.md, e.g. 1,2,7-9")
    parser.add_argument("--only", metavar="TEXT", default="", help="only tests with this in their name, see --list")
    parser.add_argument("--mutants", action="store_true", help="row 29 alone; --only then takes a mutant's name")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it holds at all")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="what chance depends on (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found there too")
    parser.add_argument("--list", action="store_true", help="show the tests and end")
    return parser


def _rows(text: str | None) -> set[int]:
    """"1,3-5" -> {1, 3, 4, 5}; None is all."""
    if not text:
        return set(ROWS)
    rows: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.strip().isdigit() or (dash and not high.strip().isdigit()):
            raise ValueError(f"--rows {text}: {part!r} is no number and no range; legal is e.g. 1,2,7-9")
        rows |= set(range(int(low), int(high or low) + 1))
    if not rows <= set(ROWS):
        raise ValueError(f"--rows {text}: legal are {min(ROWS)} to {max(ROWS)}")
    return rows


def _judge_all(chosen: Sequence[Promise], options: Any, verdicts: list[Verdict], console: Console) -> bool:
    """Runs the tests; False if somebody asked to stop. SIGTERM is taken as Ctrl-C, so that tests clean up."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for each in chosen:
            console.print(f"[bold]{each.row:>2}[/bold] {each.title} ({each.name})", highlight=False)
            try:
                verdict = judge(each, options.seed, options.quick, _noter(console), options.only if options.mutants else "")
            except KeyboardInterrupt:
                verdicts.append(Verdict(row=each.row, title=each.title, name=each.name, status=INTERRUPTED))
                return False
            verdicts.append(verdict)
            if verdict.text:
                console.print(f"   {verdict.status}: {verdict.text}", style="red" if verdict.status == BROKEN else "yellow", markup=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    return True


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _noter(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"   {text}", highlight=False, markup=False, style="dim")


def _show_list(console: Console, chosen: Sequence[Promise], missing: Sequence[Verdict]) -> None:
    table = Table("row", "promise", "test", "quick", "full", title="What scripts/chaos tests", title_justify="left")
    lines = [(each.row, each.title, each.name, str(each.quick), str(each.full)) for each in chosen]
    lines += [(each.row, each.title, each.status, "", "") for each in missing]
    for row, *rest in sorted(lines):
        table.add_row(str(row), *rest)
    console.print(table)


def _show(console: Console, verdicts: Sequence[Verdict]) -> None:
    table = Table("row", "promise", "verdict", "n of n", "figures", "seconds", title="Promises", title_justify="left")
    for each in verdicts:
        style = "red" if each.status == BROKEN else "" if each.status == KEPT else "dim"
        table.add_row(
            str(each.row), each.title, each.status, f"{each.good} of {each.tried}" if each.tried else "",
            ", ".join(f"{name} {value}" for name, value in each.figures.items()), f"{each.seconds:.1f}" if each.name else "", style=style,
        )  # fmt: skip
    console.print(table)


def _write(path: Path, options: Any, verdicts: Sequence[Verdict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"facts": facts(), "seed": options.seed, "quick": options.quick, "verdicts": verdicts}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n")
