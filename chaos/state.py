"""The split moves while frames flow, with state and without, and while servers die: rows 7 and 8 of docs/promises.md."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos import state_apps
from chaos.metronome import Halt, Metronomes, host_halted
from chaos.registry import Broken, Run, Seen, promise
from chaos.site import Server, quantile
from experiments.simulation.draw_state import draw_state
from experiments.simulation.seeds import run_seed
from iot_client import Client
from tasks import App
from tasks.run import Runner
from wire.heap import settle

__all__ = ["Flight", "fly", "moves_and_kills", "moves_on_virtual_time", "moves_with_state", "moves_without_state"]

RATE = 400.0
"""Frames per second, so that gaps between results mean something."""
LONG_GAPS = "gaps over twice steady p99"


class Flight:
    """One run of a client: its results, when each came, and what it counted."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.times: list[float] = []
        self.asked: list[float] = []
        self.moves = self.takeovers = 0

    def wrong(self, app: App) -> list[int]:
        """Frames with another value than in a run on one machine, or out of order."""
        runner = Runner(app, time.perf_counter, app.instances())
        found = []
        for seq, result in enumerate(self.results):
            ran = runner.run(0, app.n, _item(seq))
            if result.seq != seq or result.value != ran.value or type(result.outcome).__name__.lower() != ran.kind:
                found.append(seq)
        return found


def fly(app: App, port: int, frames: int, moves: int, seed: int) -> Flight:
    """Send frames at RATE, with so many random splits asked for between them; the first tenth flies undisturbed."""
    flight, dice = Flight(), random.Random(seed)
    when = set(dice.sample(range(frames // 10, frames), min(moves, frames - frames // 10)))
    with Client(app, host="127.0.0.1", port=port, split=1, window=16) as client:
        legal = app.legal_cuts(state_moves=True)

        def send() -> None:
            begun = time.monotonic()
            for seq in range(frames):
                if seq in when:
                    client.move_split(dice.choice(legal))
                    flight.asked.append(time.monotonic())
                time.sleep(max(0.0, begun + seq / RATE - time.monotonic()))
                client.submit(_item(seq))
            client.end()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for result in client.results(timeout=60):
            flight.times.append(time.monotonic())
            flight.results.append(result)
        sender.join()
        owner = client._session.owner
        if owner is not None:
            flight.moves, flight.takeovers = owner.moves, owner.takeovers
    return flight


def _item(seq: int) -> dict[str, int]:
    return {"number": seq, "mixed": seq * 2_654_435_761 % 2**31}


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    os.environ[state_apps.LOG] = str(path)
    try:
        yield
    finally:
        del os.environ[state_apps.LOG]


def _judge(app: App, flight: Flight, frames: int, log: Path, halts: Sequence[Halt]) -> Seen:
    """Every value right and in order, every stage of every frame run once."""
    wrong = flight.wrong(app)
    runs = state_apps.runs(str(log))  # read after `wrong`, which runs without the log
    stages = app.names[1:]
    twice = [(stage, seq) for seq in range(frames) for stage in stages if len(runs.get((stage, seq), ())) != 1]
    if len(flight.results) != frames or wrong or twice:
        raise Broken(
            f"{len(flight.results)} of {frames} results, {len(wrong)} wrong or out of order {wrong[:3]}, {len(twice)} runs of a stage "
            f"that are none or several {twice[:3]}; promised: the results of a run without moves, each stage once"
        )
    processes = len({process for each in runs.values() for process in each})
    return Seen(good=frames, tried=frames, figures={"state moves": flight.moves, "processes": processes, **_gaps(flight, frames, halts)})


def _gaps(flight: Flight, frames: int, halts: Sequence[Halt]) -> dict[str, float | int]:
    """Gaps between results, and those that are longer than promised; where the host itself stood still for that long, none is judged."""
    spans = list(zip(flight.times, flight.times[1:]))
    steady, moving = [b - a for a, b in spans[: frames // 10]], spans[frames // 10 :]
    bound = 2 * quantile(steady, 0.99)
    long = [(a, b) for a, b in moving if b - a > bound]
    ours = [(a, b) for a, b in long if not host_halted(a, b, bound, halts)]
    return {
        "steady p99 ms": round(1e3 * quantile(steady, 0.99), 1),
        "moving p99 ms": round(1e3 * quantile([b - a for a, b in moving], 0.99), 1),
        "moving max ms": round(1e3 * max(b - a for a, b in moving), 1), LONG_GAPS: len(ours), "host halted": len(long) - len(ours),
        "of these within 20 ms of a move": sum(any(a - 0.02 <= at <= b for at in flight.asked) for a, b in ours),
        "longest of these ms": round(1e3 * max((b - a for a, b in ours), default=0.0), 1),
    }


def _moves(run: Run, name: str) -> Seen:
    frames, moves = run.count
    app: App = getattr(state_apps, name)
    log = run.folder / "runs"
    with _logged(log), Server(f"chaos.state_apps:{name}") as server, Metronomes() as metronomes:
        settle()  # as a program does
        flight = fly(app, server.port, frames, moves, run.seed)
        halts = metronomes.halts()
    seen = _judge(app, flight, frames, log, halts)
    gaps = seen.figures[LONG_GAPS]
    if gaps and not run.quick:
        raise Broken(f"{gaps} gaps are longer than twice the steady p99, and the host did not stand still; promised: none", seen)
    return seen


@promise(7, "random split changes between stages without state", quick=(1_500, 150), full=(10_000, 1_000))
def moves_without_state(run: Run) -> Seen:
    """Equal results in order, every `once` stage of every frame run once."""
    return _moves(run, "plain")


@promise(7, "random split changes across a stage with state", quick=(1_500, 150), full=(10_000, 1_000))
def moves_with_state(run: Run) -> Seen:
    """The same, where the state moves with the split."""
    return _moves(run, "tracked")


@promise(8, "split changes across state while servers are killed", quick=(2_000, 100, 3), full=(10_000, 1_000, 20))
def moves_and_kills(run: Run) -> Seen:
    """Equal results in order, whatever dies when: stages may run again, results may not differ."""
    frames, moves, kills = run.count
    with Server("chaos.state_apps:tracked", "--executor", "thread") as server:  # which starts at once
        over, struck = threading.Event(), []

        def strike() -> None:
            dice = random.Random(run.seed)
            for number in range(kills):
                if over.wait(dice.uniform(0.2, frames / RATE / max(1, kills))):
                    return
                struck.append(server.kill())
                over.wait(dice.choice((0.0, 0.0, 0.7)))
                server.start()
                run.note(f"kill {number + 1} of {kills}")

        killer = threading.Thread(target=strike, daemon=True)
        killer.start()
        flight = fly(state_apps.tracked, server.port, frames, moves, run.seed)
        over.set()
        killer.join()
    wrong = flight.wrong(state_apps.tracked)
    if wrong or len(flight.results) != frames:
        raise Broken(f"{len(flight.results)} of {frames} results, {len(wrong)} wrong: {wrong[:5]}; promised: those of a run without")
    return Seen(good=frames, tried=frames, figures={"kills": len(struck), "state moves": flight.moves, "takeovers": flight.takeovers})


@promise(8, "split changes across state under every fault, on virtual time", quick=150, full=10_000)
def moves_on_virtual_time(run: Run) -> Seen:
    """Random plans of moves, kills, cuts and losses: one owner at a time, and the states of a run in order."""
    moved = taken = 0
    for seed in range(run.seed, run.seed + run.count):
        verdict = run_seed(seed, draw_state(seed))
        moved += verdict.seen["state handed over"]
        taken += verdict.seen["replayed here"]
        if verdict.problems:
            raise Broken(f"state seed {seed}: {verdict.problems[0]}", Seen(good=seed - run.seed, tried=run.count))
    return Seen(good=run.count, tried=run.count, figures={"state handed over": moved, "runs repeated here": taken})
