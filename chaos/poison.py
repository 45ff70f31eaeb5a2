"""Rows 12 and 14: a frame that hurts its worker costs itself; frames that share a batch never notice."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import psutil

from chaos.poisoned import SPARES, answer, batched, item, single
from chaos.registry import Broken, Run, Seen, promise
from iot_client import Client, Done, Failed
from iot_client.result import Result

__all__ = ["KINDS", "Guarded", "Others", "contained", "guarded", "invisible", "quarantined"]

TIMEOUT = 1.0
KINDS = {
    "raise": r"ValueError: as told", "hang": r"HungTask: .* ran longer than 1 s", "exit": r"WorkerDied: .* exited with code 3",
    "segv": r"WorkerDied: .*SIGSEGV", "memory": r"MemoryError", "text": r"ValueError: x{3000}", "flood": "",
    "leave": r"SystemExit", "children": r"WorkerDied: .* exited with code 4", "silent": r"SystemExit: no text", "mute": r"HungTask",
    "stop": r"HungTask", "close": r"WorkerDied: .* (closed its line|exited)", "spin": r"HungTask", "kill": r"WorkerDied: .*SIGKILL",
}
"""What each order leads to, as found in the text of its failure; the flood does no harm."""
_KILLS = frozenset({"hang", "exit", "segv", "children", "mute", "stop", "close", "spin", "kill"})
_PROMISED = ("raise", "hang", "exit", "segv", "memory", "text", "flood")
_REPLACED = 2.0
_QUICK = 10.0
"""Seconds of patience in a quick run, which may share its machine with others; what takes seconds is told, not judged."""
_RATE = 20.0
"""Frames per second of each of the other devices."""


class Guarded:
    """A cloud-server in a process of its own, with what it said and when."""

    def __init__(self, app: str, *options: str) -> None:
        arguments = ["--app", f"chaos.poisoned:{app}", "--port", "0", "--task-timeout", f"{TIMEOUT:g}", "--worker-memory", "2G"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cloud_server", *arguments, "--log-json", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, SPARES: str(os.getpid())},
        )
        assert self._process.stdout is not None
        self.lines: list[tuple[float, str]] = []
        first = self._process.stdout.readline()
        self.port = int(msgspec.json.decode(first)["port"])
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """True if it is the same process still."""
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Its worker processes, and whatever these started."""
        return list(psutil.Process(self.pid).children(recursive=True))

    def replacements(self) -> list[float]:
        """Seconds from each death to the moment a process was ready in its place."""
        deaths, waits = [], []
        for at, text in list(self.lines):
            if "it is replaced" in text:
                deaths.append(at)
            elif "takes over" in text:
                waits.append(at - deaths.pop(0))
        return waits

    def printed(self) -> int:
        """Characters of what it wrote."""
        return sum(len(text) for _, text in list(self.lines))

    def end(self) -> list[psutil.Process]:
        """Ask it to end; returns processes it left behind."""
        family = self.processes() if self.alive else []
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return list(psutil.wait_procs(family, timeout=2.0)[1])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.decode("utf-8", "replace").strip()))


@contextmanager
def guarded(app: str, *options: str) -> Iterator[Guarded]:
    """A Guarded server, ended in any case."""
    server = Guarded(app, *options)
    try:
        yield server
    finally:
        for orphan in server.end():
            orphan.kill()


class Others:
    """Devices that send harmless frames at a steady rate; latencies in seconds, from capture to result."""

    def __init__(self, server: Guarded, devices: int = 2) -> None:
        self.latencies: list[float] = []
        self.sent = self.wrong = self.lost = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._stream, args=(server.port, device)) for device in range(1, devices + 1)]
        for thread in self._threads:
            thread.start()

    def seen(self) -> int:
        """How many latencies there are now; slices of `latencies` tell of a stretch of time."""
        return len(self.latencies)

    def end(self) -> None:
        """Send no more, and wait for the answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _stream(self, port: int, device: int) -> None:
        with Client(single, host="127.0.0.1", port=port, split=1, own_source=False, device=f"other {device}") as client:
            reader = threading.Thread(target=self._take, args=(client, device))
            reader.start()
            begin, number = time.monotonic(), 0
            while not self._stop.is_set():
                time.sleep(max(0.0, begin + (number + device / 7) / _RATE - time.monotonic()))
                client.submit(item("", number, device))
                number += 1
            client.end()
            reader.join()
            with self._lock:
                self.sent += number

    def _take(self, client: Client, device: int) -> None:
        for result in client.results(timeout=60.0):
            right = type(result.outcome) is Done and result.value == answer(item("", result.seq, device))
            with self._lock:
                self.latencies.append(result.latency)
                self.lost += type(result.outcome) is not Done
                self.wrong += type(result.outcome) is Done and not right


def _one(client: Client, value: dict[str, Any]) -> tuple[Result, float]:
    """Send a frame alone; its result and the seconds that took."""
    began = time.monotonic()
    client.submit(value)
    result = next(iter(client.results(timeout=30.0)))
    return result, time.monotonic() - began


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _poison(run: Run, server: Guarded, kinds: Sequence[str]) -> tuple[int, int, list[str], float]:
    """One poisonous frame after the other, each kind from a device of its own: (good, tried, what was wrong, slowest)."""
    good, wrong, slowest = 0, [], 0.0
    for kind in kinds:
        with Client(single, host="127.0.0.1", port=server.port, split=1, own_source=False, device=f"poison {kind}") as client:
            for number in range(run.count):
                result, seconds = _one(client, item(kind, number))
                slowest = max(slowest, seconds)
                problem = _judge(kind, result, seconds, _QUICK if run.quick else TIMEOUT + 1.0)
                good += not problem
                wrong += [f"{kind} {number}: {problem}"] if problem else []
                time.sleep(0.25)
            client.end()
        run.note(f"{kind}: {run.count} times, {len(wrong)} of all went wrong so far")
    return good, len(kinds) * run.count, wrong, slowest


def _judge(kind: str, result: Result, seconds: float, most: float) -> str:
    """What is wrong with the answer to a poisonous frame; empty if nothing is."""
    if kind == "flood":
        return "" if result.outcome == Done("cloud") else f"{result.outcome}"
    if type(result.outcome) is not Failed:
        return f"{result.outcome}"
    text = result.outcome.error
    if len(text) > 4096 or not re.search(KINDS[kind], text, re.DOTALL):
        return f"{len(text)} characters: {text[:200]}"
    return "" if seconds <= most else f"after {seconds:.2f} s"


def contain(run: Run, kinds: Sequence[str], calm: float) -> Seen:
    """Other devices, first by themselves for `calm` seconds, then beside the poison."""
    with guarded("single", "--workers", "2") as server:
        others = Others(server)
        try:
            time.sleep(1.0)  # warm
            start = others.seen()
            time.sleep(calm)
            begin = others.seen()
            good, tried, wrong, slowest = _poison(run, server, kinds)
            end = others.seen()
        finally:
            others.end()
        time.sleep(1.0)
        alive, waits = server.alive, server.replacements()
        orphans = server.end()
    before, beside = others.latencies[start:begin], others.latencies[begin:end]
    told = Seen(good=good, tried=tried, figures={
        "others": len(beside), "lost": others.lost, "wrong": others.wrong, "p99 before ms": round(1e3 * _p99(before), 1),
        "p99 beside ms": round(1e3 * _p99(beside), 1), "ratio": round(_p99(beside) / _p99(before), 2),
        "slowest others ms": round(1e3 * max(beside), 1), "slowest answer s": round(slowest, 2),
        "replaced": len(waits), "slowest replacement s": round(max(waits, default=0.0), 2), "server said kB": server.printed() // 1000,
    })
    if wrong:
        raise Broken(f"{len(wrong)} answers are not as promised; the first: {wrong[0]}", told)
    if others.lost or others.wrong or others.sent != len(others.latencies):
        raise Broken(f"of {others.sent} frames of others {others.lost} were lost and {others.wrong} wrong", told)
    if not alive or orphans:
        raise Broken(f"the server {'lives' if alive else 'died'}, {len(orphans)} processes are left", told)
    kills = run.count * sum(kind in _KILLS for kind in kinds)
    if len(waits) != kills or max(waits, default=0.0) > (_QUICK if run.quick else _REPLACED):
        raise Broken(f"{len(waits)} replacements of {kills}, the slowest after {max(waits, default=0.0):.2f} s; promised are 2 s", told)
    return told


@promise(12, "poison costs one frame and one worker", quick=2, full=20)
def contained(run: Run) -> Seen:
    """Each kind so often, next to two devices at 20 fps: they lose nothing, and their p99 stays within 1.5 times."""
    seen = contain(run, _PROMISED, 4.0 if run.quick else 20.0)
    if float(seen.figures["ratio"]) > 1.5 and not run.quick:  # a few seconds tell nothing about a p99
        raise Broken(f"p99 of others rose {seen.figures['ratio']} times, promised is 1.5", seen)
    return seen


@promise(12, "stranger poison is contained as well", quick=1, full=5)
def strange(run: Run) -> Seen:
    """Texts that cannot be had, closed descriptors, children left behind, a stopped process."""
    return contain(run, [kind for kind in KINDS if kind not in _PROMISED], 4.0)


@promise(12, "an input that killed three workers is quarantined", quick=2, full=20)
def quarantined(run: Run) -> Seen:
    """The same frame, from whichever device: the fourth fails at once and kills nobody; others go on."""
    good, wrong = 0, []
    with guarded("single", "--workers", "1") as server:
        for number in range(run.count):
            with Client(single, host="127.0.0.1", port=server.port, split=1, own_source=False, device=f"device {number}") as client:
                answers = [_one(client, item("exit", number)) for _ in range(5)]
                harmless, _ = _one(client, item("", number))
                client.end()
            texts = [result.outcome.error if type(result.outcome) is Failed else str(result.outcome) for result, _ in answers]
            fine = all("WorkerDied" in text for text in texts[:3]) and all(text.startswith("quarantined") for text in texts[3:])
            fine = fine and max(seconds for _, seconds in answers[3:]) < (_QUICK if run.quick else 0.5) and type(harmless.outcome) is Done
            good += fine
            wrong += [] if fine else texts
        kills = sum("it is replaced" in text for _, text in server.lines)
    told = Seen(good=good, tried=run.count, figures={"kills": kills})
    if wrong or kills != 3 * run.count:
        raise Broken(f"{kills} kills for {run.count} inputs; answers: {wrong[:5]}", told)
    return told


@promise(14, "batches are invisible", quick=(600, 0.25), full=(10_000, 0.1))
def invisible(run: Run) -> Seen:
    """8 devices, one poison in a hundred frames, most raise, some kill: each frame gets its own answer, each poison fails alone."""
    frames, deadly = run.count
    random = Random(run.seed)
    orders = {
        (device, number): ("exit" if random.random() < deadly else "raise") if random.randrange(100) == 0 else ""
        for device in range(8) for number in range(frames // 8)
    }
    outcomes: dict[tuple[int, int], Result] = {}
    trace = run.folder / "trace.jsonl"

    def stream(device: int, port: int) -> None:
        with Client(batched, host="127.0.0.1", port=port, split=1, own_source=False, device=f"device {device}", window=16) as client:
            reader = threading.Thread(target=lambda: outcomes.update({(device, r.seq): r for r in client.results(timeout=60.0)}))
            reader.start()
            for number in range(frames // 8):
                client.submit(item(orders[device, number], number, device))
            client.end()
            reader.join()

    with guarded("batched", "--workers", "2", "--max-batch", "32", "--trace", str(trace)) as server:
        threads = [threading.Thread(target=stream, args=(device, server.port)) for device in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not server.alive:
            raise Broken("the server died")
    lines = [line for line in trace.read_bytes().splitlines() if b'"RunBatch"' in line]
    return _compare(orders, outcomes, [len(msgspec.json.decode(line)["body"]["jobs"]) for line in lines])


def _compare(orders: dict[tuple[int, int], str], outcomes: dict[tuple[int, int], Result], sizes: Sequence[int]) -> Seen:
    good = leaked = 0
    wrong: list[str] = []
    for key, order in orders.items():
        device, number = key
        result = outcomes.get(key)
        outcome = None if result is None else result.outcome
        if order:
            fine = type(outcome) is Failed and ("as told" in outcome.error) == (order == "raise")
        else:
            fine = result is not None and type(outcome) is Done and result.value == answer(item("", number, device))
            leaked += result is not None and result.value is not None and result.value[0] // 10**9 != device
        good += fine
        wrong += [] if fine else [f"device {device} frame {number} {order or 'harmless'}: {outcome}"]
    told = Seen(good=good, tried=len(orders), figures={
        "raised": sum(order == "raise" for order in orders.values()), "killed": sum(order == "exit" for order in orders.values()),
        "leaked": leaked, "jobs in batches": sum(size for size in sizes if size > 1), "largest batch": max(sizes, default=0),
    })
    if wrong:
        raise Broken(f"{len(wrong)} answers are not those of a run without batches; the first: {wrong[0]}", told)
    if max(sizes, default=0) < 2:
        raise Broken("nothing was batched", told)
    return told
