"""Measure every variant of the detector on scenes that training never saw, by COCO's own evaluator.

    python -m examples.detection.evaluate [--scenes N] [--codec WORD --cut K] [--out FILE]

Each scene goes through the app's own stages. A thing that is mostly hidden counts neither way, as a crowd does in COCO. Without
--codec the figures are written to the file that the app's variants take their accuracy from; with it they say what is lost where a
value is sent in that codec after K stages, and how many bytes that takes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from examples.detection.app import OVERLAP, Decode, FitPicture, Network, Normalize, Sight
from examples.detection.boxes import Detections
from examples.detection.family import ACCURACY, VARIANTS, variants
from examples.detection.network import STAGES
from examples.detection.scenes import CLASSES, HEIGHT, WIDTH, Scene, Thing
from tasks import App, Input, Ran, Runner
from wire.payload import Packer

__all__ = ["FIRST_SEED", "LEAST_SCORE", "evaluate", "held_out", "main", "score", "seen_by"]

FIRST_SEED = 5_000_000
"""Seeds of the held-out scenes count from here; training's count from 0."""
LEAST_SCORE = 0.02
"""A detection less certain than this is left out: the average precision changes in the fourth digit."""

FEW = 16
"""Scenes over which the figures are noted a second time, so that a test can repeat them in a moment."""

_Array = np.ndarray[Any, Any]
_FIGURES = ("map", "ap50", "ap75", "small", "medium", "large")
"""The first six of COCOeval.stats."""


class _Whole(Input):
    """An image as the app's source makes it."""

    writes = ("frame", "size")

    def run(self, item: _Array) -> Sight:
        return Sight(frame=item, size=(int(item.shape[0]), int(item.shape[1])))


def held_out(count: int, first: int = 0) -> Iterator[tuple[_Array, list[Thing]]]:
    """Scenes `first` to `first + count` of the held-out set: the image and what is in it."""
    for number in range(first, first + count):
        yield Scene(FIRST_SEED + number).frame(number % 200)


def seen_by(pairs: Iterable[tuple[str, int]] = VARIANTS) -> Runner:
    """The stages up to `decode`, set up, with these variants."""
    stages = [_Whole(), FitPicture(), Normalize(), *map(Network, STAGES), Decode(LEAST_SCORE, OVERLAP)]
    chosen = variants(tuple(pairs))
    runner = Runner(App("evaluated", stages, types=[Sight, Detections], variants=chosen), time.perf_counter, resident=len(chosen))
    runner.setup(0, runner.app.n)
    return runner


def evaluate(
    runner: Runner, scenes: Iterable[tuple[_Array, list[Thing]]], *, codec: str = "", cut: int = 1
) -> dict[str, dict[str, float]]:
    """The figures of each variant of the runner's app, by its name.

    Args:
        codec: with it values are sent at the cut, as between device and server; `bytes` is then what that takes on average.
        cut: stages before it.
    """
    truth: list[list[Thing]] = []
    found: dict[str, list[Detections]] = {name: [] for name in runner.app.variants}
    sent = dict.fromkeys(found, 0)
    packer = Packer(runner.app.types)
    for image, things in scenes:
        truth.append(things)
        for name in found:
            value = _done(runner.run(0, cut if codec else 0, image, variant=name), name)
            if codec:
                payload = packer.pack(value, codec)
                sent[name] += payload.nbytes
                value = packer.unpack(payload)
            found[name].append(_done(runner.run(cut if codec else 0, runner.app.n, value, variant=name), name).detections)
    figures = {name: score(truth, detections) for name, detections in found.items()}
    return {name: {**row, "bytes": sent[name] // len(truth)} if codec else row for name, row in figures.items()}


def _done(ran: Ran, name: str) -> Any:
    if ran.kind != "done":
        raise RuntimeError(f"variant {name!r} failed: {ran.error}")
    return ran.value


def score(truth: list[list[Thing]], found: list[Detections]) -> dict[str, float]:
    """COCO's figures for detections `found[i]` of a frame in which `truth[i]` can be seen; -1 where there is nothing to find.

    Raises:
        ImportError: naming the extra that has the evaluator.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        remedy = "in Spillway's checkout: pip install -c constraints.txt '.[evaluation]'"
        raise ImportError(f"the evaluation needs pycocotools ({error}); {remedy}") from error
    with contextlib.redirect_stdout(io.StringIO()):  # both talk of each step
        real = COCO()
        real.dataset = {
            "images": [{"id": frame, "width": WIDTH, "height": HEIGHT} for frame in range(len(truth))],
            "categories": [{"id": kind, "name": name} for kind, name in enumerate(CLASSES)],
            "annotations": [row for frame, things in enumerate(truth) for row in _asked(frame, things)],
        }
        for number, row in enumerate(real.dataset["annotations"], 1):
            row["id"] = number
        real.createIndex()
        rows = [row for frame, detections in enumerate(found) for row in _answered(frame, detections)]
        if not rows:
            return dict.fromkeys(_FIGURES, 0.0)
        judge = COCOeval(real, real.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: round(float(figure), 4) for name, figure in zip(_FIGURES, judge.stats)}


def _asked(frame: int, things: list[Thing]) -> Iterator[dict[str, Any]]:
    for thing in things:
        left, top, right, bottom = thing.box
        width, height = right - left, bottom - top
        yield {
            "image_id": frame, "category_id": thing.kind, "bbox": [left, top, width, height],
            "area": width * height, "iscrowd": int(thing.ignored),
        }


def _answered(frame: int, found: Detections) -> Iterator[dict[str, Any]]:
    for box, certainty, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()):
        left, top, right, bottom = box
        yield {"image_id": frame, "category_id": label, "bbox": [left, top, right - left, bottom - top], "score": certainty}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    told = _parser().parse_args(arguments)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    runner = seen_by()
    if not 1 <= told.cut < runner.app.n:
        _parser().error(f"--cut {told.cut}: there are {runner.app.n} stages, so 1 to {runner.app.n - 1} can be before it")
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            scenes = progress.track(held_out(told.scenes), total=told.scenes, description="scenes")
            figures = evaluate(runner, scenes, codec=told.codec, cut=told.cut)
        few = evaluate(runner, held_out(min(FEW, told.scenes)), codec=told.codec, cut=told.cut)
        first = {"scenes": min(FEW, told.scenes), "map": {name: found["map"] for name, found in few.items()}}
    finally:
        runner.close()
    console.print(_table(figures))
    out = told.out or (None if told.codec else ACCURACY)
    if out:
        written = {"scenes": told.scenes, "first_seed": FIRST_SEED, "codec": told.codec, "first": first, "variants": figures}
        out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def _table(figures: dict[str, dict[str, float]]) -> Table:
    table = Table("variant", *next(iter(figures.values())))
    for name, row in figures.items():
        table.add_row(name, *(f"{figure:.3f}" if key in _FIGURES else str(figure) for key, figure in row.items()))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.detection.evaluate", description="Measure every variant on scenes that training never saw."
    )
    parser.add_argument("--scenes", type=int, default=500, help="how many of them (default %(default)s)")
    parser.add_argument("--codec", default="", help="send values at the cut in this codec: jpeg:60, int8, ... (default: nothing is sent)")
    parser.add_argument("--cut", type=int, default=1, help="stages before it: 1 sends the captured image (default %(default)s)")
    parser.add_argument("--out", type=Path, default=None, help=f"a JSON file (default {ACCURACY.name} of the example; none with --codec)")
    return parser


if __name__ == "__main__":
    main()
