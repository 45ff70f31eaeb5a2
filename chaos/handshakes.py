"""Promise 18, its last part: a thousand strangers a second do not disturb the device that is known, nor keep it out.

Strangers compute as well, and here on the same machine: they run at a low priority, on what server and device leave
of it, and in some turns they knock at another server, a decoy. That costs this machine the same and the server in question
nothing; what is judged is the difference to those turns, by the median of the turns' p99.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.child import Child, free_port, python
from benchmarks.curve_app import app
from benchmarks.frames import SHAPES, natural
from chaos.keyed import HOST, Place
from chaos.registry import Broken, Run, Seen, promise
from iot_client import Client, Done
from wire.keys import text_of

__all__ = ["handshakes"]

FPS = 30.0
RATE = 1000.0
RATE_LEAST = 900.0
PROMISED = 1.2


@promise(18, "a thousand bad handshakes a second: the known device's p99 is at most 1.2 times what it was", quick=(1, 2.0), full=(8, 4.0))
def handshakes(run: Run) -> Seen:
    """JPEG frames at 30 fps to a server process: calm, strangers at a decoy, strangers at this server, in turns.

    How many attempts a second the server lets as far as a handshake is its own affair: "per s" is what strangers tried.
    """
    rounds, seconds = run.count
    place, port, decoy = Place(run.folder), free_port(), free_port()
    took: dict[str, list[list[float]]] = {"calm": [], "decoy": [], "here": []}
    rates: list[float] = []
    with Child(_server(place, port)) as server, Child(_server(place, decoy)):
        seen = psutil.Process(server.pid)
        with Client(app, host=HOST, port=port, split=1, codec="jpeg:80", keys=place.device, window=4) as client:
            _turn(client, 1.0)
            spent = {"calm": 0.0, "decoy": 0.0, "here": 0.0}
            for number in range(rounds):
                for where in sorted(took, reverse=bool(number % 2)):
                    target, before = {"calm": 0, "decoy": decoy, "here": port}[where], sum(seen.cpu_times()[:2])
                    rate, latencies = _under(client, place, target, seconds) if target else (RATE, _turn(client, seconds))
                    rates.append(rate)
                    took[where].append(latencies)
                    spent[where] += (sum(seen.cpu_times()[:2]) - before) / rounds / (seconds + (1.0 if target else 0.0))
                run.note(f"round {number + 1}: p99 in ms {', '.join(f'{where} {_p(each[-1:], 99)}' for where, each in took.items())}")
        let_in = [_let_in(place, port) for _ in range(1 if run.quick else 5)]
        lines = sum("refused" in line for line in server.output().splitlines())
    if lines > 2 + rounds * 3 * (seconds + 2) / 10:
        raise Broken(f"{lines} lines about refusals; one in ten seconds was promised")
    ratio = _p(took["here"], 99) / _p(took["decoy"], 99)
    frames = sum(len(turn) for turns in took.values() for turn in turns)
    told = Seen(good=frames, tried=frames, figures={
        "bad handshakes per s": round(min(rates)), **{f"{where} p{q} ms": _p(each, q) for where, each in took.items() for q in (50, 99)},
        "p99 here / decoy": round(ratio, 2), **{f"server's cores, {where}": round(each, 2) for where, each in spent.items()},
        "lines logged": lines, "another from the strangers' address is served after s, median": round(statistics.median(let_in), 2),
        "at most s": round(max(let_in), 2),
    })
    if run.quick:
        return told
    if min(rates) < RATE_LEAST:
        raise Broken(f"only {min(rates):.0f} handshakes a second were made: this host is too busy, nothing is proved", told)
    if ratio > PROMISED:
        raise Broken(f"p99 is {ratio:.2f} times what it is when the same strangers knock elsewhere; promised is {PROMISED}", told)
    return told


def _server(place: Place, port: int) -> list[str]:
    return python("cloud_server", "--app", "benchmarks.curve_app:app", "--port", str(port), "--keys", str(place.server), "--workers", "1")


def _knocking(place: Place, port: int, seconds: float) -> subprocess.Popen[str]:
    """Strangers at a low priority, for so long."""
    command = python("chaos.knocking", str(port), text_of(place.pair.public), "--rate", str(RATE), "--seconds", str(seconds))
    knocking = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.PIPE, text=True)
    os.setpriority(os.PRIO_PROCESS, knocking.pid, 10)
    return knocking


def _let_in(place: Place, port: int) -> float:
    """Seconds until a device that is allowed, but comes anew and from where the strangers come, has its first result."""
    with _knocking(place, port, 60.0) as knocking:
        time.sleep(2.0)
        began = time.monotonic()
        try:
            with Client(app, host=HOST, port=port, split=1, keys=place.device, device="cam1/again", connect_timeout=55.0) as client:
                client.submit(natural(SHAPES["640x480"], 0), timeout=10)
                next(iter(client.results(timeout=55)))
            return time.monotonic() - began
        finally:
            knocking.terminate()


def _under(client: Client, place: Place, port: int, seconds: float) -> tuple[float, list[float]]:
    """Attempts per second, and the latencies meanwhile."""
    with _knocking(place, port, seconds + 1.0) as knocking:
        time.sleep(0.7)
        latencies = _turn(client, seconds)
        out, _ = knocking.communicate(timeout=30)
    rate, let_in = out.split()
    if int(let_in):
        raise Broken(f"{let_in} strangers were let in")
    return float(rate), latencies


def _turn(client: Client, seconds: float) -> list[float]:
    """Seconds from capture to result, of frames at an even pace."""
    images = [natural(SHAPES["640x480"], seed) for seed in range(4)]
    count = int(seconds * FPS)
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number / FPS - time.monotonic()))
        client.submit(images[number % len(images)], timeout=10)
    latencies = []
    for result in client.results(timeout=10):
        if result.outcome != Done("cloud"):
            raise Broken(f"frame {result.seq}: {result.outcome}")
        latencies.append(result.latency)
    return latencies


def _p(turns: list[list[float]], percent: float) -> float:
    """Milliseconds: the median over turns of a percentile."""
    return round(statistics.median(float(np.quantile(turn, percent / 100)) for turn in turns) * 1e3, 1)
