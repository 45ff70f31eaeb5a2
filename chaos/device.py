"""A device as a process of its own, for faults: frames at a steady rate, and every result with the time it came.

    python -m chaos.device PLAN.json

It says `playing` when it is served, and `over` when every frame has its outcome; then `out` holds a Diary.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec

from chaos.steps import picture
from iot_client import Client, Done, Dropped, Failed, Result
from tasks import END
from tasks.app import load
from tasks.plain import to_plain

__all__ = ["Diary", "Plan", "Row", "clip_of", "main"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one process runs. `fps` 0 reads as fast as permitted; `deadline` 0 is none; `devices` run side by side.

    Without a `clip` frames are noise of `nbytes` bytes; of a clip the first 64 frames are repeated.
    """

    app: str = "chaos.steps:steps"
    host: str = "127.0.0.1"
    port: int
    out: str
    split: int = 2
    mode: str = "live"
    deadline: float = 0.0
    fps: float = 30.0
    frames: int = 0
    seconds: float = 0.0
    nbytes: int = 20_000
    clip: str = ""
    window: int = 0
    devices: int = 1
    keep: bool = False
    local: bool = False


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One result: time.monotonic() when it came, its device, seq, how and where it ended, age and value."""

    at: float
    device: int
    seq: int
    kind: str
    detail: str
    latency: float
    value: Any = None


class Diary(msgspec.Struct, frozen=True, kw_only=True):
    """All that came of a Plan; `cpu` in seconds from the first to the last frame."""

    rows: list[Row]
    notes: list[tuple[float, str]]
    captured: int
    in_flight: int
    resent: int
    late: int
    twins: int
    bytes_sent: int
    cpu: float
    began: float
    ended: float


class _Frames:
    """A source of known frames."""

    def __init__(self, plan: Plan) -> None:
        self._items = clip_of(plan.clip) if plan.clip else [picture(index, plan.nbytes) for index in range(32)]
        self._plan = plan
        self._count = 0
        self._began = 0.0
        self._over = threading.Event()

    def read(self) -> Any:
        """The next frame when it is due."""
        plan, now = self._plan, time.monotonic()
        self._began = self._began or now
        if (plan.frames and self._count >= plan.frames) or (plan.seconds and now - self._began >= plan.seconds):
            return END
        if plan.fps:
            # A camera: what it showed while nobody looked is gone.
            slot = max(self._count, int((now - self._began) * plan.fps)) if plan.mode == "live" else self._count
            due = self._began + (slot + 1) / plan.fps
            if due > now and self._over.wait(due - now):
                return END
        elif self._over.is_set():
            return END
        self._count += 1
        return self._items[(self._count - 1) % len(self._items)].copy()

    def close(self) -> None:
        """Ends a read() that waits."""
        self._over.set()


def clip_of(path: str) -> list[Any]:
    """The first 64 pictures of a clip."""
    reader = cv2.VideoCapture(path)
    frames: list[Any] = []
    while len(frames) < 64:
        good, image = reader.read()
        if not good:
            break
        frames.append(image)
    return frames


def _row(device: int, result: Result, keep: bool) -> Row:
    outcome = result.outcome
    if isinstance(outcome, Done):
        detail = outcome.where
    elif isinstance(outcome, Dropped):
        detail = outcome.reason
    else:
        detail = outcome.error if isinstance(outcome, Failed) else str(outcome.stage)
    value = to_plain(result.value) if keep else None
    return Row(time.monotonic(), device, result.seq, type(outcome).__name__.lower(), detail, result.latency, value)


def main() -> None:
    """Run the plan."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    cv2.setNumThreads(1)
    app = load(plan.app)
    notes: list[tuple[float, str]] = []
    rows: list[Row] = []
    clients = [
        Client(
            app, host=None if plan.local else plan.host, port=plan.port, mode=plan.mode, split=app.n if plan.local else plan.split,
            source=_Frames(plan), window=plan.window, deadline=plan.deadline or None, device=f"device{index}", connect_timeout=20.0,
            on_note=lambda level, text: notes.append((time.monotonic(), f"{level}: {text}")),
        )
        for index in range(plan.devices)
    ]

    def collect(index: int, client: Client) -> None:
        for result in client.results():
            rows.append(_row(index, result, plan.keep))

    for client in clients:
        client.start()
    print("playing", flush=True)
    began, before = time.monotonic(), time.process_time()
    readers = [threading.Thread(target=collect, args=each) for each in enumerate(clients)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    cpu, ended = time.process_time() - before, time.monotonic()
    all_of = [client.statistics() for client in clients]
    for client in clients:
        client.close()
    diary = Diary(
        rows=rows, notes=notes, captured=sum(each.captured for each in all_of), in_flight=sum(each.in_flight for each in all_of),
        resent=sum(each.resent for each in all_of), late=sum(each.late_results for each in all_of),
        twins=sum(each.twins for each in all_of), bytes_sent=sum(each.bytes_sent for each in all_of), cpu=cpu, began=began, ended=ended,
    )
    Path(plan.out).write_bytes(msgspec.msgpack.encode(diary))
    print("over", flush=True)


if __name__ == "__main__":
    main()
