"""Measure what each codec takes away at each cut: COCO's mean average precision with the value at the cut sent and received.

    python -m examples.detection.cut_accuracy [--scenes N] [--variant NAME]

Each held-out scene runs to the cut, is packed and unpacked as on its way to a server, and runs on from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples.detection.boxes import Detections
from examples.detection.evaluate import held_out, score, seen_by
from examples.detection.family import VARIANTS, name_of
from examples.detection.scenes import Thing
from iot_client.cuts import Crossings
from iot_client.splitting.ways import FLOATS, ways_of
from tasks import App, Runner
from wire.payload import Packer

__all__ = ["CODECS", "accuracy_by_way", "main"]

CODECS = ("raw", "fp16", "int8", "jpeg:95", "jpeg:90", "jpeg:85", "jpeg:75@416")
"""Of the ways that an app's declarations permit, those that are measured."""


def accuracy_by_way(runner: Runner, scenes: int, note: str = "") -> Iterator[tuple[str, int, str, float, float]]:
    """(stage behind which it is cut, stages here, codec, mean bytes, mAP), for each way; `runner` has one variant.

    Raises:
        RuntimeError: a stage failed.
    """
    app = runner.app
    found = [way[:2] for way in ways_of(app, range(1, app.n), app.n, "live", None) if way[1] in CODECS]
    ways = [(k, codec) for k, codec in found if _tells(app, k, codec)]
    truth: list[list[Thing]] = []
    seen: dict[tuple[int, str], list[Detections]] = {way: [] for way in ways}
    sizes = dict.fromkeys(ways, 0)
    packer, crossings = Packer(app.types), Crossings(app, app.n)
    for image, things in track(held_out(scenes), note or "scenes", total=scenes, console=Console(stderr=True)):
        truth.append(things)
        value: Any = image
        at = 0
        for k, codec in ways:
            value, at = _run(runner, at, k, value), k
            payload = crossings.pack(packer, k, value, codec)
            sizes[k, codec] += payload.nbytes
            seen[k, codec].append(_run(runner, k, app.n, packer.unpack(payload)).detections)
    for k, codec in ways:
        yield app.names[k - 1], k, codec, sizes[k, codec] / scenes, score(truth, seen[k, codec])["map"]


def _tells(app: App, k: int, codec: str) -> bool:
    """True unless the way is exact: raw, but for the first one, and floats in fewer bits where a picture crosses."""
    pictures = any(loss.quality for loss in app.crossing(k, app.n).lossy.values())
    return k == 1 if codec == "raw" else not (pictures and codec in FLOATS)


def _run(runner: Runner, start: int, stop: int, value: Any) -> Any:
    ran = runner.run(start, stop, value)
    if ran.kind != "done":
        raise RuntimeError(f"stages {start} to {stop} failed: {ran.error}")
    return ran.value


def table(rows: Iterable[tuple[str, int, str, float, float]]) -> Table:
    """The rows beside what is lost against the first one, which is exact."""
    shown = Table("cut behind", "stages here", "codec", "KB", "mAP", "against raw")
    exact = None
    for stage, k, codec, nbytes, accuracy in rows:
        exact = accuracy if exact is None else exact
        shown.add_row(stage, str(k), codec, f"{nbytes / 1e3:.1f}", f"{accuracy:.4f}", f"{accuracy - exact:+.4f}")
    return shown


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.detection.cut_accuracy", description="Measure what each codec takes away at each cut."
    )
    names = {name_of(*pair): pair for pair in VARIANTS}
    parser.add_argument("--scenes", type=int, default=100, help="how many held-out ones (default %(default)s)")
    parser.add_argument("--variant", choices=sorted(names), default="wide-416", help="default: %(default)s")
    told = parser.parse_args(arguments)
    runner = seen_by([names[told.variant]])
    try:
        rows = list(accuracy_by_way(runner, told.scenes, told.variant))
    finally:
        runner.close()
    Console().print(table(rows))


if __name__ == "__main__":
    main()
