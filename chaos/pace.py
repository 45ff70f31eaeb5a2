"""Rows 4 and 5: what a device does that is faster than its server, and one whose user does not read."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections import Counter
from math import ceil

import msgspec
import numpy as np
import psutil

from chaos.apps import echo, sum_up
from chaos.registry import Broken, Run, Seen, promise
from chaos.watched import Watched
from iot_client import Client, Done, Dropped, Full
from iot_client.result import Result

__all__ = ["Live", "live_at", "nobody_reads", "slow_server"]

MEGA = 2**20


class Live(msgspec.Struct):
    """What came of a live stream: ages at delivery of done frames in seconds, drops by reason, the server's longest queue."""

    captured: int
    ages: list[float]
    drops: Counter[str]
    other: int
    in_order: bool
    longest_queue: int
    rtt: float

    @property
    def conserved(self) -> bool:
        """True if every frame has its one outcome."""
        return self.captured == len(self.ages) + sum(self.drops.values()) + self.other


def live_at(fps: float, service: float, seconds: float) -> Live:
    """A live stream without a goal into a server that takes `service` seconds a frame, on one worker."""
    with Watched("chaos.apps:sum_up", work=service) as server:
        with Client(sum_up, host="127.0.0.1", port=server.port, split=1, mode="live", own_source=False, max_age=5.0) as client:
            longest = [0]
            results: list[Result] = []
            reader = threading.Thread(target=lambda: results.extend(client.results()))
            reader.start()
            begin = time.monotonic()
            for number in range(int(fps * seconds)):
                time.sleep(max(0.0, begin + number / fps - time.monotonic()))
                client.submit(np.full(50_000, number % 251, np.uint8))
                if number % 5 == 0:
                    longest[0] = max(longest[0], int(server.state()["queued"]))
            rtt = client.statistics().rtt_s
            client.end()
            reader.join()
    done = [result for result in results if type(result.outcome) is Done]
    drops = Counter(result.outcome.reason for result in results if type(result.outcome) is Dropped)
    seqs = [result.seq for result in results]
    return Live(
        int(fps * seconds), [result.latency for result in done], drops, len(results) - len(done) - sum(drops.values()),
        all(before < after for before, after in zip(seqs, seqs[1:])), longest[0], rtt,
    )


@promise(4, "a live stream of 30 fps into a server that does 5", quick=24, full=300)
def slow_server(run: Run) -> Seen:
    """The age at delivery stays within the service time, two frame periods and a round trip; drops are told exactly.

    Three answers have one service time more: the first two, by which the server learns what a frame takes, and the last, whose place
    no newer frame takes while it waits. 99 in 100 say something from a hundred others on, which `quick` has.
    """
    service, fps = 0.2, 30.0
    seen = live_at(fps, service, run.count)
    ages, ends = sorted(seen.ages[2:-1]), max(*seen.ages[:2], seen.ages[-1])
    p99 = ages[ceil(0.99 * len(ages)) - 1]
    bound = service + 2 / fps + seen.rtt
    told = Seen(good=len(seen.ages) + sum(seen.drops.values()), tried=seen.captured, figures={
        "done": len(seen.ages), **{f"dropped {reason}": count for reason, count in seen.drops.items()},
        "age p50 ms": round(1e3 * statistics.median(ages)), "age p99 ms": round(1e3 * p99), "bound ms": round(1e3 * bound),
        "first and last ms": round(1e3 * ends), "longest queue": seen.longest_queue,
    })
    if not seen.conserved or seen.other or not seen.in_order:
        raise Broken(f"{seen.captured} captured, {len(seen.ages)} done, {dict(seen.drops)} dropped, {seen.other} else", told)
    if len(seen.ages) < 0.9 * run.count / service:
        raise Broken(f"{len(seen.ages)} frames done in {run.count} s, the server can do {run.count / service:.0f}", told)
    if seen.longest_queue > 1:
        raise Broken(f"{seen.longest_queue} frames waited at the server, promised is 1", told)
    if p99 > bound:
        raise Broken(f"age at delivery p99 {1e3 * p99:.0f} ms, promised is {1e3 * bound:.0f}", told)
    if ends > bound + service:
        raise Broken(f"age of the first two and the last up to {1e3 * ends:.0f} ms, promised is {1e3 * (bound + service):.0f}", told)
    return told


@promise(5, "nobody reads results for a while", quick=3, full=60)
def nobody_reads(run: Run) -> Seen:
    """200 frames a second of 200 kB, and as much back: the device and the server stop growing, then nothing is lost."""
    window, size, fps = 32 * MEGA, 200_000, 200.0
    with Watched("chaos.apps:echo", work=0.0, workers=2) as server:
        with Client(
            echo, host="127.0.0.1", port=server.port, split=1, own_source=False, want=("*",), memory=window,
        ) as client:
            for seq in range(20):  # warm: buffers, codecs, threads
                client.submit(np.full(size, seq, np.uint8))
            warm = [result for _, result in zip(range(20), client.results(10.0))]
            gc.collect()
            own = psutil.Process()
            before = own.memory_info().rss, server.rss()
            grown, refused, sent = [0, 0], 0, len(warm)
            begin = time.monotonic()
            while time.monotonic() < begin + run.count:
                time.sleep(max(0.0, begin + (sent - 20 + refused) / fps - time.monotonic()))
                try:
                    client.submit(np.full(size, sent % 251, np.uint8), timeout=0.2)
                    sent += 1
                except Full:
                    refused += 1
                grown = [max(grown[0], own.memory_info().rss - before[0]), max(grown[1], server.rss() - before[1])]
            client.end()
            rest = list(client.results(20.0))
    results = warm + rest
    good = sum(type(result.outcome) is Done and int(result.value[0]) == result.seq % 251 for result in results)
    told = Seen(good=good, tried=sent, figures={
        "taken": sent, "refused": refused, "device MB": round(grown[0] / MEGA, 1), "server MB": round(grown[1] / MEGA, 1),
    })
    if [result.seq for result in results] != list(range(sent)) or good < sent:
        raise Broken(f"{len(results)} results of {sent}, {good} right", told)
    if not refused:
        raise Broken("submit() never said Full", told)
    if grown[0] > window + 32 * MEGA or grown[1] > 32 * MEGA:
        raise Broken(f"device grew by {grown[0] / MEGA:.0f} MB, server by {grown[1] / MEGA:.0f}; promised are 64 and 32", told)
    return told
