"""A server in a process of its own that tells how it stands: `python -m chaos.watched '{"app": ...}'`.

It says its port, then answers each line on standard input by a line of JSON, until standard input ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil

from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors import ProcessExecutor, ThreadExecutor
from tasks import load
from wire.heap import keep_freed_memory

__all__ = ["Watched"]


class _Mallinfo(ctypes.Structure):
    """mallinfo2 of glibc, over all arenas, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]


class Watched:
    """The server as the test sees it.

    Args:
        app: "module:attribute".
        options: of Server; workers: threads, or with `processes` processes.
        work: seconds the stages of chaos.apps take that ask for it.
    """

    def __init__(self, app: str, *, workers: int = 1, processes: bool = False, work: float = 0.01, **options: Any) -> None:
        plan = json.dumps({"app": app, "workers": workers, "processes": processes, "options": options})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.watched", plan], cwd=Path(__file__).resolve().parents[1], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "SPILLWAY_CHAOS_WORK_S": str(work)},
        )
        self.port = int(self._read() or 0)
        if not self.port:
            raise RuntimeError("the server did not start")
        self.seen = psutil.Process(self._process.pid)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def rss(self) -> int:
        """Bytes of memory it has now, of its worker processes too."""
        return int(sum(process.memory_info().rss for process in (self.seen, *self.seen.children(recursive=True))))

    def descriptors(self) -> int:
        """Open files, sockets and pipes."""
        return int(self.seen.num_fds())

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        times = self.seen.cpu_times()
        return float(times.user + times.system)

    def state(self) -> dict[str, Any]:
        """Its statistics; `charges`: bytes by device; `resident` and, of that, `freed`: bytes malloc keeps for what comes next."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._read())
        return told

    def wait_for(self, what: str, value: object, patience: float) -> bool:
        """True as soon as a figure has this value; False when patience is over."""
        until = time.monotonic() + patience
        while self.state()[what] != value:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _freed() -> int:
    """Bytes that were freed and that malloc keeps for what comes next; 0 where it does not say."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    return int(mallinfo().fordblks)


def _resident() -> int:
    """Bytes of memory this process has now."""
    return int(psutil.Process().memory_info().rss)


def _tell(server: Server) -> dict[str, Any]:
    told = msgspec.structs.asdict(server.statistics())
    charges: dict[str, int] = {}
    for session in list(server.scheduler.sessions.values()):
        charges[session.device] = charges.get(session.device, 0) + session.account.charge
    return {**told, "charges": charges, "resident": _resident(), "freed": _freed()}


def _main(plan: dict[str, Any]) -> None:
    keep_freed_memory(one_arena=True)
    app = load(plan["app"])
    apps, workers = {app.name: app}, plan["workers"]
    notes: list[str] = []
    executor = ProcessExecutor({app.name: plan["app"]}, workers) if plan["processes"] else ThreadExecutor(apps, workers)
    server = Server(apps, executor, port=0, on_note=lambda level, text: notes.append(text), **plan["options"])
    thread = serve_in_thread(server)
    print(server.port, flush=True)
    for _ in sys.stdin:
        fresh, notes[:] = list(notes), []
        print(msgspec.json.encode({**_tell(server), "notes": fresh}).decode(), flush=True)
    server.stop()
    thread.join(8.0)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
