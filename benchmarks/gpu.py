"""A server on a GPU: throughput and utilisation against the batch size, and the 99th percentile of latency against the SLO.

First the model alone, in batches of each size. Then a real server with it, whose batches are its own: cameras offer a half of
what it can do, nine tenths, and one and a half times as much, each with several SLOs. Where there is no CUDA device it runs on
the CPU with a small net, which shows that it runs and says nothing about a GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from benchmarks.child import Child, free_port, python
from benchmarks.gpu_app import Net, app
from benchmarks.gpu_use import Use
from benchmarks.report import Report, arguments
from benchmarks.serving_link import SpillwayLink
from benchmarks.serving_load import closed_loop, open_loop

__all__ = ["main"]

GPU, CPU = (320, 48), (64, 8)
"""Side in pixels, and channels of the first layer."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LOADS = (0.5, 0.9, 1.5)
DEVICES = 8
_WINDOW = 128
"""Frames under way in the closed loop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = _options(argv)
    report = Report("gpu", "throughput against batch size, utilisation, p99 against SLO")
    try:
        import torch
    except ModuleNotFoundError:
        report.problem("torch is not installed: pip install '.[detection]' brings it")
        return report.finish(options.json)
    cuda = torch.cuda.is_available()
    side, width = GPU if cuda else CPU
    net = Net(options.side or side, options.width or width)
    net.setup()
    where = torch.cuda.get_device_name(0) if cuda else "CPU"
    if not cuda:
        report.note("No CUDA device here: these are figures of the CPU with a small net, and say nothing about a GPU.")
    picture = _pictures(net.side)
    report.table(f"the model alone, {net.side} pixels, {net.width} channels, {where}", (
        "batch", "ms", "p99 ms", "frames/s", f"{'GPU' if cuda else 'CPU'} busy %", "GPU memory, MB",
    ), [_alone(net, size, picture, options.seconds, cuda) for size in BATCHES if size <= options.max_batch])
    if not options.alone:
        _served(report, net, picture, options, cuda)
    return report.finish(options.json)


def _options(argv: Sequence[str] | None) -> Any:
    parser = arguments("gpu", "A model on a GPU, alone and behind a server.", rounds=1)
    parser.add_argument("--side", type=int, metavar="PIXELS", help=f"of a picture (default {GPU[0]}, {CPU[0]} without a GPU)")
    parser.add_argument("--width", type=int, metavar="N", help=f"channels of the first layer (default {GPU[1]}, {CPU[1]} without a GPU)")
    parser.add_argument("--max-batch", type=int, default=BATCHES[-1], metavar="N", help=f"largest batch (default {BATCHES[-1]})")
    parser.add_argument("--slo", type=lambda text: [int(word) for word in text.split(",")], default=[33, 75, 150], metavar="MS,...",
                        help="deadlines (default 33,75,150)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="measured time of each row (default 3)")
    parser.add_argument("--alone", action="store_true", help="the model alone, no server")
    options = parser.parse_args(argv)
    if options.quick:
        options.seconds, options.slo, options.max_batch = min(options.seconds, 0.5), options.slo[:1], min(options.max_batch, 8)
    return options


def _pictures(side: int) -> Callable[[int], Any]:
    noise = np.random.default_rng(0).integers(0, 256, (16, side, side, 3), np.uint8)
    return lambda seq: noise[seq % len(noise)]


def _alone(net: Net, size: int, picture: Callable[[int], Any], seconds: float, cuda: bool) -> list[Any]:
    """One row: batches of this size, one after the other."""
    batch = [picture(index) for index in range(size)]
    for _ in range(3):
        net.run_batch(batch)
    times: list[float] = []
    with Use(cuda) as use:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            net.run_batch(batch)
            times.append(time.perf_counter() - began)
    times.sort()
    middle, slow = times[len(times) // 2], times[min(len(times) - 1, int(0.99 * len(times)))]
    return [size, 1e3 * middle, 1e3 * slow, size * len(times) / sum(times), use.percent, use.memory]


def _served(report: Report, net: Net, picture: Callable[[int], Any], options: Any, cuda: bool) -> None:
    """Two tables: what the server can do, and how it keeps deadlines."""
    port = free_port()
    named = f"benchmarks.gpu_app:app?side={net.side}&width={net.width}"
    command = python("cloud_server", "--app", named, "--port", str(port), "--workers", "1", "--max-batch", str(options.max_batch))
    with Child(command), closing(SpillwayLink(port, app(net.side, net.width))) as link:
        with Use(cuda) as use:
            capacity = closed_loop(link, _WINDOW, seconds=options.seconds, warmup=1.0, picture=picture)
        busy = use.percent if cuda else None
        report.table(f"served, {_WINDOW} frames under way", ("server", "frames/s", "GPU busy %"), [["Spillway", capacity, busy]])
        rows = []
        for slo in options.slo:
            for load in LOADS:
                with Use(cuda) as use:
                    turn = open_loop(
                        link, [load * capacity / DEVICES] * DEVICES, slo=slo / 1e3, seconds=options.seconds, warmup=1.0, capacity=capacity,
                        picture=picture,
                    )
                met = turn.goodput / min(load, 1.0)
                rows.append([
                    f"{slo} ms, {load:g} x", turn.goodput, met, turn.late, turn.latency(0.5), turn.latency(0.99),
                    use.percent if cuda else None, 1e3 * turn.lag,
                ])
    report.table(f"{DEVICES} cameras, SLO and load in capacities", (
        "SLO, load", "goodput / capacity", "of what was possible", "late work", "p50 ms", "p99 ms", "GPU busy %", "lag ms",
    ), rows)


if __name__ == "__main__":
    sys.exit(main())
