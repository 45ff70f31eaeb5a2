"""The apps that devices ship, in the body: each checked, then given processes of its own, until it is dropped.

    LoadBundle -> signers, wire.bundle.verify -> processes -> BundleLoaded, or BundleFailed      on a thread of its own

The server's loop hands the bytes on and hears of the end. It never opens them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cloud_server.events import BatchDone, BundleFailed, BundleLoaded, Event, JobDone, JobKey, LoadBundle, Preload, RunBatch, Withdraw
from cloud_server.executors.confine import Limits
from cloud_server.executors.process import ProcessExecutor
from cloud_server.executors.sandbox import Sandbox
from cloud_server.executors.seam import Deliver, ExecutorError, OnNote, Want, silent
from cloud_server.executors.shipped_child import BOOT, ShippedSetup
from cloud_server.executors.worker_process import WorkerProcess
from cloud_server.offer import AppInfo, ShipConfig
from tasks.run import RESIDENT
from wire.bundle import BundleError, Expected, Header, verify
from wire.keyring import read_keyring
from wire.keys import KeyProblem
from wire.messages import MAX_STAGES
from wire.protocol import Payload

__all__ = ["Shipping"]

_LOAD_S = 30.0
"""Seconds a shipped app has to be loaded and set up."""
_VARIANTS = 256
_LOOK_S = 2.0
"""Seconds between two looks at the signers, as long as their apps are here."""
_KEPT = frozenset({"PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
"""Of the environment: what says where libraries are."""
_SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Libraries that start threads when imported would do so before rights are given up."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class _Loaded:
    """One shipped app and its processes."""

    def __init__(self, command: LoadBundle, header: Header, executor: ProcessExecutor) -> None:
        self.session = command.session
        self.signer = header.signer
        self.executor = executor
        self.batches: dict[int, RunBatch] = {}


class Shipping:
    """Takes bundles, at most as the scheduler allows.

    Args:
        config: how many, how large, how many processes each.
        signers: the keyring of those whose apps are taken; read at each bundle, and every two seconds for those that are here.
        sandbox: what their processes may; seconds: how long a job of theirs may take, 0 for any time.
        resident: variants that one of their processes keeps loaded.
    """

    def __init__(
        self, config: ShipConfig, signers: str | os.PathLike[str], sandbox: Sandbox, *, seconds: float = 10.0, on_note: OnNote = silent,
        resident: int = RESIDENT,
    ) -> None:
        self.config = config
        self._signers = Path(signers).expanduser()
        self._sandbox = sandbox
        self._resident = resident
        self._limits = Limits(memory=sandbox.memory, seconds=seconds)
        self._on_note = on_note
        self._server = ""
        self._put: Callable[[Event], None]
        self._deliver: Deliver
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._loaded: dict[str, _Loaded] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def start(self, server: str, put: Callable[[Event], None], deliver: Deliver) -> None:
        """From here on bundles may come; `server` is the name they must be for."""
        self._server, self._put, self._deliver = server, put, deliver
        self._begin(self._watch)

    # -- commands, on the loop's thread ------------------------------------------------------------

    def load(self, command: LoadBundle, payload: Payload) -> None:
        """Check a bundle and start its processes; never blocks."""
        with self._lock:
            self._wanted.add(command.app)
        self._begin(self._load, command, payload)

    def drop(self, app: str) -> None:
        """End its processes; what they had to do is answered as failed."""
        with self._lock:
            self._wanted.discard(app)
            loaded = self._loaded.pop(app, None)
        if loaded is not None:
            self._begin(self._end, loaded, 1.0)

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """As Executor.submit."""
        with self._lock:
            loaded = self._loaded.get(command.app)
            if loaded is not None:
                loaded.batches[command.batch] = command
        if loaded is None:
            self._fail(command)
        else:
            loaded.executor.submit(command, inputs, wants)

    def preload(self, command: Preload) -> None:
        """As Executor.preload."""
        with self._lock:
            loaded = self._loaded.get(command.app)
        if loaded is not None:
            loaded.executor.preload(command)

    def withdraw(self, command: Withdraw) -> None:
        """As Executor.withdraw."""
        with self._lock:
            loaded = self._loaded.get(command.app)
        if loaded is not None:
            loaded.executor.withdraw(command)

    def close(self, patience: float = 5.0) -> None:
        """End everything within about `patience` seconds."""
        self._closed.set()
        with self._lock:
            self._wanted.clear()
            loaded, self._loaded = list(self._loaded.values()), {}
        for each in loaded:
            self._begin(self._end, each, patience)
        until = time.monotonic() + patience + 1.0
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # -- threads -----------------------------------------------------------------------------------

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=f"shipping {work.__name__}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _load(self, command: LoadBundle, payload: Payload) -> None:
        try:
            header = self._verify(command, payload)
            info = self._launch(command, header, bytes(payload.buffers[0]))
        except (BundleError, KeyProblem, ExecutorError, OSError) as error:
            self._on_note("warning", f"the app {command.name!r} that {command.device} ships is refused: {error}")
            with self._lock:
                self._loaded.pop(command.app, None)
            self._put(BundleFailed(command.session, str(error)))
            return
        if info is None:
            return  # dropped while it was starting
        self._on_note("info", f"{command.device} ships {command.name!r}, made by {self._names().get(header.signer, 'one since revoked')}")
        self._put(BundleLoaded(command.session, info, header.expires - time.time(), self.config.workers))

    def _verify(self, command: LoadBundle, payload: Payload) -> Header:
        if len(payload.buffers) != 1:
            raise BundleError(f"no bundle: {len(payload.buffers)} buffers, it has one")
        expected = Expected(
            digest=command.digest, app=command.name, app_version=command.version, fingerprint=command.fingerprint, device=command.device,
            server=self._server, python=PYTHON,
        )
        return verify(bytes(payload.head), payload.buffers[0], expected=expected, trusted=self._names(), now=time.time())

    def _launch(self, command: LoadBundle, header: Header, body: bytes) -> AppInfo | None:
        first = [msgspec.msgpack.encode(ShippedSetup(command.app, header.unpacked, self._sandbox, self._resident)), body]
        started: list[WorkerProcess] = []

        def launch(place: int) -> WorkerProcess:
            process = WorkerProcess({}, boot=BOOT, first=first, environ=_environ(), on_note=self._on_note)
            started[:] = started or [process]
            return process

        executor = ProcessExecutor({}, self.config.workers, limits=self._limits, on_note=self._on_note, launch=launch)
        loaded = _Loaded(command, header, executor)
        timer = threading.Timer(_LOAD_S, executor.close, (0.0,))
        timer.daemon = True
        timer.start()
        try:
            executor.start(lambda done, results: self._answered(loaded, done, results))
        finally:
            timer.cancel()
        with self._lock:
            if command.app in self._wanted:
                self._loaded[command.app] = loaded
                return _checked(started[0].app)
        executor.close(0.0)
        return None

    def _end(self, loaded: _Loaded, patience: float) -> None:
        loaded.executor.close(patience)
        with self._lock:
            left, loaded.batches = list(loaded.batches.values()), {}
        for command in left:
            self._fail(command)

    def _watch(self) -> None:
        """Apps whose signer lost his right end."""
        while not self._closed.wait(_LOOK_S):
            with self._lock:
                loaded = list(self._loaded.values())
            try:
                trusted = self._names() if loaded else {}
            except (KeyProblem, OSError) as error:
                self._on_note("error", f"the signers cannot be read, so nobody is one: {error}")
                trusted = {}
            for each in loaded:
                if each.signer not in trusted:
                    self._put(BundleFailed(each.session, "its signer is no longer trusted here"))

    # -- answers -----------------------------------------------------------------------------------

    def _answered(self, loaded: _Loaded, done: BatchDone, results: dict[JobKey, Payload]) -> None:
        with self._lock:
            known = loaded.batches.pop(done.batch, None)
        if known is not None:
            self._deliver(done, results)

    def _fail(self, command: RunBatch) -> None:
        text = "the processes of this shipped app have ended"
        jobs = tuple(JobDone(session, seq, "failed", command.start, text) for session, seq in command.jobs)
        self._deliver(BatchDone(command.batch, jobs), {})

    def _names(self) -> dict[bytes, str]:
        return {key: name for name, key in read_keyring(self._signers).items()}


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    return {**kept, **_SINGLE, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


def _checked(info: AppInfo | None) -> AppInfo:
    """What a worker says of its app, if it makes sense: the app's code runs there, and may have said anything.

    Raises:
        BundleError: it makes none.
    """
    if info is None:
        raise BundleError("its workers do not say what they run")
    n = len(info.stages)
    per_stage = {len(info.here), len(info.batched), len(info.once) or n, len(info.stateful) or n} == {n}
    if not 0 < n <= MAX_STAGES or not per_stage or not all(0 <= stage < n for stage in info.lacks):
        raise BundleError("its workers say what makes no sense of its stages")
    per_variant = len(info.accuracies) == len(info.variants) <= _VARIANTS and len(info.varies) in (0, n)
    if not per_variant or not all(0.0 <= accuracy <= 1.0 for accuracy in info.accuracies):
        raise BundleError("its workers say what makes no sense of its variants")
    per_entrant = {len(info.batches), len(info.unfit)} == ({0} if info.race < 0 else {len(info.variants)})
    if not per_entrant or not -1 <= info.race < n or (info.race >= 0 and not info.variants):
        raise BundleError("its workers say what makes no sense of its race")
    return info
