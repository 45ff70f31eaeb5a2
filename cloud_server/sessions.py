"""One device at this server: what it may send, what it is owed, what it already got.

    (none) -- HELLO --> bound -- PeerGone --> unbound -- HELLO --> bound     (same session: resumed)
                          `------ silent for the lease, BYE ------> (none)

A SUBMIT is known by its seq. It is running, or its result is held until the device's cumulative `acked` passes
it, or it is below `acked` and forgotten: so whatever is sent twice is executed once.
"""

from __future__ import annotations

from collections import deque

import msgspec

from cloud_server.memory import Account, Memory
from wire.protocol import Hello, Result, Submit

__all__ = ["Job", "Session"]

_REPORTS = 8192
"""Report numbers remembered; twice what a device keeps unconfirmed."""
_MOST = 2048
"""Jobs and answers of one session; a device has at most some 300 frames between capture and delivery."""
_ASKS = 2
"""The protocol minor from which a device says how much it `wants`."""
_PATH = 10.0
"""Seconds over which the fastest delivery is the yardstick for queueing in the network (BBR's min filter)."""


class Job(msgspec.Struct):
    """One SUBMIT under way. Times are the server's monotonic seconds; `deadline` None means any time.

    `alone` after its batch ended a worker: it is tried without company.
    """

    session: int
    seq: int
    start: int
    stop: int
    token: int
    nbytes: int
    arrival: float
    deadline: float | None = None
    dispatched: float = 0.0
    cancelled: bool = False
    alone: bool = False


class Session:
    """State of one device.

    Invariants: no seq is in both `jobs` and `results`; every seq in either is >= `acked`; its account keeps the
    payload bytes of `jobs` and holds those of `results`.
    """

    def __init__(self, number: int, hello: Hello, peer: bytes, now: float, memory: Memory) -> None:
        self.number = number
        self.hello = hello
        self.account = Account(number, memory)
        self.app = hello.app
        self.device = hello.device
        self.peer: bytes | None = peer
        self.checksum = False
        self.heard = now
        self.acked = 0
        self.jobs: dict[int, Job] = {}
        self.results: dict[int, Result] = {}
        self.queue: deque[Job] = deque()
        self.deficit = 0.0
        self.reported = 0
        self.fed = now
        self._sizes: dict[int, int] = {}
        self._reports: dict[int, None] = {}
        self._reports_floor = 0
        self._fastest = (float("inf"), 0.0)
        self._fastest_before = float("inf")

    def bind(self, peer: bytes, now: float) -> int:
        """A link for this session; counters start anew. Returns the limit for WELCOME."""
        self.peer = peer
        self.heard = now
        return self.account.link(asks=self.hello.minor >= _ASKS)

    def unbind(self) -> None:
        """Its link is gone, or no longer served."""
        self.peer = None
        self.account.unlink()

    # -- jobs --------------------------------------------------------------------------------------

    def open(self, job: Job) -> None:
        """A job begins."""
        self.jobs[job.seq] = job
        self.account.keep(job.nbytes)

    def close(self, seq: int) -> Job | None:
        """A job ends; its payload's bytes are free."""
        job = self.jobs.pop(seq, None)
        if job is not None:
            self.account.keep(-job.nbytes)
        return job

    def hold(self, result: Result, nbytes: int) -> None:
        """Keep an answer, of so many bytes, until it is acked."""
        self.results[result.seq] = result
        if nbytes:
            self._sizes[result.seq] = nbytes
            self.account.hold(nbytes)

    @property
    def full(self) -> bool:
        """True if more jobs and answers are here than any device has under way."""
        return len(self.jobs) + len(self.results) >= _MOST

    def forget_other(self, message: Submit) -> bool:
        """A device that died resumes its session: a job it had cut elsewhere before is another one, of no use now.

        Returns:
            True if a value was held for it.
        """
        wanted = (message.start, message.stop)
        held, job = self.results.get(message.seq), self.jobs.get(message.seq)
        if job is not None and (job.start, job.stop) != wanted:
            self.close(message.seq)
        if held is None or (held.start, held.stop) == wanted:
            return False
        del self.results[message.seq]
        self.account.hold(-self._sizes.pop(message.seq, 0))
        return held.outcome == "done"

    def acknowledge(self, acked: int) -> list[tuple[int, bool]]:
        """Everything below `acked` has its outcome on the device.

        Returns:
            (seq, has a value) of each result no longer held.
        """
        if acked <= self.acked:
            return []
        self.acked = acked
        passed = [seq for seq in self.results if seq < acked]
        if self._sizes:
            self.account.hold(-sum(self._sizes.pop(seq, 0) for seq in passed))
        return [(seq, self.results.pop(seq).outcome == "done") for seq in passed]

    def deadline(self, budget_us: int, stamp_us: int, now: float) -> float | None:
        """When a job must be done, on this host's clock.

        The budget is charged with (arrival - stamp) minus the lowest such difference seen lately: only the
        variation of the clocks' offset is used, never the offset.
        """
        late = now - stamp_us / 1e6
        lowest, since = self._fastest
        if now - since > _PATH:
            self._fastest_before, self._fastest = lowest, (late, now)
        elif late < lowest:
            self._fastest = (late, since)
        if budget_us < 0:
            return None
        return now + budget_us / 1e6 - max(0.0, late - min(self._fastest[0], self._fastest_before))

    # -- reports -----------------------------------------------------------------------------------

    def report(self, seq: int) -> bool:
        """True the first time this seq is reported."""
        if seq < self._reports_floor or seq in self._reports:
            return False
        self._reports[seq] = None
        self.reported += 1
        if len(self._reports) > _REPORTS:
            oldest = next(iter(self._reports))
            del self._reports[oldest]
            self._reports_floor = max(self._reports_floor, oldest + 1)
        return True
