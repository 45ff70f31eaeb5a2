"""Links that go, come back, lose and delay: rows 2, 3, 10, 25, 26 and 27 of docs/promises.md, in network namespaces."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from chaos.device import Plan
from chaos.recovery import FRAME, alone, judge
from chaos.registry import Broken, Run, Seen, Skipped, promise
from chaos.site import Server, launch
from chaos.steps import answer
from experiments.links import LinkSpec
from experiments.live.calibrate import goodput
from experiments.live.child import in_namespace
from experiments.live.network import Network, unavailable

__all__ = [
    "bad_link", "blackouts", "cycles", "cycles_lossless", "device_in", "idle", "link_down", "network_of", "never_slower", "resume",
    "server_in",
]

THREADS = ("--executor", "thread", "--workers", "2", "--insecure")


@contextmanager
def network_of(spec: LinkSpec, seconds: float, seed: int = 0) -> Iterator[Network]:
    """Two namespaces and this link between them.

    Raises:
        Skipped: this host cannot make them.
    """
    if lacking := unavailable():
        raise Skipped(lacking)
    with Network(spec.trace(seconds, seed), name="cut", seed=seed) as network:
        yield network


def server_in(network: Network, app: str, *arguments: str, side: str = "") -> Server:
    """A server on that network."""
    return Server(app, *THREADS, *arguments, side=side, host=network.server_ip, wrap=lambda argv: in_namespace(network.server_ns, argv))


def device_in(network: Network, plan: Plan) -> launch:
    """A device on it."""
    return launch(plan, wrap=lambda argv: in_namespace(network.device_ns, argv))


def _every(period: float, length: float, count: int, first: float = 3.0) -> tuple[tuple[float, float], ...]:
    return tuple((first + period * number, length) for number in range(count))


def _cut(run: Run, spec: LinkSpec, seconds: float, allowed: float, again: float, deadline: float) -> Seen:
    """A live device at 30 fps over that link for so long, and what came of its cuts."""
    with network_of(spec, seconds, run.seed) as network, server_in(network, "chaos.steps:steps") as server:
        plan = Plan(port=server.port, host=network.server_ip, out=str(run.folder / "out"), seconds=seconds, deadline=deadline)
        with alone(plan) as beside, device_in(network, plan) as device:
            began = network.play()
            diary = device.diary(seconds + 120.0)
            control = beside.diary(60.0)
    return judge(diary, [("cut", began + at, began + at + length) for at, length in spec.cuts], allowed, plan, control, again)


@promise(3, "a blackout of 5 s: no silence beyond the deadline and a frame, served again within 0.5 s", quick=1, full=20)
def blackouts(run: Run) -> Seen:
    """Deadline 150 ms at 30 fps over a path of 40 ms: gaps of at most 185 ms and a scheduler's slice."""
    spec = LinkSpec(up_mbit=50, delay_ms=20, cuts=_every(9.0, 5.0, run.count))
    return _cut(run, spec, 3.0 + 9.0 * run.count, 0.185 + 0.005, again=0.5, deadline=0.15)


@promise(3, "the device's interface goes down for 3 s and comes back", quick=1, full=20)
def link_down(run: Run) -> Seen:
    """What was on the link is lost, connecting fails at once, and the way back is found as fast."""
    spec, downs = LinkSpec(up_mbit=50, delay_ms=10), []
    with network_of(spec, 10.0) as network, server_in(network, "chaos.steps:steps") as server:
        plan = Plan(port=server.port, host=network.server_ip, out=str(run.folder / "out"), seconds=3.0 + 6.0 * run.count, deadline=0.15)
        with alone(plan) as beside, device_in(network, plan) as device:
            network.play()
            time.sleep(2.0)
            for _ in range(run.count):
                began = time.monotonic()
                for state in ("down", "up"):
                    subprocess.run(["ip", "-n", network.device_ns, "link", "set", "link0", state], check=True)
                    if state == "down":
                        time.sleep(3.0)
                downs.append(("interface", began, time.monotonic()))
                time.sleep(3.0)
            diary = device.diary(120.0)
            control = beside.diary(60.0)
    return judge(diary, downs, 0.15 + FRAME + 0.007, plan, control, again=0.5)


@promise(10, "cuts of 0.1 to 10 s at random: a lossless session goes on where it was", quick=3, full=200)
def resume(run: Run) -> Seen:
    """Every frame once, in order, with its value; what is sent again is at most one and a half windows a cut."""
    dice, at, cuts = random.Random(run.seed), 2.0, []
    for _ in range(run.count):
        length = round(0.1 * (20.0 if run.quick else 100.0) ** dice.random(), 2)
        cuts.append((at, length))
        at += length + dice.uniform(1.0, 3.0)
    spec = LinkSpec(up_mbit=50, delay_ms=10, cuts=tuple(cuts))
    with network_of(spec, at + 5.0, run.seed) as network, server_in(network, "chaos.steps:served") as server:
        frames, window = int(30 * at), 8
        plan = Plan(
            app="chaos.steps:served", port=server.port, host=network.server_ip, out=str(run.folder / "out"), mode="lossless",
            frames=frames, keep=True, window=window,
        )
        with device_in(network, plan) as device:
            network.play()
            diary = device.diary(4 * at + 60.0)
    right = sum(row.value == answer(row.seq, plan.nbytes) for row in diary.rows)
    figures = {"cuts": len(cuts), "resent per cut": round(diary.resent / len(cuts), 2), "window": window}
    return Seen(good=right if diary.resent <= 1.5 * window * len(cuts) else 0, tried=frames, figures=figures)


@promise(25, "100 ms, 2 % loss, 8 Mbit/s, 30 ms jitter: no false disconnect, exact, most of what TCP gives", quick=20, full=1800)
def bad_link(run: Run) -> Seen:
    """Lossless pictures of 100 kB as fast as the link takes them; the yardstick is one TCP connection, before and after."""
    spec = LinkSpec(up_mbit=8, delay_ms=50, jitter_ms=30, loss=0.02)
    with network_of(spec, run.count + 60.0, run.seed) as network, server_in(network, "chaos.steps:served") as server:
        plan = Plan(
            app="chaos.steps:served", port=server.port, host=network.server_ip, out=str(run.folder / "out"), mode="lossless", fps=0.0,
            seconds=float(run.count), nbytes=100_000, keep=True, window=8,
        )
        before = goodput(network, "device", min(20.0, run.count / 2))
        with device_in(network, plan) as device:
            diary = device.diary(run.count + 120.0)
        after = goodput(network, "device", min(20.0, run.count / 2))
    lost = [text for _, text in diary.notes if "silent" in text or "lost" in text]
    right = sum(row.value == answer(row.seq, plan.nbytes) for row in diary.rows)
    got = 8e-6 * plan.nbytes * len(diary.rows) / (diary.ended - diary.began)
    figures = {"disconnects": len(lost), "Mbit/s": round(got, 2), "TCP before": round(before, 2), "TCP after": round(after, 2)}
    seen = Seen(good=right, tried=len(diary.rows), figures=figures)
    if lost or got < 0.8 * min(before, after):
        raise Broken(f"{len(lost)} disconnects ({lost[:2]}), {got:.2f} Mbit/s of {before:.2f} and {after:.2f}", seen)
    return seen


@promise(26, "a link cut for 1 s every 5 s, live: never silent for longer than the deadline and a frame", quick=2, full=120)
def cycles(run: Run) -> Seen:
    """Deadline 150 ms at 30 fps."""
    spec = LinkSpec(up_mbit=50, delay_ms=10, cuts=_every(5.0, 1.0, run.count))
    return _cut(run, spec, 5.0 + 5.0 * run.count, 0.15 + FRAME + 0.007, again=4.0, deadline=0.15)


@promise(26, "the same, lossless: finished within 30 s after the last cut", quick=2, full=120)
def cycles_lossless(run: Run) -> Seen:
    """Frames that only the server can do, at 30 fps."""
    seconds = 5.0 + 5.0 * run.count
    spec = LinkSpec(up_mbit=50, delay_ms=10, cuts=_every(5.0, 1.0, run.count))
    with network_of(spec, seconds, run.seed) as network, server_in(network, "chaos.steps:served") as server:
        plan = Plan(
            app="chaos.steps:served", port=server.port, host=network.server_ip, out=str(run.folder / "out"), mode="lossless",
            frames=int(30 * seconds), keep=True,
        )
        with device_in(network, plan) as device:
            began = network.play()
            diary = device.diary(seconds + 120.0)
    late = diary.ended - (began + spec.cuts[-1][0] + spec.cuts[-1][1])
    right = sum(row.value == answer(row.seq, plan.nbytes) for row in diary.rows)
    return Seen(good=right if late <= 30.0 else 0, tried=plan.frames, figures={"after the last cut s": round(late, 1)})


@promise(27, "a server slower than the device behind a bad link: with a deadline never slower than all here", quick=10, full=60)
def never_slower(run: Run) -> Seen:
    """30 fps live, deadline 200 ms, a server that takes 400 ms a job: at least 95 % of the frames that a device alone gets done."""
    spec, done = LinkSpec(up_mbit=2, delay_ms=50, jitter_ms=10, loss=0.01), []
    with network_of(spec, run.count + 60.0, run.seed) as network:
        with server_in(network, "chaos.steps:steps", side="slow:380:420") as server:
            for local in (True, False):
                plan = Plan(
                    port=server.port, host=network.server_ip, out=str(run.folder / f"out{local}"), seconds=float(run.count), deadline=0.2,
                    local=local,
                )
                with device_in(network, plan) as device:
                    diary = device.diary(run.count + 60.0)
                done.append(sum(row.kind == "done" for row in diary.rows))
    alone, helped = done
    return Seen(good=helped, tried=alone, figures={"done alone": alone, "done with it": helped}, least=0.95)


@promise(27, "a connected client without frames costs next to nothing", quick=5, full=60)
def idle(run: Run) -> Seen:
    """At most 1 % of a core, heartbeats included."""
    with Server("chaos.steps:steps", "--executor", "thread", "--workers", "1") as server:
        plan = Plan(port=server.port, out=str(run.folder / "out"), fps=0.01, seconds=run.count + 3.0)
        with launch(plan) as device:
            time.sleep(1.0)
            process = psutil.Process(device.pid)
            before = process.cpu_times()
            time.sleep(float(run.count))
            after = process.cpu_times()
            share = 100 * (after.user + after.system - before.user - before.system) / run.count
    return Seen(good=int(share <= 1.0), tried=1, figures={"% of a core": round(share, 2)})
