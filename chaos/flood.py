"""Row 22, the port: garbage, slow senders, half-open connections and more of them than the server has descriptors for.

    python -m chaos.flood garbage|slicers|half_open|descriptors PORT COUNT SECONDS SEED

attacks from a process of its own, so that only the server suffers.
"""

from __future__ import annotations

import random
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from chaos.apps import answer, picture, pictures
from chaos.registry import Broken, Run, Seen, promise
from chaos.watched import Watched
from iot_client import Client, Done

__all__ = ["attacked", "floods"]

_FPS = 30.0
_BACK_S = 5.0
_RSS = 50 * 2**20
_IDLE = 0.1
"""CPU seconds per second of a server with nothing to do, at most."""
_FEW = 300
"""Descriptors the server is left with while it is flooded with connections."""
_FLOOR = 0.05
"""Seconds: p99 below this is not told from a busy host's own jitter."""
_GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL".ljust(64, b"\x00")


class _Stream:
    """A device that should notice nothing: 30 pictures a second, each answer checked."""

    def __init__(self, port: int) -> None:
        self.answers: list[tuple[float, float]] = []
        self.wrong = 0
        self._over = threading.Event()
        self._client = Client(pictures, host="127.0.0.1", port=port, split=2, own_source=False, want=("*",))
        self._client.start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        seq, due = 0, time.monotonic()
        while not self._over.is_set():
            item, begun = picture(seq, 64), time.monotonic()
            self._client.submit(item, timeout=30.0)
            result = next(self._client.results(timeout=30.0))
            self.answers.append((time.monotonic(), time.monotonic() - begun))
            self.wrong += type(result.outcome) is not Done or not bool((result.value == answer(item)).all())
            seq, due = seq + 1, max(due + 1 / _FPS, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def quantile(self, q: float, since: float, until: float) -> float:
        """Seconds from submit to result, of what was answered in between; infinite if nothing was."""
        took = sorted(took for at, took in self.answers if since <= at <= until)
        return took[int(q * (len(took) - 1))] if took else float("inf")

    def close(self) -> None:
        """End the stream."""
        self._over.set()
        self._thread.join(35.0)
        self._client.close(0.0)


def attacked(kind: str, count: int, seconds: float, seed: int) -> dict[str, float]:
    """One attack on a server with one device; returns what was seen of both."""
    with Watched("chaos.apps:pictures", workers=1) as server:
        stream = _Stream(server.port)
        try:
            time.sleep(1.0)
            began = time.monotonic()
            time.sleep(max(1.5, seconds / 3))
            before, rss = stream.quantile(0.99, began, time.monotonic()), server.rss()
            if kind == "descriptors":
                server.seen.rlimit(psutil.RLIMIT_NOFILE, (_FEW, _FEW))
            began, cpu = time.monotonic(), server.cpu()
            _attack(kind, server.port, count, seconds, seed)
            ended = time.monotonic()
            during, spent = stream.quantile(0.99, began, ended), (server.cpu() - cpu) / (ended - began)
            time.sleep(_BACK_S)
            after = stream.quantile(0.9, time.monotonic() - 1.5, time.monotonic())  # 45 answers: their p99 is the worst one
        finally:
            stream.close()
        cpu = server.cpu()
        time.sleep(1.0)
        return {
            "before": before, "during": during, "after": after, "wrong": stream.wrong, "answers": len(stream.answers), "cpu": spent,
            "rss": server.rss() - rss, "idle": server.cpu() - cpu, "executed": server.state()["executed"], "seconds": ended - began,
        }  # fmt: skip


@promise(
    22, "garbage, slow senders, half-open connections, no descriptors left",
    quick={"garbage": 500, "slicers": 30, "half_open": 100, "descriptors": 400},
    full={"garbage": 100_000, "slicers": 200, "half_open": 1_000, "descriptors": 2_000},
)
def floods(run: Run) -> Seen:
    """One attack after the other, each on a server of its own with a device that streams at 30 fps."""
    figures: dict[str, float | int | str] = {}
    for kind, count in run.count.items():
        seen = attacked(kind, count, 2.0 if run.quick else 10.0, run.seed)
        run.note(f"{kind}: " + ", ".join(f"{name} {value:.4g}" for name, value in seen.items()))
        figures[f"{kind} p99 ms"] = f"{seen['before'] * 1e3:.0f} -> {seen['during'] * 1e3:.0f} -> {seen['after'] * 1e3:.0f}"
        figures[f"{kind} MB"] = round(seen["rss"] / 2**20, 1)
        if seen["wrong"]:
            raise Broken(f"{kind}: {seen['wrong']:.0f} wrong answers")
        for when in ("during", "after"):
            if seen[when] > max(2 * seen["before"], _FLOOR):
                raise Broken(f"{kind}: p99 {seen[when] * 1e3:.1f} ms {when} the attack, {seen['before'] * 1e3:.1f} ms before it")
        if seen["rss"] > _RSS:
            raise Broken(f"{kind}: {seen['rss'] / 2**20:.0f} MB more memory, promised are at most 50")
        if seen["idle"] > _IDLE:
            raise Broken(f"{kind}: {seen['idle']:.2f} CPU seconds per second after the attack")
    return Seen(good=len(run.count), tried=len(run.count), figures=figures)


def _attack(kind: str, port: int, count: int, seconds: float, seed: int) -> None:
    words = [sys.executable, "-m", "chaos.flood", kind, str(port), str(count), str(seconds), str(seed)]
    subprocess.run(words, cwd=Path(__file__).resolve().parents[1], check=True, timeout=60.0 + 20 * seconds + count / 100)


# -- the attacker ----------------------------------------------------------------------------------------


def _garbage(port: int, count: int, seconds: float, dice: random.Random) -> None:
    """Connections that say something: noise, half a greeting, or a greeting and then noise; and leave."""
    for number in range(count):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5.0) as each:
                each.sendall((b"", _GREETING[: dice.randrange(64)], _GREETING)[number % 3] + dice.randbytes(dice.randrange(1, 400)))
        except OSError:
            continue


def _slicers(port: int, count: int, seconds: float, dice: random.Random) -> None:
    """A byte each millisecond on each of so many connections, most of it a greeting and a READY that never ends."""
    words = _GREETING + b"\x04\xff\x05READY" + bytes(250)
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=5.0) for _ in range(count)]
    until, at = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        begun = time.monotonic()
        for number, each in enumerate(sockets):
            try:
                each.sendall(words[at % len(words) : at % len(words) + 1])
            except OSError:
                each.close()
                sockets[number] = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        at += 1
        time.sleep(max(0.0, begun + 0.001 - time.monotonic()))


def _half_open(port: int, count: int, seconds: float, dice: random.Random) -> None:
    """Connections that say nothing, held open."""
    _hold(port, count, seconds, b"")


def _descriptors(port: int, count: int, seconds: float, dice: random.Random) -> None:
    """Connections with a whole handshake, more than the server can have, held open."""
    _hold(port, count, seconds, _GREETING + b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER")


def _hold(port: int, count: int, seconds: float, words: bytes) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    sockets = []
    for _ in range(count):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", port))
        sockets.append(each)
    until = time.monotonic() + seconds
    waiting = set(sockets) if words else set()
    while time.monotonic() < until:
        for each in list(waiting):
            try:
                each.send(words)
                waiting.discard(each)
            except BlockingIOError:
                continue
            except OSError:
                waiting.discard(each)
        time.sleep(0.05)
    for each in sockets:
        each.close()


if __name__ == "__main__":
    _KIND, _PORT, _COUNT, _SECONDS, _SEED = sys.argv[1:]
    _ATTACKS = {"garbage": _garbage, "slicers": _slicers, "half_open": _half_open, "descriptors": _descriptors}
    _ATTACKS[_KIND](int(_PORT), int(_COUNT), float(_SECONDS), random.Random(_SEED))
