"""Rows 6, 9 and 11: what a server keeps, whatever devices offer, do not read or leave behind."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable

import zmq

from chaos.apps import echo, sum_up
from chaos.crowd import Crowd, values
from chaos.raw_device import RawDevice
from chaos.registry import Broken, Run, Seen, promise
from chaos.watched import Watched

__all__ = ["devices_killed", "fast_soak", "many_large_devices", "one_does_not_read", "soak"]

MEGA = 2**20


class _Gauge:
    """What a server had at most since it was idle, and what it has in use.

    In use is what is resident less what malloc keeps free for the next frames. That reserve grows by a step whenever more
    frames come at once than ever before, a slope to the eye in any short run; a leak is what is never free again.
    """

    def __init__(self, server: Watched) -> None:
        self.server = server
        self.idle, self.descriptors = server.rss(), server.descriptors()
        self.top = self.memory = self.freed = 0
        self.in_use: list[tuple[float, int]] = []

    def look(self, at: float | None = None) -> None:
        """Take a sample, of this moment or of another measure of how far the run is."""
        state = self.server.state()
        self.top = max(self.top, self.server.rss() - self.idle)
        self.memory, self.freed = max(self.memory, state["memory"]), state["freed"]
        self.in_use.append((time.monotonic() if at is None else at, state["resident"] - state["freed"]))

    def slope(self) -> tuple[float, float]:
        """Bytes in use per unit, and how far that may be off (95 %, if samples do not depend on each other).

        The median over pairs of samples half the run apart (Theil and Sen); the first quarter is left out as warm-up. The error of
        a median of n is 1.25 sigma / sqrt(n), and sigma the interquartile range / 1.35.
        """
        kept = self.in_use[len(self.in_use) // 4 :]
        half = len(kept) // 2
        slopes = [(used - before) / (at - since) for (since, before), (at, used) in zip(kept[:half], kept[half:])]
        low, middle, high = statistics.quantiles(slopes, n=4)
        return middle, 1.96 * 1.25 * (high - low) / 1.35 / len(slopes) ** 0.5


@promise(6, "64 devices offer 16 MB each to a cap of 128 MB", quick=6, full=60)
def many_large_devices(run: Run) -> Seen:
    """Memory stays under the cap and a fifth; everybody gets at least half a fair share."""
    cap, count = 128 * MEGA, 64
    with Watched("chaos.apps:sum_up", work=0.005, max_memory=cap, max_per_device=32 * MEGA) as server:
        gauge = _Gauge(server)
        with Crowd(sum_up, server.port, count, values(MEGA - 100), offered=16 * MEGA) as crowd:
            crowd.run(run.count, gauge.look)
            served = [device.bytes_done for device in crowd.devices]
            drained = crowd.drain(30.0)
            dropped = sum(count for device in crowd.devices for kind, count in device.served.items() if kind != "done")
    fair = sum(served) / count
    told = Seen(good=sum(each >= fair / 2 for each in served), tried=count, figures={
        "MB served": round(sum(served) / MEGA), "least share": round(min(served) / fair, 2), "RSS MB over idle": round(gauge.top / MEGA),
        "charged MB": round(gauge.memory / MEGA), "dropped": dropped,
    })
    if gauge.top > 1.2 * cap or gauge.memory > cap:
        raise Broken(f"{gauge.top / MEGA:.0f} MB over idle, {gauge.memory / MEGA:.0f} charged; the cap is {cap / MEGA:.0f}", told)
    if min(served) < fair / 2 or not drained or dropped:
        raise Broken(f"the least got {min(served) / fair:.2f} of a fair share, {dropped} dropped, drained: {drained}", told)
    return told


@promise(6, "a soak at 50 fps", quick=10, full=600)
def soak(run: Run) -> Seen:
    """Memory in use does not creep, and no descriptor is lost."""
    with Watched("chaos.apps:sum_up", work=0.002) as server:
        with Crowd(sum_up, server.port, 4, values(100_000), offered=MEGA, paced=12.5) as crowd:
            crowd.run(run.count / 4)
            gauge = _Gauge(server)
            crowd.run(run.count, gauge.look, 1.0)
            after = server.descriptors()
            crowd.drain(5.0)
            done = sum(device.served.get("done", 0) for device in crowd.devices)
            sent = sum(device.next_seq for device in crowd.devices)
    slope, doubt = (3600 * each / MEGA for each in gauge.slope())
    told = Seen(good=done, tried=sent, figures={**_creep(slope, doubt, gauge), "descriptors": after - gauge.descriptors})
    if done != sent or after != gauge.descriptors:
        raise Broken(f"{done} of {sent} done, {after - gauge.descriptors} descriptors more", told)
    _judge(run, slope, doubt, told)
    return told


@promise(6, "an hour's frames as fast as they go, of 1 kB to 1 MB", quick=6, full=50)
def fast_soak(run: Run) -> Seen:
    """So many rounds through all sizes; between two rounds, with nothing under way, as much is in use as before."""
    with Watched("chaos.apps:sum_up", work=0.0) as server:
        gauge = _Gauge(server)
        with Crowd(sum_up, server.port, 4, values(1_000), offered=MEGA) as crowd:
            for _ in range(run.count):
                for size in (1_000, 100_000, MEGA):
                    crowd.payload = values(size)
                    crowd.run(0.2 if run.quick else 1.0)
                if not crowd.drain(10.0):
                    raise Broken(f"{sum(len(device.under_way) for device in crowd.devices)} jobs have no answer after 10 s")
                gauge.look(server.state()["executed"])
            done = sum(device.served.get("done", 0) for device in crowd.devices)
            sent = sum(device.next_seq for device in crowd.devices)
    slope, doubt = (50 * 3600 * each / MEGA for each in gauge.slope())
    told = Seen(good=done, tried=sent, figures=_creep(slope, doubt, gauge))
    if done != sent:
        raise Broken(f"{done} of {sent} done", told)
    _judge(run, slope, doubt, told)
    return told


def _creep(slope: float, doubt: float, gauge: _Gauge) -> dict[str, float | int | str]:
    return {
        "in use MB/h": round(slope, 2), "+-": round(doubt, 2), "RSS MB over idle": round(gauge.top / MEGA, 1),
        "kept free MB": round(gauge.freed / MEGA, 1),
    }


def _judge(run: Run, slope: float, doubt: float, told: Seen) -> None:
    """Promised is at most 1 MB an hour at 50 fps."""
    if run.quick:
        return
    if doubt > 1.0:
        raise Broken(f"memory in use varies so much that {doubt:.1f} MB/h cannot be told from none: nothing is proved", told)
    if slope > 1.0:
        raise Broken(f"memory in use grows by {slope:.1f} MB/h, promised is 1", told)


@promise(9, "devices that connect, submit and are killed", quick=30, full=1000)
def devices_killed(run: Run) -> Seen:
    """After the lease nothing of them is left: sessions, bytes, descriptors, memory."""
    lease = 2.0 if run.quick else 5.0
    with Watched("chaos.apps:echo", work=0.002, lease=lease) as server:
        for _ in range(1 if run.quick else 3):  # warm: what was used once malloc keeps in part, up to a bound
            for _ in range(1 if run.quick else 10):
                _die(server.port, 5 if run.quick else 20)
            server.wait_for("sessions", 0, lease + 5.0)
        gauge = _Gauge(server)
        for done in range(0, run.count, 25):
            _die(server.port, min(25, run.count - done))
            gauge.look()
        clean = server.wait_for("sessions", 0, lease + 5.0)
        time.sleep(0.5)
        state, rss, descriptors = server.state(), server.rss() - gauge.idle, server.descriptors() - gauge.descriptors
    left = {what: state[what] for what in ("sessions", "queued", "running", "payloads_kept", "results_kept", "memory", "unsent")}
    told = Seen(good=run.count if clean else 0, tried=run.count, figures={
        **left, "descriptors": descriptors, "RSS MB": round(rss / MEGA, 1), "executed": state["executed"],
    })
    if any(left.values()) or abs(descriptors) > 2 or rss > 10 * MEGA:
        raise Broken(f"left behind: {left}, {descriptors} descriptors, {rss / MEGA:.1f} MB", told)
    return told


def _die(port: int, count: int) -> None:
    """So many devices that say HELLO, send three jobs, and are killed at once."""
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            try:
                device = RawDevice(echo, port, zmq.Context()).connect()
                for _ in range(3):
                    device.force(values(100_000))
                time.sleep(0.02)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


@promise(11, "one device does not read, seven do", quick=(1, 1.5), full=(10, 4.0))
def one_does_not_read(run: Run) -> Seen:
    """The seven are as fast as without it, turn by turn; what it leaves unread is bounded, and it is put out with a reason."""
    rounds, seconds = run.count
    credit, lease = 8 * MEGA, 2.0 if run.quick else 60.0
    without, beside, charges, notes = list[float](), list[float](), list[int](), list[str]()
    with Watched("chaos.apps:echo", work=0.002, lease=lease, max_per_device=credit, max_job=4 * MEGA) as server:
        def look() -> None:
            state = server.state()
            charges.append(max((charge for name, charge in state["charges"].items() if name.startswith("mute")), default=0))
            notes.extend(state["notes"])

        with Crowd(echo, server.port, 7, values(50_000), offered=MEGA, paced=10.0) as crowd:
            crowd.run(1.0)
            for number in range(rounds):
                without.append(_p99(crowd, seconds, look))
                stays = lease / 2 + 4.0 if number == rounds - 1 else seconds + 1.0
                mute = threading.Thread(target=_never_read, args=(server.port, f"mute{number}", stays))
                mute.start()
                crowd.run(0.5, look)
                beside.append(_p99(crowd, seconds, look))
                while mute.is_alive():
                    crowd.run(0.2, look)
                run.note(f"round {number + 1}: p99 {1e3 * without[-1]:.1f} ms without it, {1e3 * beside[-1]:.1f} beside it")
            drained = crowd.drain(5.0)
    reasons = [note for note in notes if " left: has read nothing" in note]
    done, sent = (sum(each) for each in zip(*((device.served["done"], device.next_seq) for device in crowd.devices)))
    p99, before = statistics.median(beside), statistics.median(without)
    ratio = statistics.median(one / other for one, other in zip(beside, without))  # what disturbs this host lasts longer than a round
    told = Seen(good=done, tried=sent, figures={
        "p99 ms": round(1e3 * p99, 1), "p99 ms without it": round(1e3 * before, 1), "ratio": round(ratio, 2), "rounds": rounds,
        "its MB": round(max(charges) / MEGA, 1), "put out": reasons[0] if reasons else "never",
    })
    if max(charges) > 1.25 * credit:
        raise Broken(f"{max(charges) / MEGA:.1f} MB are kept for a device that does not read, its credit is {credit / MEGA:.0f}", told)
    if not drained or told.good != told.tried:
        raise Broken(f"{told.good} of {told.tried} answered", told)
    if not reasons:
        raise Broken(f"it is still there after {lease:g} s", told)
    if not run.quick and ratio > 1.2:
        raise Broken(f"p99 is {ratio:.2f} times what it is without it, by the median of {rounds} rounds; promised is 1.2", told)
    return told


def _p99(crowd: Crowd, seconds: float, look: Callable[[], None]) -> float:
    for device in crowd.devices:
        device.latencies.clear()
    crowd.run(seconds, look)
    return statistics.quantiles([each for device in crowd.devices for each in device.latencies], n=100)[98]


def _never_read(port: int, name: str, seconds: float) -> None:
    """A device that sends what it may, and heartbeats, and takes no answer out of its socket; its host still acks what comes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    device = RawDevice(echo, port, context, name=name, options=[(zmq.RCVHWM, 1), (zmq.RCVBUF, 65536)]).connect()
    payload, until = values(500_000), time.monotonic() + seconds
    device.ping(payload.nbytes)
    device.read(0.5)
    while time.monotonic() < until:
        device.ping()
        device.submit(payload) if device.sent + payload.nbytes <= device.limit else time.sleep(0.1)
    context.destroy(linger=0)
