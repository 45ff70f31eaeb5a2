"""A worker process: what it is told, what it tells, and its main loop.

    Setup -> Ready                   once: load the apps, set their stages up
    Order + payloads -> Answer + payloads      one batch after the other
    Load -> Holds                    load variants on another thread; Holds also after a batch that changed what is loaded
    (end of line) -> Leaving         close the stages, then exit

Signals are the parent's business: Ctrl-C and a service manager's SIGTERM reach the whole group, and the jobs
under way shall still be answered. The child ends when its line does; if the parent dies, at once.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Union

import msgspec
from msgspec.structs import replace

from cloud_server.events import BatchDone, JobKey, RunBatch, state_key
from cloud_server.executors.confine import Limits, confine, follow
from cloud_server.executors.parcels import Line
from cloud_server.executors.loader import Loader
from cloud_server.executors.seam import ExecutorError, Want
from cloud_server.executors.worker import Worker
from cloud_server.offer import AppInfo
from tasks import Residency, TaskError, load
from tasks.run import RESIDENT
from wire.heap import keep_freed_memory, settle
from wire.protocol import Payload

__all__ = [
    "BOOT", "Answer", "FromChild", "FromParent", "Holds", "Leaving", "Load", "Order", "Ready", "Setup", "carried", "flatten", "main",
    "serve", "unflatten",
]

BOOT = "import sys; sys.path[:] = sys.argv[3:]; from cloud_server.executors.child import main; main(*map(int, sys.argv[1:3]))"
"""`python -c BOOT DESCRIPTOR PARENT_PID PATH...` is a worker with the parent's module search path."""
_NAME = 40
"""Characters of an error's text in which its class is named."""
_TELL_S = 0.5
_PROBLEM = 1000
_LINGER = 0.3
"""Seconds that stages' threads get to end by themselves."""


class Setup(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """First message: where the apps are, "module:attribute" by name, what the process may use, and how many variants it keeps."""

    apps: dict[str, str]
    limits: Limits
    resident: int = RESIDENT


class Order(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Run a batch, see RunBatch; job i's payload is a head and `counts[i]` buffers; a state is one more."""

    batch: int
    app: str
    start: int
    stop: int
    jobs: tuple[JobKey, ...]
    wants: tuple[Want, ...]
    submitted: float
    counts: tuple[int, ...]
    slack: tuple[float | None, ...] = ()
    variant: str = ""
    starts: tuple[int, ...] = ()


class Load(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Have these variants of an app ready, the most wanted first."""

    app: str
    variants: tuple[str, ...]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Set up, or, if `problem` is not empty, about to exit. `app` describes the one a worker of a shipped app has."""

    problem: str = ""
    app: AppInfo | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """What came of an Order; `counts` is for the jobs that are done, in order, then for the states made."""

    done: BatchDone
    counts: tuple[int, ...]


class Holds(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What is loaded of each app with variants and how batches met it.

    After a Load of `app` it says that this is over, and the `problem`, if something could not be loaded.
    """

    apps: dict[str, Residency]
    app: str = ""
    problem: str = ""


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Last message: stages that did not close."""

    problems: tuple[str, ...]


FromParent = Union[Setup, Order, Load]
FromChild = Union[Ready, Answer, Holds, Leaving]

_DECODE = msgspec.msgpack.Decoder(FromParent).decode
_ENCODE = msgspec.msgpack.Encoder().encode


def flatten(payloads: Iterable[Payload]) -> tuple[tuple[int, ...], list[Any]]:
    """How many buffers each payload has, and all heads and buffers in a row."""
    counts, parts = [], []
    for payload in payloads:
        counts.append(len(payload.buffers))
        parts.append(payload.head)
        parts.extend(payload.buffers)
    return tuple(counts), parts


def unflatten(counts: Iterable[int], parts: Sequence[Any]) -> Iterable[tuple[Any, tuple[Any, ...]]]:
    """Undo `flatten`: (head, buffers) of each payload."""
    at = 0
    for count in counts:
        yield parts[at], tuple(parts[at + 1 : at + 1 + count])
        at += 1 + count


def main(descriptor: int, parent: int) -> None:
    """The life of a worker process."""
    follow(parent)
    line = Line(socket.socket(fileno=descriptor))
    parcel = line.receive()
    if parcel is None:
        return
    setup = _DECODE(parcel[0])
    assert isinstance(setup, Setup)
    try:
        keep_freed_memory()  # a network's layers are allocated and freed for every batch
        confine(setup.limits)
        worker = Worker({name: load(path) for name, path in setup.apps.items()}, setup.resident)
        worker.setup()
    except (ExecutorError, TaskError, OSError, ValueError) as error:
        line.send([_ENCODE(Ready(str(error) or type(error).__name__))])
        return
    serve(line, worker, Ready())


def serve(line: Line, worker: Worker, ready: Ready) -> None:
    """Say so, then answer orders to the end of the line."""
    settle()
    line.send([_ENCODE(ready)])
    holds = _Teller(line, worker)
    loader = Loader(lambda _, app, problem: holds.tell(app, problem))
    holds.tell()
    while _serve(line, worker, loader):
        holds.tell()
    loader.close(0.0)
    line.send([_ENCODE(Leaving(tuple(worker.close())))])
    late = threading.Timer(_LINGER, os._exit, (0,))  # threads that a stage started and nobody ends
    late.daemon = True
    late.start()


class _Teller:
    """Tells the server what is loaded here when that has changed, and how it was met twice a second."""

    def __init__(self, line: Line, worker: Worker) -> None:
        self._line, self._worker = line, worker
        self._told: dict[str, Residency] = {}
        self._again_at = 0.0
        self._lock = threading.Lock()

    def tell(self, app: str = "", problem: str = "") -> None:
        """Look, and tell what is news, as the end of a Load always is; on any thread."""
        with self._lock:
            apps, now = self._worker.residency(), monotonic()
            changed = any(_without_hits(each) != _without_hits(self._told.get(name)) for name, each in apps.items())
            if not app and not changed and (now < self._again_at or apps == self._told):
                return
            self._told, self._again_at = apps, now + _TELL_S
            try:
                self._line.tell(_ENCODE(Holds(apps, app, problem[:_PROBLEM])))
            except (OSError, ValueError):
                pass  # the server is gone, or has more variants than a word can name: it is told less, no more


def _without_hits(held: Residency | None) -> tuple[object, ...]:
    return () if held is None else (held.loaded, held.misses, held.swaps)


def _serve(line: Line, worker: Worker, loader: Loader) -> bool:
    """Answer one order, or begin to load; False at the end of the line. Nothing of the order is kept when the next is awaited."""
    parcel = line.receive()
    if parcel is None:
        return False
    order = _DECODE(parcel[0])
    if isinstance(order, Load):
        loader.plan(worker, order.app, order.variants)
        return True
    assert isinstance(order, Order)
    inputs = [Payload(head, buffers) for head, buffers in unflatten(order.counts, parcel[1:])]
    del parcel
    command = RunBatch(
        order.batch, order.app, order.start, order.stop, order.jobs, (), slack=order.slack, variant=order.variant, starts=order.starts,
    )
    done, results = worker.run(command, inputs, order.wants, order.submitted)
    del inputs  # before the answer leaves, so that it already gives the input's slot back
    counts, parts = flatten(_in_order(done, results))
    line.send([_ENCODE(Answer(_explained(done), counts)), *parts])
    return True


def _explained(done: BatchDone) -> BatchDone:
    """The answer, with what may be done about memory that this process was refused."""
    if not any("MemoryError" in job.error[:_NAME] for job in done.jobs if job.error):
        return done
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return done
    hint = f" (this worker may have {limit / 2**20:.0f} MiB: cloud-server --worker-memory)"
    jobs = (replace(job, error=job.error + hint) if "MemoryError" in job.error[:_NAME] else job for job in done.jobs)
    return replace(done, jobs=tuple(jobs))


def _in_order(done: BatchDone, results: dict[JobKey, Payload]) -> list[Payload]:
    return [results[key] for key, _ in carried(done)]


def carried(done: BatchDone) -> list[tuple[JobKey, str]]:
    """The payloads that come with an answer, in order: key and signature of each."""
    values = [((job.session, job.seq), job.signature) for job in done.jobs if job.kind == "done"]
    return values + [(state_key(job.session, job.seq), "") for job in done.jobs if job.state]
