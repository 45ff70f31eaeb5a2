"""A server that dies, stands still or hangs, and the device that goes on: rows 1, 2, 3, 10 and 13 of docs/promises.md."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from chaos.device import Diary, Plan, clip_of
from chaos.registry import Broken, Run, Seen, promise
from chaos.site import ROOT, Server, first_from, launch, longest, quantile
from chaos.steps import answer
from tasks.app import load
from tasks.plain import to_plain
from tasks.run import Runner
from tasks.values import keep_fields

__all__ = [
    "FRAME", "alone", "deadline_race", "fallback", "herd", "judge", "jumping_clocks",
    "kills_of_a_busy_server", "kills_of_the_only_server", "once_across_lives",
]

CLIP = "ball.mp4"
FRAME = 1 / 30


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "recovered n": len(seconds), "p50 ms": round(1e3 * quantile(seconds, 0.5), 1), "p99 ms": round(1e3 * quantile(seconds, 0.99), 1),
        "max ms": round(1e3 * max(seconds, default=float("nan")), 1),
    }


def _kill_often(run: Run, server: Server, kills: int, up: tuple[float, float]) -> tuple[list[float], list[float]]:
    """Kill and restart; returns when it was killed, and when it listened again."""
    dice, killed, listened = random.Random(run.seed), [], []
    for number in range(kills):
        time.sleep(dice.uniform(*up))
        killed.append(server.kill())
        listened.append(server.start())
        run.note(f"kill {number + 1} of {kills}")
    return killed, listened


def _recoveries(diary: Diary, listened: Sequence[float], killed: Sequence[float]) -> list[float]:
    """Seconds from listening to the first result computed there, of each life that lasted so long."""
    found = []
    for at, end in zip(listened, (*killed[1:], diary.ended)):
        first = first_from(diary.rows, "cloud", at)
        if first is not None and first < end:
            found.append(first - at)
        elif end - at > 3.0:
            found.append(float("inf"))
    return found


def _sequential(clip: str, app: str, frames: int) -> list[Any]:
    """The values of the plain loop over the app's stages."""
    loaded = load(app).copy()
    runner, items = Runner(loaded, time.perf_counter), clip_of(clip)
    runner.setup(0, loaded.n)
    ran = [runner.run(0, loaded.n, items[index % len(items)].copy()) for index in range(frames)]
    return [to_plain(keep_fields(each.value, None)) if each.kind == "done" else None for each in ran]


@promise(1, "kill -9 at random times: lossless results of a clip once, in order, as the plain loop's", quick=(400, 3), full=(10_000, 100))
def kills_of_a_busy_server(run: Run) -> Seen:
    """Ball tracking with a window of 8, at a pace that lets the server live between two kills."""
    frames, kills = run.count
    folder = os.environ.get("SPILLWAY_CLIPS", "")
    clip = str(Path(folder) / CLIP) if (Path(folder) / CLIP).is_file() else ""
    app = "examples.ball_tracking.app:app" if clip else "chaos.steps:steps"
    with Server(app, "--executor", "thread", "--workers", "2") as server:
        plan = Plan(
            app=app, port=server.port, out=str(run.folder / "out"), mode="lossless", fps=frames / (kills * 1.6 + 1), frames=frames,
            clip=clip, window=8, keep=True,
        )
        with launch(plan) as device:
            killed, listened = _kill_often(run, server, kills, (0.2, 1.0))
            diary = device.diary(300.0)
    expected = _sequential(clip, app, frames) if clip else [answer(index, plan.nbytes) for index in range(frames)]
    wrong = sum(row.value != value for row, value in zip(diary.rows, expected)) + abs(len(diary.rows) - frames)
    figures = _milliseconds(_recoveries(diary, listened, killed))
    return Seen(good=frames - wrong, tried=frames, figures={"kills": kills, "resent": diary.resent, **figures})


@promise(2, "kill -9 of the only place for the work: new results soon after it listens", quick=(1_000, 3), full=(10_000, 100))
def kills_of_the_only_server(run: Run) -> Seen:
    """As many frames as the server takes, it never idle; the run ends when all are answered."""
    frames, kills = run.count
    with Server("chaos.steps:served", "--executor", "thread", "--workers", "2", side="busy:3") as server:
        plan = Plan(
            app="chaos.steps:served", port=server.port, out=str(run.folder / "out"), mode="lossless", fps=frames / (kills * 1.6 + 1),
            frames=frames, window=16, keep=True,
        )
        with launch(plan) as device:
            killed, listened = _kill_often(run, server, kills, (0.2, 1.0))
            diary = device.diary(300.0)
    right = sum(row.kind == "done" and row.value == answer(row.seq, plan.nbytes) for row in diary.rows)
    seconds = _recoveries(diary, listened, killed)
    seen = Seen(good=right, tried=frames, figures={"kills": kills, "resent": diary.resent, **_milliseconds(seconds)})
    if quantile(seconds, 0.5) > 0.5 or quantile(seconds, 0.99) > 1.5 or max(seconds) > 3.0:
        raise Broken("p50, p99 and max to the first new result exceed 0.5, 1.5 or 3 s", seen)
    return seen


@promise(1, "a stage marked once runs at most once, whatever dies; what may have run fails and says so", quick=(300, 2), full=(3_000, 30))
def once_across_lives(run: Run) -> Seen:
    """Results are Done with the right value, or Failed as "may have run"."""
    frames, kills = run.count
    with Server("chaos.steps:strict", "--executor", "thread", "--workers", "2", side="busy:3") as server:
        plan = Plan(
            app="chaos.steps:strict", port=server.port, out=str(run.folder / "out"), mode="lossless", fps=frames / (kills * 1.6 + 1),
            frames=frames, window=8, keep=True,
        )
        with launch(plan) as device:
            _kill_often(run, server, kills, (0.2, 1.0))
            diary = device.diary(300.0)
    failed = [row for row in diary.rows if row.kind == "failed" and "may have run" in row.detail]
    right = sum(row.kind == "done" and row.value == answer(row.seq, plan.nbytes) for row in diary.rows)
    return Seen(good=right + len(failed), tried=frames, figures={"kills": kills, "may have run": len(failed)})


def _hang(flag: Path, seconds: float) -> float:
    flag.touch()
    time.sleep(seconds)
    flag.unlink()
    return time.monotonic()


def _kill_for(server: Server, seconds: float) -> float:
    server.kill()
    time.sleep(seconds)
    return server.start()


@promise(3, "server killed, stopped or hung in a task at 30 fps: no silence beyond the deadline and a frame", quick=1, full=20)
def fallback(run: Run) -> Seen:
    """Deadline 300 ms: gaps of at most 350 ms, offload again within 5 s, nothing twice."""
    deadline, flag, faults = 0.3, run.folder / "hang", []
    with Server("chaos.steps:steps", "--executor", "thread", "--workers", "1", "--task-timeout", "0", side=f"hang:{flag}") as server:
        ways: dict[str, Callable[[], float]] = {
            "kill": lambda: _kill_for(server, 1.5), "stop": lambda: server.pause(2.5), "hang": lambda: _hang(flag, 2.5),
        }
        plan = Plan(
            port=server.port, out=str(run.folder / "out"), deadline=deadline, seconds=3.0 + 6.0 * run.count * len(ways), keep=True,
        )
        with alone(plan) as beside, launch(plan) as device:
            time.sleep(2.0)
            for number in range(run.count):
                for name, fault in ways.items():
                    began = time.monotonic()
                    faults.append((name, began, fault()))
                    time.sleep(max(0.0, began + 5.5 - time.monotonic()))
                run.note(f"{number + 1} of {run.count} rounds")
            diary = device.diary(60.0 + 10 * run.count)
            control = beside.diary(60.0)
    return judge(diary, faults, deadline + FRAME + 0.017, plan, control)


def alone(plan: Plan) -> launch:
    """The same frames on a device without any server, at the same time: where it halts too, it was the host."""
    return launch(msgspec.structs.replace(plan, out=f"{plan.out}-alone", local=True, deadline=0.0))


def judge(
    diary: Diary, faults: Sequence[tuple[str, float, float]], allowed: float, plan: Plan, control: Diary, again: float = 5.0
) -> Seen:
    """Of each fault, (name, from, to): how long nothing was done around it, and when the server's results came again.

    Faults around which the device that is alone was more than half a frame late are not judged, and counted; figures are of all.
    """
    figures: dict[str, float | int | str] = {}
    good = stalled = 0
    for kind in dict.fromkeys(name for name, _, _ in faults):
        silences = [longest(diary.rows, began - 0.5, back + 2.0) for name, began, back in faults if name == kind]
        returns = [(first_from(diary.rows, "cloud", back) or float("inf")) - back for name, _, back in faults if name == kind]
        halts = [longest(control.rows, began - 0.5, back + 2.0) > 1.5 * FRAME for name, began, back in faults if name == kind]
        stalled += sum(halts)
        good += sum(silence <= allowed and back <= again and not halt for silence, back, halt in zip(silences, returns, halts))
        figures |= {f"{kind}: longest gap ms": round(1e3 * max(silences), 1), f"{kind}: remote again ms": round(1e3 * max(returns), 1)}
    if any(row.kind == "done" and row.value != answer(row.seq, plan.nbytes) for row in diary.rows if plan.mode == "lossless"):
        raise Broken("a value is not that of its frame")
    dropped = sum(row.kind == "dropped" for row in diary.rows)
    figures |= {"dropped": dropped, "frames": len(diary.rows), "late": diary.late, "host halted": stalled}
    figures["alone: longest gap ms"] = round(1e3 * longest(control.rows), 1)
    seen = Seen(good=good, tried=len(faults) - stalled, figures=figures)
    if not seen.tried:
        raise Broken("this host halted around every fault, as a device that is alone shows: nothing can be said, try a quieter one", seen)
    return seen


@promise(13, "service of 1 to 1000 ms by chance, deadline 200 ms: one result each, in time", quick=300, full=10_000)
def deadline_race(run: Run) -> Seen:
    """60 fps; the age at delivery of 99 of 100 frames is at most 210 ms, and whoever answers, the frame is done."""
    with Server("chaos.steps:steps", "--executor", "thread", "--workers", "64", "--spares", "0", side="slow:1:1000") as server:
        plan = Plan(port=server.port, out=str(run.folder / "out"), deadline=0.2, fps=60.0, frames=run.count, nbytes=2_000)
        with launch(plan) as device:
            diary = device.diary(60.0 + run.count / 30)
    ages = [row.latency for row in diary.rows]
    done = [row for row in diary.rows if row.kind == "done"]
    figures = {
        "p50 ms": round(1e3 * quantile(ages, 0.5), 1), "p99 ms": round(1e3 * quantile(ages, 0.99), 1), "max ms": round(1e3 * max(ages), 1),
        "by the server": sum(row.detail == "cloud" for row in done), "twins": diary.twins, "late": diary.late,
        "dropped": len(diary.rows) - len(done),
    }
    seen = Seen(good=len(done), tried=len(diary.rows), figures=figures, least=0.99)
    if quantile(ages, 0.99) > 0.21:
        raise Broken("p99 of the age at delivery is above the deadline and 10 ms", seen)
    return seen


@promise(10, "a herd: all devices back soon after their server restarts", quick=16, full=64)
def herd(run: Run) -> Seen:
    """Killed for 3 s: every device has a result of the new life within 5 s, and the server's core is busy for no more than 3 s."""
    with Server("chaos.steps:steps", "--executor", "thread", "--workers", "1") as server:
        plan = Plan(
            port=server.port, out=str(run.folder / "out"), devices=run.count, fps=2.0, seconds=16.0, nbytes=2_000, deadline=0.5,
        )
        with launch(plan) as device:
            time.sleep(3.0)
            listened = _kill_for(server, 3.0)
            busy = _busy_seconds(server.pid, 6.0)
            diary = device.diary(60.0)
    backs = [
        (first_from([row for row in diary.rows if row.device == number], "cloud", listened) or float("inf")) - listened
        for number in range(run.count)
    ]
    good = sum(back <= 5.0 for back in backs)
    return Seen(good=good if busy <= 3.0 else 0, tried=run.count, figures={**_milliseconds(backs), "server busy s": busy})


_JUMPING = """\
import time
_real, _steady = time.time, time.monotonic
def _jumping():
    return _real() + 3600.0 * (int(_steady()) % 3 - 1)
time.time = _jumping
time.time_ns = lambda: int(1e9 * _jumping())
"""
"""A wall clock that steps by an hour every second, back and forth."""


@promise(23, "wall clocks of device and server step by an hour every second: nothing is dropped, nothing times out", quick=5, full=60)
def jumping_clocks(run: Run) -> Seen:
    """30 fps live with a deadline of 500 ms, which a server on the same host meets easily."""
    (run.folder / "sitecustomize.py").write_text(_JUMPING, encoding="utf-8")
    environment = {"PYTHONPATH": os.pathsep.join((str(run.folder), str(ROOT), os.environ.get("PYTHONPATH", "")))}
    with Server("chaos.steps:steps", "--executor", "thread", "--workers", "1", environment=environment) as server:
        plan = Plan(port=server.port, out=str(run.folder / "out"), seconds=float(run.count), deadline=0.5, nbytes=2_000)
        with launch(plan, environment=environment) as device:
            diary = device.diary(60.0 + run.count)
    lost = [text for _, text in diary.notes if "silent" in text or "lost" in text]
    remote = sum(row.kind == "done" and row.detail == "cloud" for row in diary.rows)
    figures = {"links lost": len(lost), "by the server": remote}
    return Seen(good=0 if lost else sum(row.kind == "done" for row in diary.rows), tried=len(diary.rows), figures=figures)


def _busy_seconds(pid: int, seconds: float) -> float:
    """For how long a process had more than 90 % of a core."""
    process, busy = psutil.Process(pid), 0.0
    process.cpu_percent()
    for _ in range(int(seconds / 0.5)):
        busy += 0.5 * (process.cpu_percent(0.5) > 90.0)
    return busy
