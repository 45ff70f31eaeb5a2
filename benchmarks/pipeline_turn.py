"""One turn of one pipeline, alone in fresh processes: prints what it measured as JSON.

    python -m benchmarks.pipeline_turn Spillway --device 10 --cloud 10 --payload raw --seconds 2
"""

from __future__ import annotations

import argparse
import contextlib
import statistics

import msgspec
import numpy as np

from benchmarks.child import Child, free_port
from benchmarks.frames import SHAPES, stamp
from benchmarks.isolated import give_up_after
from benchmarks.meter import Meter
from benchmarks.pipelines import PIPELINES, Pipeline
from benchmarks.wait import measure

__all__ = ["PAYLOADS", "PipelineTurn", "main"]

PAYLOADS = {"64 KiB": (256, 256, 1), "raw VGA": SHAPES["640x480"]}
_STUCK = 60


class PipelineTurn(msgspec.Struct, frozen=True):
    """What one turn gave. Seconds; CPU in milliseconds a frame."""

    fps: float
    ideal: float
    p50: float
    client_cpu: float
    server_cpu: float


def take_turn(pipeline: Pipeline, payload: str, *, seconds: float) -> PipelineTurn:
    """Measure the stages alone, then the pipeline."""
    times = min(100, max(10, int(0.5 / max(pipeline.device_s, pipeline.cloud_s))))
    alone = max(measure(pipeline.device_s, times=times), measure(pipeline.cloud_s, times=times))
    shape, port, latencies = PAYLOADS[payload], free_port(), []
    with Child(pipeline.server(port)) as server:
        meter = Meter(server.pid, warmup=0.5 * seconds, seconds=seconds)
        frames = pipeline.run(port, lambda seq: stamp(np.empty(shape, np.uint8), seq))
        with contextlib.closing(frames):  # type: ignore[type-var]  # every `run` is a generator
            for expected, (seq, latency) in enumerate(frames):
                if seq != expected:
                    raise RuntimeError(f"{pipeline.name}: answer {seq} where {expected} was due")
                latencies.append(latency)
                if meter.count():
                    break
    turn = meter.turn
    assert turn is not None
    return PipelineTurn(turn.fps, 1 / alone, statistics.median(latencies[-turn.frames :]), turn.client_cpu, turn.server_cpu)


def main() -> None:
    """Take one turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", choices=PIPELINES)
    parser.add_argument("--device", type=float, required=True, help="milliseconds")
    parser.add_argument("--cloud", type=float, required=True, help="milliseconds")
    parser.add_argument("--payload", choices=PAYLOADS, default="64 KiB")
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    give_up_after(_STUCK)
    pipeline = PIPELINES[options.pipeline](options.device / 1e3, options.cloud / 1e3)
    print(msgspec.json.encode(take_turn(pipeline, options.payload, seconds=options.seconds)).decode(), flush=True)


if __name__ == "__main__":
    main()
