"""`python -m experiments cuts LAB`: where it pays to cut an app, at several rates of the link, as a table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from rich.table import Table

from experiments.appcosts import costs_of
from experiments.cuts import HERE, INPUT, NETWORK, CutRow, best, pays_between, rows_of, taken
from experiments.lab import Lab
from iot_client.splitting.goal import Goal
from iot_client.splitting.split import SplitDecision
from tasks.app import load

__all__ = ["add_cuts", "show_cuts"]

_MOST = 20


def add_cuts(commands: Any) -> argparse.ArgumentParser:
    """The command's options."""
    cuts: argparse.ArgumentParser = commands.add_parser("cuts", help="latency of every cut of an app at several rates of the link")
    cuts.add_argument("lab", metavar="LAB", help="a name from `list`, or a TOML file: app, clip, device, server and delay are its own")
    cuts.add_argument("--rates", default="2,10,50", metavar="A,B", help="Mbit/s (default %(default)s)")
    cuts.add_argument("--variant", default="", metavar="NAME", help="of the app (default: the experiment's)")
    cuts.add_argument("--fps", type=float, metavar="RATE", help="also what the choice of the split takes to hold this rate")
    cuts.add_argument("--slo", type=float, metavar="MS", help="the same for this deadline")
    cuts.add_argument("--least-quality", type=int, metavar="Q", help="of what is sent (default: what stages accept)")
    cuts.add_argument("--all", action="store_true", help="every cut in every codec, not only the best")
    return cuts


def rates_of(text: str) -> tuple[float, ...]:
    """The rates in Mbit/s.

    Raises:
        ValueError: there is none, too many, or one that is no rate.
    """
    rates = tuple(float(part) for part in text.split(","))
    if not 0 < len(rates) <= _MOST or not all(0.0 < rate <= 1e5 for rate in rates):
        raise ValueError(f"--rates {text}: legal are 1 to {_MOST} numbers above 0, at most 100000 Mbit/s")
    return rates


def show_cuts(lab: Lab, options: Any, say: Any) -> None:
    """Measure the app if it was not before, and show the tables.

    Raises:
        ValueError: rates or clip are none. TaskError: there is no such app or variant.
    """
    rates, app = rates_of(options.rates), load(lab.app)
    if options.least_quality:
        lab = replace(lab, goal=replace(lab.goal, min_quality=options.least_quality))
    costs = costs_of(lab.app, lab.clip, lab.size, say, options.variant or lab.variant)
    rows = rows_of(lab, app, costs, rates)
    if options.all:
        say(_table("every way, ms a frame", rows, rates))
    say(_table(f"{lab.name}: the best of each kind, ms a frame", _best(rows, rates), rates))
    pays = pays_between(lab, app, costs)
    told = f"{pays[0]:.3g} to {pays[1]:.3g} Mbit/s" if pays else "no rate from 0.1 to 1000 Mbit/s"
    say(f"a cut inside the network is the soonest at {told}")
    if options.slo or options.fps:
        goal = Goal(fps=options.fps, slo=options.slo / 1e3 if options.slo else None)
        say(_chosen(rates, [taken(lab, app, costs, rate, goal) for rate in rates], rows))


def _best(rows: Sequence[CutRow], rates: Sequence[float]) -> list[CutRow]:
    """Of each kind the best at each rate, each once."""
    found = [best(rows, kind, rate) for kind in (HERE, INPUT, NETWORK) for rate in range(len(rates))]
    return list(dict.fromkeys(row for row in found if row is not None))


def _table(title: str, rows: Sequence[CutRow], rates: Sequence[float]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("what", "stages here", "codec"):
        table.add_column(name)
    for name in ("KB", "device ms", "server ms", *(f"{rate:g} Mbit/s" for rate in rates)):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.kind, f"{row.k}, to {row.stage}", row.codec or "-", f"{row.nbytes / 1e3:.1f}", f"{row.device_s * 1e3:.1f}",
            f"{row.server_s * 1e3:.1f}", *(f"{latency * 1e3:.0f}" for latency in row.latency_s),
        )
    return table


def _chosen(rates: Sequence[float], decisions: Sequence[SplitDecision], rows: Sequence[CutRow]) -> Table:
    """What the choice takes at each rate, and what the compressed input would cost the server."""
    table = Table(title="what is chosen: the least server time that reaches the goal", title_justify="left")
    for name in ("Mbit/s", "stages here and codec", "goal", "fps at most", "p50 ms", "server ms a frame", "of the input sent whole"):
        table.add_column(name, justify="right")
    for index, (rate, decision) in enumerate(zip(rates, decisions)):
        found, whole = decision.prediction, best(rows, INPUT, index)
        table.add_row(
            f"{rate:g}", _way(decision), "reached" if decision.met else decision.lacking, f"{found.rate:.1f}", f"{found.p50 * 1e3:.0f}",
            f"{found.server_s * 1e3:.1f}", f"{whole.server_s * 1e3:.1f}" if whole else "-",
        )
    return table


def _way(decision: SplitDecision) -> str:
    """`6 int8`, or `70 % 10 + 30 % 6 int8`."""
    first, second = decision.first, decision.second
    if second is None:
        return f"{first.k} {first.codec}".strip()
    share = round(100 * decision.share)
    return f"{100 - share} % {first.k} {first.codec}".strip() + f" + {share} % {second.k} {second.codec}".rstrip()
