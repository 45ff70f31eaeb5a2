"""The lab's command line.

    python -m experiments list                                        the experiments that come with Spillway
    python -m experiments run quick                                   run one, compare its policies, write a report
    python -m experiments run fleet                                   many devices, one server: against other systems
    python -m experiments run speculation                             a local and a cloud answer to each frame: what hedging costs
    python -m experiments run uplink                                  several services on one uplink: who gets the bandwidth
    python -m experiments sweep quick --set link.up_mbit=2,5,10       a grid over fields of one
    python -m experiments report runs/quick-20260101-120000           make the page of a report again
    python -m experiments cuts neural --rates 2,10,50                 latency of every cut of an app, all at once
    python -m experiments simulate                                    device and server on virtual time, under faults

Exit codes: 0, 1 a run failed or broke a promise, 2 what was asked for is not legal, 130 interrupted. What had been
run by then is written all the same.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import lab as labs
from experiments.bodies import BODIES, Body, Note, least_of, run_all
from experiments.cuts_command import add_cuts, show_cuts
from experiments.fields import changed, grid
from experiments.kinds import KINDS, Kind, kind_of
from experiments.lab import Lab
from experiments.oracle import goal_of
from experiments.racing.seeds import check_races
from experiments.reporting.comparison import table
from experiments.reporting.page import least_note, write_page
from experiments.reporting.report import make_report, read, write
from experiments.reporting.runs import Run
from experiments.reporting.sweep import Point, points_of, sweep_table, write_sweep
from experiments.simulation.verdicts import check_seeds
from tasks.app import load as load_app
from tasks.errors import TaskError

__all__ = ["main"]

INTERRUPTED = 130
_WIDE = 150
"""Columns of a table that goes to a file or a pipe."""


class _Refused(Exception):
    """What was asked for is not legal; the text says what is."""


def main(argv: Sequence[str] | None = None, bodies: Mapping[str, Callable[[], Body]] = BODIES) -> int:
    """The command line; returns its exit code. `bodies` are what can run experiments, by name."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser(bodies).parse_args(words)
    options.again = f"python -m experiments {shlex.join(words)}"
    try:
        code: int = options.command(options, bodies)
    except _Refused as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("experiments: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser(bodies: Mapping[str, Callable[[], Body]]) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run an experiment and compare its policies")
    run.set_defaults(command=_run)
    sweep = commands.add_parser("sweep", help="a grid over fields of an experiment")
    sweep.set_defaults(command=_sweep)
    sweep.add_argument("--set", action="append", required=True, metavar="PATH=A,B", help="a field and its values; may repeat")
    for each in (run, sweep):
        each.add_argument("lab", metavar="LAB", help="a name from `list`, or a TOML file")
        each.add_argument("--body", choices=sorted(bodies), default="simulate", help="virtual time (default), or real, as root")
        each.add_argument("--policies", metavar="A,B", help="instead of the experiment's own (of a fleet: its systems)")
        each.add_argument("--variants", metavar="TABLE", help="of a fleet: jellyfish, small or detection")
        each.add_argument("--seeds", type=int, metavar="N", help="how many, from 0 or what the experiment says")
        each.add_argument("--seconds", type=float, metavar="S", help="of each run; at most a quarter of it is warm-up")
        each.add_argument("--out", type=Path, metavar="DIR", help="for the report (default: runs/NAME-TIME)")
        each.add_argument("--quiet", action="store_true", help="no progress")
    commands.add_parser("list", help="the experiments that come with Spillway").set_defaults(command=_list)
    report = commands.add_parser("report", help="make the page of a report again")
    report.set_defaults(command=_report)
    report.add_argument("folder", type=Path, metavar="DIR")
    add_cuts(commands).set_defaults(command=_cuts)
    simulation = commands.add_parser("simulate", help="device and server on virtual time, under faults")
    simulation.set_defaults(command=_simulate)
    simulation.add_argument("scenario", nargs="?", help="a .toml or .json file; default: a random one for each seed")
    simulation.add_argument("--seeds", type=int, help="how many (default 100, with --seed 1)")
    simulation.add_argument("--seed", type=int, help="the first (default 0)")
    simulation.add_argument("--overload", action="store_true", help="more is asked for than a server can do: who gets what?")
    simulation.add_argument("--speculation", action="store_true", help="races of local and cloud answers, on several servers, under faults")
    simulation.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    return parser


def _run(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    special = _special(options)
    if special is not None:
        (kind, asked), out = special, _folder(options)
        code: int = kind.command.run(asked, options, out, _progress, _console())
        _say_page(out, lambda: kind.command.remake(out))
        return code
    lab, body, out = _lab(options), _body(options, bodies), _folder(options)
    runs: list[Run] = []
    with _progress(options, len(lab.policies) * lab.seeds) as note:
        code = _collect(run_all(lab, body, note), runs, note)
    if not runs:
        return _nothing(code)
    report = make_report(lab, runs, command=options.again, least=least_of(lab, body, runs))
    write(report, out)
    _console().print(table(report.medians, f"{lab.name} ({options.body})", least_note(report)))
    _say_page(out, lambda: write_page(report, out))
    return code


def _special(options: Any) -> tuple[Kind, Any] | None:
    """The experiment asked for, with what the options change, and its kind; None where it is one of devices and policies."""
    try:
        for kind in KINDS:
            found = kind.load(options.lab)
            if found is not None:
                return kind, kind.command.asked(found, options)
    except (ValueError, OSError) as error:
        raise _Refused(error) from error
    return None


def _sweep(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    lab, body, out = _lab(options), _body(options, bodies), _folder(options)
    try:
        cells = [(values, _checked(changed(lab, values))) for values in grid(options.set)]
    except (ValueError, OSError, TaskError) as error:
        raise _Refused(error) from error
    points: list[Point] = []
    fields = list(cells[0][0])
    code = 0
    with _progress(options, sum(len(cell.policies) * cell.seeds for _, cell in cells)) as note:
        for values, cell in cells:
            runs: list[Run] = []
            code = _collect(run_all(cell, body, note), runs, note)
            points += points_of(values, cell, runs)
            if code:
                break
    if not points:
        return _nothing(code)
    _console().print(sweep_table(points, fields, f"{lab.name} ({options.body})"))
    _say_page(out, lambda: write_sweep(out, points, fields, lab, options.again))
    return code


def _say_page(folder: Path, make: Callable[[], Path]) -> None:
    """Make the page and say where it is; without matplotlib the data are there all the same."""
    try:
        print(f"report: {make()}")
    except ModuleNotFoundError as error:
        print(f"data: {folder}; a page with drawings needs {error.name}: pip install '.[lab]' in the checkout")


def _nothing(code: int) -> int:
    print("experiments: no run was finished, so there is no report", file=sys.stderr)
    return code or 1


def _collect(every: Iterator[Run], runs: list[Run], note: Note) -> int:
    """Run all there is to run; what was finished is kept when one fails or Ctrl-C comes."""
    try:
        for run in every:
            runs.append(run)
            note("")
    except (KeyboardInterrupt, SystemExit):  # SIGTERM ends a live run like an exit
        print(f"\nexperiments: interrupted after {len(runs)} runs", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        print(f"\nexperiments: a run failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _list(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    known = {name: labs.load(name) for name in labs.built_in()}
    width = max(map(len, known), default=0)
    for name, lab in known.items():
        clip = "" if lab.clip == "rendered" else f", needs {lab.clip} in SPILLWAY_CLIPS"
        print(f"{name:<{width}}  {lab.about or lab.name} ({len(lab.policies)} policies of {lab.seconds:g} s{clip})")
    for kind in KINDS:
        for name, path in kind.built_in().items():
            lab = kind.load(path)
            print(f"{name:<{width}}  {lab.about or lab.name} ({len(lab.cases())} cases, {len(lab.systems)} systems)")
    return 0


def _report(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    kind = kind_of(options.folder)
    if kind is not None:
        _say_page(options.folder, lambda: kind.command.remake(options.folder))
        return 0
    try:
        report = read(options.folder)
    except ValueError as error:
        raise _Refused(error) from error
    _say_page(options.folder, lambda: write_page(report, options.folder))
    return 0


def _cuts(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    try:
        show_cuts(_checked(labs.load(options.lab)), options, _console().print)
    except (ValueError, OSError, TaskError) as error:
        raise _Refused(error) from error
    return 0


def _simulate(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> int:
    count = options.seeds or (100 if options.seed is None else 1)
    if options.speculation:
        if options.scenario or options.overload:
            raise _Refused("--speculation draws its own plans: leave the scenario and --overload out")
        return check_races(options.seed or 0, count, options.jobs)
    return check_seeds(options.scenario, options.seed or 0, count, options.jobs, overload=options.overload)


def _lab(options: Any) -> Lab:
    """The experiment asked for, with what the options change."""
    try:
        lab = labs.load(options.lab)
        if options.variants:
            raise ValueError(f"--variants {options.variants}: {options.lab} is no fleet; its `variant` is a field of its file")
        values: dict[str, Any] = {}
        if options.policies:
            values["policies"] = [policy.strip() for policy in options.policies.split(",")]
        if options.seeds is not None:
            values["seeds"] = options.seeds
        if options.seconds is not None:
            values |= {"seconds": options.seconds, "warmup": min(lab.warmup, options.seconds / 4)}
        return _checked(changed(lab, values) if values else lab)
    except (ValueError, OSError, TaskError) as error:
        raise _Refused(error) from error


def _checked(lab: Lab) -> Lab:
    """The experiment, of which also goal, link, load and app are what they have to be; raises what says what is not."""
    goal_of(lab)
    lab.link.trace(lab.seconds)
    if lab.device.load is not None:
        lab.device.load.trace()
    load_app(lab.app)
    return lab


def _body(options: Any, bodies: Mapping[str, Callable[[], Body]]) -> Body:
    try:
        body = bodies[options.body]()
    except ImportError as error:
        raise _Refused(f"--body {options.body}: {error}; legal here are others of {', '.join(sorted(bodies))}") from error
    lacking = body.lacking()
    if lacking:
        raise _Refused(f"--body {options.body}: {lacking}; --body simulate needs none of it")
    return body


def _folder(options: Any) -> Path:
    """Where the report goes, there by now, so that hours of running are not in vain."""
    out: Path = options.out or Path("runs") / f"{Path(options.lab).stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _Refused(f"--out {out}: {error.strerror}; legal is a folder that can be written") from error
    return out


@contextmanager
def _progress(options: Any, total: int) -> Iterator[Note]:
    """Shows how far it is: a note says what goes on, an empty one that a run is finished."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*shown, console=Console(stderr=True), disable=options.quiet, transient=True) as progress:
        task = progress.add_task("", total=total)

        def note(text: str) -> None:
            progress.update(task, **({"description": text} if text else {"advance": 1}))

        yield note


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)
