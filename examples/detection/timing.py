"""What a frame costs with each variant, alone and in batches, on this machine.

    python -m examples.detection.timing [--batches 1,4,8] [--repeats N]

Milliseconds for each frame of all stages from letterbox to decode, and of the network's five alone; of each stage the least of the
repeats, since whatever else runs here only adds to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples.detection.app import app
from examples.detection.inference import device_name
from examples.detection.scenes import Scene
from tasks import Runner

__all__ = ["main", "milliseconds"]

_FIRST, _LAST = app.names.index("letterbox"), app.names.index("decode")
_NETWORK = slice(app.names.index("stem") - _FIRST, app.names.index("head") - _FIRST + 1)


def milliseconds(runner: Runner, values: Sequence[Any], variant: str, repeats: int) -> tuple[float, float]:
    """Of one of these captured frames as a batch: all stages, and the network alone."""
    runs = [runner.run_batch(_FIRST, _LAST + 1, values, variant=variant)[0].times for _ in range(repeats)]
    least = [1e3 * min(times) / len(values) for times in zip(*runs)]
    return sum(least), sum(least[_NETWORK])


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    told = _parser().parse_args(arguments)
    runner = Runner(app, time.perf_counter, app.instances())
    runner.setup(0, _LAST + 1)
    console = Console()
    table = Table("variant", *(f"batch {size}, ms" for size in told.batches), *(f"network, batch {size}" for size in told.batches))
    frames = [runner.run(0, 1, Scene(seed).frame(0)[0]).value for seed in range(max(told.batches))]
    for name in track(app.variants, description="variants", console=Console(stderr=True)):
        rows = [milliseconds(runner, frames[:size], name, told.repeats) for size in told.batches]
        table.add_row(name, *_shown(whole for whole, _ in rows), *_shown(network for _, network in rows))
    runner.close()
    console.print(table)
    console.print(f"on {device_name()}, one worker")


def _shown(figures: Iterable[float]) -> list[str]:
    return [f"{figure:.2f}" for figure in figures]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.detection.timing", description="What a frame costs with each variant.")
    parser.add_argument("--batches", type=_sizes, default=[1, 4, 8], help="frames computed together (default 1,4,8)")
    parser.add_argument("--repeats", type=int, default=40, help="of each, the fastest of each stage counts (default %(default)s)")
    return parser


def _sizes(text: str) -> list[int]:
    found = [int(word) for word in text.split(",")]
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write sizes from 1 up as 1,4,8")
    return found


if __name__ == "__main__":
    main()
