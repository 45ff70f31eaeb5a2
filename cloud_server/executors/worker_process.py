"""One worker process, seen from the server: how it is started, fed, read and buried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cloud_server.events import RunBatch
from cloud_server.executors.answers import check_answer
from cloud_server.executors.child import BOOT, Answer, FromChild, Order, Setup, flatten
from cloud_server.executors.confine import Limits
from cloud_server.executors.parcels import Line, line_pair
from cloud_server.executors.seam import Want
from cloud_server.handshake import AppInfo
from wire.protocol import Payload

__all__ = ["Job", "WorkerProcess"]

_PREFETCH_BELOW = 0.02
"""Batches shorter than this, in seconds, get the next one sent ahead: it hides the hop between the processes
(0.1 to 0.3 ms). Behind a longer one a job would wait while other workers idle, for a gain under 2 %."""

_NO_LIMITS = Limits()
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(FromChild).decode


class Job(NamedTuple):
    """A batch on its way; `submitted` is the `perf_counter()` of its arrival."""

    command: RunBatch
    inputs: Sequence[Payload]
    wants: Sequence[Want]
    submitted: float


class WorkerProcess:
    """Starts on construction; says `Ready` when its stages are set up.

    Args:
        paths: "module:attribute" by app name.
        limits: what it may use.
        boot: the program, given the line's descriptor, our process number and the module search path.
        first: what it is told first, instead of `paths` and `limits`.
        environ: its environment, default ours; with one of its own it writes to no output of ours either.

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self, paths: Mapping[str, str], limits: Limits = _NO_LIMITS, *, boot: str = BOOT, first: Sequence[Any] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.ready = False
        self.app: AppInfo | None = None
        self._gone = False
        self.problem = ""
        self.jobs: deque[Job] = deque()
        self.busy = 0.0
        ours, theirs = line_pair()
        with theirs:
            self.line = Line(ours)
            try:
                outputs = None if environ is None else subprocess.DEVNULL
                self._process = subprocess.Popen(
                    [sys.executable, "-c", boot, str(theirs.fileno()), str(os.getpid()), *sys.path], env=environ, stdout=outputs,
                    stderr=outputs, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
                )
            except OSError:
                self.line.close()
                raise
        self.line.send(first or [_ENCODE(Setup(dict(paths), limits))])

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def room(self) -> bool:
        """True if it can be given one more job now."""
        return self.ready and not self._gone and len(self.jobs) < (2 if self.busy < _PREFETCH_BELOW else 1)

    def give(self, job: Job) -> bool:
        """Send a job; False if the process is gone (its end of line is still to be read).

        Raises:
            OSError: there is no memory for its inputs.
        """
        command = job.command
        counts, parts = flatten(job.inputs)
        order = Order(
            command.batch, command.app, command.start, command.stop, command.jobs, tuple(job.wants), job.submitted, counts
        )
        try:
            self.line.send([_ENCODE(order), *parts])
        except (BrokenPipeError, ConnectionResetError) as error:
            self._gone = True
            self.line.unread |= isinstance(error, ConnectionResetError)  # said once, here or to `receive`
            return False
        self.jobs.append(job)
        return True

    def read(self) -> tuple[FromChild, list[memoryview]] | None:
        """What it says next, waiting for it; None when it is gone.

        Raises:
            ValueError, and whatever reading it may raise: no worker says that.
        """
        parcel = self.line.receive()
        if parcel is None:
            return None
        message, parts = _DECODE(parcel[0]), parcel[1:]
        if isinstance(message, Answer):
            check_answer(message.done, message.counts, parts, self.jobs[0].command if self.jobs else None)
        return message, parts

    def finish(self) -> None:
        """Let it close its stages and exit after the jobs it has."""
        try:
            self.line.finish()
        except OSError:
            pass  # it is gone already

    def bury(self, patience: float = 0.0) -> str:
        """Wait for its end, killing it after `patience` seconds; returns how it ended, in words."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        self._kill()  # whatever a stage started and left behind
        self.line.close()
        return self.problem or _how(code)

    def _kill(self) -> None:
        """End the process and all its stages started, which are a session of their own."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left, or only those who took another user's name


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; was it out of memory?" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({name}){hint}"
