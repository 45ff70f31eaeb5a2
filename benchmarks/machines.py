"""What a frame costs in both machines and in the encoding of its messages: one process, one thread, no sockets, no stages.

Everything that happens for every frame on its way to a server and back, but for the bodies: each command is carried
out at once, each message encoded and decoded again. The figure is CPU time of this thread, so a busy host spoils it
less than it would a clock's; the least of many short rounds is the one that was disturbed least.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import thread_time
from types import FrameType
from typing import Any

from benchmarks.report import Report, arguments, median
from cloud_server import events as server_events
from cloud_server.handshake import AppInfo, SchedulerConfig
from cloud_server.scheduler import Scheduler
from iot_client import events as device_events
from iot_client.session import Session, SessionConfig
from wire import protocol
from wire.protocol import Hello, Payload

__all__ = ["Machines", "calls_per_frame", "main"]

STAGES = ("source", "a", "b", "c")
EPOCH, SESSION = 9, 7
FRAMES = 2000
IMAGE = Payload(b"\x01" * 40, (memoryview(bytes(640 * 480 * 3)),), "sig")
VALUE = 40
"""Bytes of a result."""


class Machines:
    """A device and its server in lock step: what one says the other hears at once. One stage here, three there."""

    def __init__(self) -> None:
        hello = Hello(protocol.MINOR, "cam", "app", "1", "f", STAGES, mode="lossless", codecs=protocol.CODECS)
        self.delivered = 0
        self.device = Session(SessionConfig(
            session=SESSION, n=4, split=1, pivot=4, splits=(False, True, True, True, True), stateful=(False,) * 4, once=(False,) * 4,
            hello=hello,
        ))
        app = AppInfo(name="app", version="1", fingerprint="f", stages=STAGES, here=(False, True, True, True), batched=(False,) * 4)
        self.server = Scheduler(SchedulerConfig(server="server", epoch=EPOCH, apps={"app": app}))
        self._now = 0.0
        self._captured = self._token = 0
        self._todo: deque[Any] = deque()
        self._carry_out: dict[type, Callable[[Any], None]] = {
            device_events.Capture: self._capture, device_events.RunStages: self._run_stages, device_events.SendMessage: self._submit,
            device_events.Deliver: self._deliver, server_events.RunBatch: self._run_batch, server_events.SendMessage: self._answer,
        }
        self._todo.extend(self.device.start())
        self._tell_device(device_events.LinkUp())

    def run(self, frames: int) -> None:
        """Deliver so many more."""
        goal, todo, carry_out = self.delivered + frames, self._todo, self._carry_out
        while self.delivered < goal:
            if not todo:
                self._now += 0.01
                self._tell_device(device_events.Tick())
                self._tell_server(server_events.Tick())
                continue
            self._now += 1e-5
            command = todo.popleft()
            if (act := carry_out.get(type(command))) is not None:
                act(command)

    def _tell_device(self, event: device_events.Event) -> None:
        self._todo.extend(self.device.handle(event, self._now))
        self.device.next_wakeup()

    def _tell_server(self, event: server_events.Event) -> None:
        self._todo.extend(self.server.handle(event, self._now))
        self.server.next_wakeup()

    def _capture(self, command: device_events.Capture) -> None:
        self._captured += 1
        self._tell_device(device_events.FrameCaptured(self._captured - 1, self._now, 640 * 480 * 3))

    def _run_stages(self, command: device_events.RunStages) -> None:
        nbytes = IMAGE.nbytes if command.encode else 0
        times = (1e-4,) * (command.stop - command.start)
        self._tell_device(device_events.StagesDone(command.seq, command.start, command.stop, "done", times, nbytes=nbytes, signature="sig"))

    def _submit(self, command: device_events.SendMessage) -> None:
        parts = protocol.encode(command.session, command.epoch, command.message, IMAGE if command.payload >= 0 else None)
        came = protocol.decode(parts)
        self._token += came.payload is not None
        token, nbytes = (self._token, came.payload.nbytes) if came.payload is not None else (0, 0)
        self._tell_server(server_events.MessageReceived(b"link", came.message, came.session, came.epoch, nbytes, token))

    def _run_batch(self, command: server_events.RunBatch) -> None:
        jobs = tuple([server_events.JobDone(session, seq, "done", nbytes=VALUE, signature="sig") for session, seq in command.jobs])
        self._tell_server(server_events.BatchDone(command.batch, jobs, (1e-4,) * (command.stop - command.start)))

    def _answer(self, command: server_events.SendMessage) -> None:
        value = None if command.payload is None else Payload(bytes(VALUE))
        came = protocol.decode(protocol.encode(command.session, EPOCH, command.message, value))
        nbytes = 0 if came.payload is None else came.payload.nbytes
        self._tell_device(device_events.MessageReceived(came.message, came.session, came.epoch, nbytes))

    def _deliver(self, command: device_events.Deliver) -> None:
        self.delivered += 1


def calls_per_frame(frames: int = 500) -> dict[str, float]:
    """Calls of Python functions per frame by package, this module's own apart: a cost that no other program disturbs."""
    machines = Machines()
    machines.run(frames)
    counts: dict[str, int] = {}

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            counts[package] = counts.get(package, 0) + 1

    sys.setprofile(count)
    try:
        machines.run(frames)
    finally:
        sys.setprofile(None)
    return {package: counts.get(package, 0) / frames for package in ("iot_client", "cloud_server", "wire", "metrics")}


def _rounds(count: int, frames: int) -> Iterator[float]:
    """Microseconds of CPU a frame, round by round; each on machines of its own that have run before."""
    for _ in range(count):
        machines = Machines()
        machines.run(frames // 4)
        before = thread_time()
        machines.run(frames)
        yield (thread_time() - before) / frames * 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("machines", "What a frame costs in both machines and the codec of messages.", rounds=30).parse_args(argv)
    count = 3 if options.quick else options.rounds
    report = Report("machines", f"a 640x480 frame there and back, {count} rounds of {FRAMES}; no sockets, no stages")
    took = sorted(_rounds(count, FRAMES))
    row = ["both machines, 2 messages", took[0], median(took), took[-1]]
    report.table("microseconds of CPU a frame", ("what", "least", "median", "most"), [row])
    calls = calls_per_frame()
    rows = [[package, count] for package, count in (*calls.items(), ("together", sum(calls.values())))]
    report.table("calls of Python functions a frame", ("package", "calls"), rows)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
