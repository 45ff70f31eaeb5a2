"""Jobs that devices cancel: what waits leaves the queue and never runs, what runs is counted as wasted, and nobody else is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import cloud_server.events as cloud
from experiments.simulation.record import Begun, Cancelled, Started
from wire.protocol import Cancel, Error, Hello, Submit, Welcome

__all__ = ["CancelCheck"]

_Key = tuple[int, int]
"""(session, seq)."""
_EVENTS = (*get_args(cloud.Event), Cancelled)
_CLOSE = 1e-6
"""Seconds by which two sums may differ."""


class _Job(NamedTuple):
    token: int
    stateful: bool
    """True if others wait for it."""


class CancelCheck:
    """The records of one server, life by life.

    Args:
        problem: is told each promise broken.

    Attributes:
        seen: how many jobs were "withdrawn" from a batch, and "wasted" since one had begun, in all lives.
    """

    def __init__(self, problem: Callable[[str], None]) -> None:
        self._problem = problem
        self.seen: Counter[str] = Counter()
        self._on: dict[type, Callable[[Any], None]] = {
            Started: lambda what: self._new_life(), cloud.MessageReceived: self._heard, cloud.RunBatch: self._runs, Begun: self._begun,
            cloud.Withdraw: self._withdraws, cloud.BatchDone: self._done, cloud.SendMessage: self._said, cloud.Note: self._noted,
            cloud.Release: self._released, Cancelled: self._counted,
        }
        self._new_life()

    def _new_life(self) -> None:
        self._here: dict[_Key, _Job] = {}
        """Jobs that came and did not end."""
        self._keys: dict[int, _Key] = {}
        self._gone: set[_Key] = set()
        """Those of them that were cancelled."""
        self._unrun: set[_Key] = set()
        """Those of them that ended since the last event, and did not run; they may have ended with their session."""
        self._asked: _Key | None = None
        """The job that the last event cancelled."""
        self._devices: dict[int, str] = {}
        self._waits: dict[int, cloud.RunBatch] = {}
        self._runs_now: dict[int, cloud.RunBatch] = {}
        self._left_out: set[tuple[int, _Key]] = set()
        self._acked: dict[int, int] = {}
        self._before = self._while_running = self._passed = 0
        """`_passed`: jobs that ended unrun and were not cancelled, but acked: the device has no use for them either."""
        self._wasted = 0.0

    def see(self, what: Any) -> None:
        """Take what one record tells."""
        if isinstance(what, _EVENTS):
            self._asked = None
            self._before += len(self._unrun)
            self._unrun.clear()
        handler = self._on.get(type(what))
        if handler is not None:
            handler(what)

    # -- what comes in -----------------------------------------------------------------------------

    def _heard(self, what: cloud.MessageReceived) -> None:
        message, key = what.message, (what.session, getattr(what.message, "seq", -1))
        self._acked[what.session] = max(self._acked.get(what.session, 0), getattr(message, "acked", 0))
        if type(message) is Hello:
            self._devices[what.session] = message.device
        elif type(message) is Submit and what.token:
            self._keys[what.token] = key
            self._here.setdefault(key, _Job(what.token, message.generation > 0))
        elif type(message) is Cancel and key in self._here and not self._here[key].stateful and key not in self._gone:
            self._gone.add(key)
            self._asked = key

    def _begun(self, what: Begun) -> None:
        batch = self._waits.pop(what.batch, None)
        if batch is None:
            return
        self._runs_now[what.batch] = batch
        for key in self._gone.intersection(batch.jobs):
            if (what.batch, key) not in self._left_out:
                self._problem(f"{key} was cancelled before a worker began with {batch}, and was not withdrawn")

    def _done(self, what: cloud.BatchDone) -> None:
        batch = self._runs_now.pop(what.batch, None)
        for job, token in zip(what.jobs, () if batch is None else batch.inputs):
            key = job.session, job.seq
            out = (what.batch, key) in self._left_out
            self._left_out.discard((what.batch, key))
            if out != (job.kind == "dropped") and not job.error.startswith("worker died"):
                self._problem(f"{job} of batch {what.batch}, withdrawn: {out}")
            if job.kind == "again" or key not in self._here or self._here[key].token != token:
                continue
            del self._here[key]
            if key in self._gone:
                self._gone.discard(key)
                self.seen["withdrawn" if out else "wasted"] += 1
                self._before += out
                self._while_running += not out
                self._wasted += 0.0 if out else sum(what.times) / len(what.jobs)

    # -- what it says ------------------------------------------------------------------------------

    def _runs(self, what: cloud.RunBatch) -> None:
        self._waits[what.batch] = what
        for key in self._gone.intersection(what.jobs):
            self._problem(f"{key} was cancelled before, and runs in {what}")

    def _withdraws(self, what: cloud.Withdraw) -> None:
        key, batch = (what.session, what.seq), self._waits.get(what.batch) or self._runs_now.get(what.batch)
        if key not in self._gone or batch is None or key not in batch.jobs:
            self._problem(f"{what}: it was cancelled: {key in self._gone}, in {batch}")
        if what.batch in self._waits:
            self._left_out.add((what.batch, key))

    def _released(self, what: cloud.Release) -> None:
        key = self._keys.pop(what.token, (0, -1))
        if key in self._here and self._here[key].token == what.token:
            del self._here[key]
            if key in self._gone:
                self._gone.discard(key)
                self._unrun.add(key)
            else:
                self._passed += key[1] < self._acked.get(key[0], 0)

    def _said(self, what: cloud.SendMessage) -> None:
        if type(what.message) is Welcome and not what.message.resumed:
            self._end(what.session)
        elif type(what.message) is Error and what.message.code == "hello_required" and self._asked == (what.session, what.message.seq):
            self._gone.discard(self._asked)  # it came on a link without a session

    def _noted(self, what: cloud.Note) -> None:
        name, left, _ = what.text.partition(" left: ")
        for session in [session for session, device in self._devices.items() if left and device == name]:
            self._end(session)

    def _end(self, session: int) -> None:
        """The session is over: nobody waits for its jobs, and what runs of them is no one's waste."""
        self._here = {key: job for key, job in self._here.items() if key[0] != session}
        self._gone = {key for key in self._gone if key[0] != session}
        self._unrun = {key for key in self._unrun if key[0] != session}

    def _counted(self, what: Cancelled) -> None:
        right = self._before <= what.before <= self._before + self._passed and what.while_running == self._while_running
        if not right or abs(what.wasted - self._wasted) > _CLOSE:
            seen = f"{self._before} never ran, {self._while_running} did, for {self._wasted:.6f} s"
            self._problem(f"the server counts {what}, and {seen}")
