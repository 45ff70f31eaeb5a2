"""Many devices that ask for three times what a server can do: who answers in time, what is done in vain, who is treated fairly.

One model, and against each server the same cameras, which send on time whatever comes back. The capacity is what the best batch size
does in a closed loop, measured before and after each setting, since a machine has its moods. Beside Spillway: a plain server that
takes one frame after the other, the same with a static batch timer (the best of a sweep of size and wait, and of a bound on its
queue, which most people forget), and Ray Serve's `@serve.batch`, where it is installed (best of a sweep too).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from statistics import mean
from typing import Any

import msgspec

from benchmarks import serving_app
from benchmarks.child import Child, free_port, python
from benchmarks.peers import ray_serve
from benchmarks.peers.batcher import BatcherLink, Rule
from benchmarks.report import Report, arguments, median
from benchmarks.serving_link import SpillwayLink
from benchmarks.serving_load import Link, closed_loop, open_loop
from benchmarks.serving_ray import RayLink
from benchmarks.serving_score import Turn
from benchmarks.serving_work import KINDS, TIMED

__all__ = ["main"]

SPILLWAY, FIFO, TIMER, BOUNDED, RAY = "Spillway", "FIFO", "timer", "timer, bounded queue", "Ray Serve"
NAMES = (SPILLWAY, FIFO, TIMER, BOUNDED, RAY)
TARGETS = {"goodput / capacity": 0.90, "late work": 0.02, "Jain": 0.95, "least share": 0.80}
SIZES = (1, 2, 4, 8, 16)
"""Batch sizes tried for the capacity, up to cloud-server's own --max-batch."""
SWEEP = tuple(Rule(size, wait, bound * size) for size in (4, 8, 16) for wait in (0.002, 0.01, 0.03) for bound in (0, 1, 2))
SWEEP_RAY = tuple(Rule(size, wait, bound * size) for size in (8, 16) for wait in (0.005, 0.02) for bound in (0, 2))
SWEPT_DEVICES, SWEPT_SLO = 4, 0.1
"""The setting in which rules are tried."""
STALLED = 0.1
"""Of the SLO: a turn in which one frame in a hundred left later than that is played again, and after three times tells nothing."""
_TIMES = 3

Setting = tuple[float, int]
"""SLO in seconds, devices."""


class _Bench:
    """The servers, and what they are asked."""

    def __init__(self, options: Any, report: Report, stack: ExitStack) -> None:
        self.report, self.options = report, options
        kind = options.model
        plain, own = free_port(), free_port()
        stack.enter_context(Child(python("benchmarks.peers.batcher", str(plain), kind)))
        app = f"benchmarks.serving_app:{kind}"
        stack.enter_context(Child(python("cloud_server", "--app", app, "--port", str(own), "--workers", "1")))
        self.plain = stack.enter_context(closing(BatcherLink(plain)))
        self.spillway = stack.enter_context(closing(SpillwayLink(own, getattr(serving_app, kind))))
        self.ray: RayLink | None = None
        if RAY in options.only and not ray_serve.missing():
            self.ray = stack.enter_context(RayLink(kind))
        self.rules: dict[str, Rule] = {FIFO: Rule()}
        self.best = Rule(1, 0.05)
        self.peak = 0.0

    def find_capacity(self) -> None:
        """The best batch size in a closed loop."""
        rates = {}
        for size in SIZES:
            self.best = Rule(size, 0.05)
            rates[size] = self.capacity()
        self.best = Rule(max(rates, key=lambda size: rates[size]), 0.05)
        self.peak = rates[self.best.size]
        self.report.table("closed loop, plain server", ("batch", *map(str, SIZES)), [["frames a second", *rates.values()]])

    def capacity(self) -> float:
        """Frames a second now, in batches of that size."""
        self.plain.rule = self.best
        return closed_loop(self.plain, 2 * self.best.size, seconds=self.options.seconds / 4, warmup=0.2)

    def sweep(self) -> None:
        """The static rules that do best."""
        if {TIMER, BOUNDED} & set(self.options.only):
            found = {rule: self._try(TIMER, rule) for rule in (SWEEP[::5] if self.options.quick else SWEEP)}
            self.rules[TIMER] = max((rule for rule in found if not rule.bound), key=lambda rule: found[rule])
            self.rules[BOUNDED] = max(found, key=lambda rule: found[rule])
        if self.ray is not None:
            found = {rule: self._try(RAY, rule) for rule in (SWEEP_RAY[-1:] if self.options.quick else SWEEP_RAY)}
            self.rules[RAY] = max(found, key=lambda rule: found[rule])
            self.ray.deploy(self.rules[RAY])
        shown = [[name, str(rule)] for name, rule in self.rules.items()]
        title = f"rules: the best of {len(SWEEP)} ({RAY}: {len(SWEEP_RAY)}) with {SWEPT_DEVICES} devices and {1e3 * SWEPT_SLO:g} ms"
        self.report.table(title, ("server", "batch closes at, queue"), shown)

    def _try(self, name: str, rule: Rule) -> float:
        self.rules[name] = rule
        if name == RAY and self.ray is not None:
            self.ray.deploy(rule)
        turn = self.turn(name, (SWEPT_SLO, SWEPT_DEVICES), self.peak, seconds=self.options.seconds / 4)
        return turn.goodput

    def turn(self, name: str, setting: Setting, capacity: float, seconds: float = 0.0) -> Turn:
        """One contender in one setting; again if the load was held up."""
        slo, devices = setting
        link: Link = self.spillway if name == SPILLWAY else self.plain
        if name == RAY and self.ray is not None:
            link = self.ray.link
        elif name != SPILLWAY:
            self.plain.rule = self.rules[name]
        rates = [self.options.overload * capacity / devices] * devices
        for _ in range(_TIMES):
            turn = open_loop(link, rates, slo=slo, seconds=seconds or self.options.seconds, warmup=self.options.warmup, capacity=capacity)
            if not stalled(turn):
                break
        return turn

    def play(self, setting: Setting) -> dict[str, Turn]:
        """Every contender in one setting, between two measurements of the capacity, whose mean counts."""
        names = [name for name in self.options.only if name == SPILLWAY or name in self.rules]
        before = self.capacity()
        turns = {name: self.turn(name, setting, before) for name in names}
        capacity = mean((before, self.capacity()))
        return {name: msgspec.structs.replace(turn, capacity=capacity) for name, turn in turns.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = _options(argv)
    sleeps = "a stage that sleeps {:g} + {:g} ms a frame".format(*(1e3 * seconds for seconds in TIMED))
    work = "torch on one thread" if options.model == "torch" else sleeps
    claim = f"{options.overload:g} x the capacity, {work}, {options.rounds} rounds, {options.seconds:g} s a turn after {options.warmup:g} s"
    report = Report("serving", claim)
    if RAY in options.only and ray_serve.missing():
        report.note(f"{RAY} is left out: pip install '.[bench-ray]' brings it")
    with ExitStack() as stack:
        bench = _Bench(options, report, stack)
        bench.find_capacity()
        bench.sweep()
        settings = [(slo / 1e3, devices) for slo in options.slo for devices in options.devices]
        played = {setting: [bench.play(setting) for _ in range(options.rounds)] for setting in settings}
    for setting, rounds in played.items():
        slo, devices = setting
        title = f"{devices} device{'s' * (devices > 1)}, SLO {1e3 * slo:g} ms"
        report.table(title, ("server", *_COLUMNS), list(_rows(rounds)))
    _judge(report, played)
    raw = [msgspec.to_builtins(turn) | {"name": name} for rounds in played.values() for each in rounds for name, turn in each.items()]
    report.keep("turns", [{key: value for key, value in turn.items() if key != "scores"} for turn in raw])
    report.note("late work: the part of the frames run that were answered too late. Least share: of a device, against its max-min")
    report.note("share of the capacity. p50, p99: ms from capture to answer, of frames run. Lag: ms the load itself was late, 99 %.")
    return report.finish(options.json)


def _options(argv: Sequence[str] | None) -> Any:
    parser = arguments("serving", "Three times the load a server can carry, Spillway beside its peers.", rounds=1)
    parser.add_argument("--model", choices=KINDS, default="torch", help="what a frame costs (default torch)")
    parser.add_argument("--only", metavar="NAMES", help=f"servers, separated by semicolons; known are {'; '.join(NAMES)}")
    parser.add_argument("--devices", type=_numbers, default=[1, 2, 4, 8], metavar="N,...", help="how many (default 1,2,4,8)")
    parser.add_argument("--slo", type=_numbers, default=[75, 100, 150], metavar="MS,...", help="deadlines (default 75,100,150)")
    parser.add_argument("--overload", type=float, default=3.0, metavar="X", help="load offered, in capacities (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="measured time of a turn (default 4)")
    parser.add_argument("--warmup", type=float, default=1.0, metavar="S", help="before it (default 1)")
    options = parser.parse_args(argv)
    options.only = options.only.split(";") if options.only else list(NAMES)
    for name in options.only:
        if name not in NAMES:
            parser.error(f"--only: no server {name!r}; known are {'; '.join(NAMES)}")
    if options.quick:
        options.seconds, options.warmup, options.rounds = 0.6, 0.4, 1
        options.devices, options.slo = options.devices[-1:], options.slo[:1]
    return options


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


_COLUMNS = ("goodput / capacity", "late work", "Jain", "least share", "p50", "p99", "offered / capacity", "lag")


def _rows(rounds: list[dict[str, Turn]]) -> Iterator[list[Any]]:
    """A row for each server, medians over the rounds."""
    for name in rounds[0]:
        turns = [turns[name] for turns in rounds]
        figures = [
            (turn.goodput, turn.late, turn.jain, min(turn.shares), turn.latency(0.5), turn.latency(0.99), sum(turn.rates) / turn.capacity,
             1e3 * turn.lag)
            for turn in turns
        ]
        yield [name, *map(median, zip(*figures))]


def stalled(turn: Turn) -> bool:
    """True if the load itself was held up: this machine was not ours, and what was late says nothing of a server."""
    return turn.lag > STALLED * turn.slo


def _judge(report: Report, played: dict[Setting, list[dict[str, Turn]]]) -> None:
    """The worst of Spillway's settings against what must hold, and how many turns were of no use."""
    turns = [(name, turn) for rounds in played.values() for each in rounds for name, turn in each.items()]
    if held := sum(stalled(turn) for _, turn in turns):
        report.problem(f"{held} of {len(turns)} turns say nothing: the load itself was held up, so other work had this machine")
    judged = [[{name: turn for name, turn in each.items() if name == SPILLWAY and not stalled(turn)} for each in rounds]
              for rounds in played.values()]
    rows = [next(_rows(rounds)) for each in judged if (rounds := [turns for turns in each if turns])]
    if not rows:
        return
    found = []
    for place, (what, target) in enumerate(TARGETS.items(), 1):
        values = [row[place] for row in rows]
        most = what == "late work"
        kept = sum(value <= target if most else value >= target for value in values)
        found.append([what, max(values) if most else min(values), f"{'<=' if most else '>='} {target:g}", f"{kept} of {len(values)}"])
    report.table(f"{SPILLWAY}, all settings in which the load kept its time", ("what", "worst", "target", "kept in"), found)


if __name__ == "__main__":
    sys.exit(main())
