"""One worker process, seen from the server: how it is started, fed, read and buried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

import msgspec
import psutil

from cloud_server.events import RunBatch
from cloud_server.executors.answers import check_answer
from cloud_server.executors.child import BOOT, Answer, FromChild, Load, Order, Setup, flatten
from cloud_server.executors.confine import Limits
from cloud_server.executors.output import Output
from cloud_server.executors.parcels import Line, line_pair
from cloud_server.executors.seam import OnNote, Want, silent
from cloud_server.offer import AppInfo
from tasks import Residency
from tasks.run import RESIDENT
from wire.protocol import Payload

__all__ = ["Job", "WorkerProcess"]

_PREFETCH_BELOW = 0.002
"""Batches shorter than this, in seconds, get the next one sent ahead: it hides the hop between the processes
(0.1 to 0.3 ms). Behind a longer one the gain is small, and a job behind one that hangs waits until that is killed, as do
all later frames of its stream."""

_HOP = 0.001
_NO_LIMITS = Limits()
_CRASH = "Fatal Python error: "
"""How the standard library's faulthandler begins."""

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

    The line ends with the process, unless a child of a stage holds on to it; `end` is readable when the process is
    gone in any case, if this system has such descriptors (else it is -1).

    Args:
        paths: "module:attribute" by app name.
        limits: what it may use; resident: variants of each app that it keeps loaded.
        on_note: told of what it prints.
        boot: the program, given the line's descriptor, our process number and the module search path.
        first: what it is told first, instead of `paths` and `limits`.
        environ: its environment, default ours.

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self, paths: Mapping[str, str], limits: Limits = _NO_LIMITS, *, on_note: OnNote = silent, boot: str = BOOT,
        first: Sequence[Any] = (), environ: Mapping[str, str] | None = None, resident: int = RESIDENT,
    ) -> None:
        self.ready = False
        self.app: AppInfo | None = None
        self._gone = False
        self.problem = ""
        self.jobs: deque[Job] = deque()
        self.holds: Mapping[str, Residency] = {}
        self.busy = 0.0
        self.since = 0.0
        ours, theirs = line_pair()
        with theirs:
            self.line = Line(ours)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", boot, str(theirs.fileno()), str(os.getpid()), *sys.path], env=environ, bufsize=0,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError:
                self.line.close()
                raise
        self.end = _end_of(self._process.pid)
        assert self._process.stdout is not None
        self._output = Output(self._process.stdout, lambda line: on_note("info", f"worker process {self.pid}: {line}"))
        self.line.send(first or [_ENCODE(Setup(dict(paths), limits, resident))])

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def room(self) -> bool:
        """True if it can be given one more job now."""
        if not self.ready or self._gone:
            return False
        usual = 2 * self.busy + _HOP
        return not self.jobs or (len(self.jobs) == 1 and self.busy < _PREFETCH_BELOW and monotonic() - self.since < usual)

    def give(self, job: Job) -> bool:
        """Send a job; False if the process is gone (its end of line is still to be read).

        Raises:
            OSError: there is no memory for its inputs.
        """
        command = job.command
        counts, parts = flatten(job.inputs)
        order = Order(
            command.batch, command.app, command.start, command.stop, command.jobs, tuple(job.wants), job.submitted, counts,
            command.slack, command.variant, command.starts,
        )
        try:
            self.line.send([_ENCODE(order), *parts])
        except (BrokenPipeError, ConnectionResetError) as error:
            self._gone = True
            self.line.unread |= isinstance(error, ConnectionResetError)  # said once, here or to `receive`
            return False
        if not self.jobs:
            self.since = monotonic()
        self.jobs.append(job)
        return True

    def load(self, app: str, variants: tuple[str, ...]) -> None:
        """Have it load variants beside its work."""
        try:
            self.line.send([_ENCODE(Load(app, variants))])
        except OSError:
            self._gone = True  # its end of line is still to be read

    def has(self, app: str, variant: str) -> bool:
        """True if a batch of this variant would not wait for a load."""
        return not variant or (app in self.holds and variant in self.holds[app].loaded)

    def answered(self, busy: float) -> None:
        """The oldest job is done, after so many seconds at work."""
        self.jobs.popleft()
        self.busy = busy
        self.since = monotonic()

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

    def memory(self) -> int:
        """Bytes it has in memory; 0 if it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def last_words(self) -> str:
        """What it printed last, if it has ended, as the end of a sentence about it; or nothing."""
        words = self._output.last_words()
        return f"; it said last: {words}" if words else ""

    def place(self) -> str:
        """Where it was when it crashed, in the same form: nothing that a stage printed, which may be another device's."""
        said = self._output.last_words()
        at = said.find(_CRASH)
        return f"; {said[at + len(_CRASH) :]}" if at >= 0 else ""

    def bury(self, patience: float = 0.0) -> str:
        """Wait for its end, killing it after `patience` seconds; returns how it ended, in words."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
            if code == -signal.SIGKILL and patience:  # else it was on its way out, and its code is its own
                self.problem = self.problem or "closed its line to the server and was killed"
        self.kill()  # whatever a stage started and left behind
        self.line.close()
        if self.end >= 0:
            os.close(self.end)
            self.end = -1
        return self.problem or _how(code)

    def kill(self) -> None:
        """End the process and all its stages started, which are a session of their own."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left, or only those who took another user's name


def _end_of(pid: int) -> int:
    """A descriptor that is readable once the process has ended, -1 where there are none (before Linux 5.3)."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; was it out of memory?" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({name}){hint}"
