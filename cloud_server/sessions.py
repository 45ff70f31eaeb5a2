"""One device at this server: what it may send, what it is owed, what it already got.

    (none) -- HELLO --> bound -- PeerGone --> unbound -- HELLO --> bound     (same session: resumed)
                          `------ silent for the lease, BYE ------> (none)

A SUBMIT is known by its seq. It is running, or its result is held until the device's cumulative `acked` passes
it, or it is below `acked` and forgotten: so whatever is sent twice is executed once.
"""

from __future__ import annotations

from collections import deque

import msgspec

from wire.protocol import Hello, Result

__all__ = ["Job", "Session"]

_REPORTS = 8192
"""Report numbers remembered; twice what a device keeps unconfirmed."""
_PATH = 10.0
"""Seconds over which the fastest delivery is the yardstick for queueing in the network (BBR's min filter)."""


class Job(msgspec.Struct):
    """One SUBMIT under way. Times are the server's monotonic seconds; `deadline` None means any time."""

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


class Session:
    """State of one device.

    Invariants: no seq is in both `jobs` and `results`; every seq in either is >= `acked`;
    `outstanding` is the payload bytes of `jobs`.
    """

    def __init__(self, number: int, hello: Hello, peer: bytes, now: float, credit: int) -> None:
        self.number = number
        self.hello = hello
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
        self.outstanding = 0
        self._credit = credit
        self._received = 0
        self._freed = 0
        self._announced = 0
        self._reports: dict[int, None] = {}
        self._reports_floor = 0
        self._fastest = (float("inf"), 0.0)
        self._fastest_before = float("inf")

    # -- credit ------------------------------------------------------------------------------------

    def bind(self, peer: bytes, now: float) -> int:
        """A link for this session; counters start anew. Returns the limit for WELCOME."""
        self.peer = peer
        self.heard = now
        self._received = 0
        self._freed = -self.outstanding
        self._announced = self.limit
        return self._announced

    @property
    def limit(self) -> int:
        """Cumulative payload bytes the device may send since WELCOME."""
        return max(0, self._credit + self._freed)

    def receive(self, nbytes: int) -> bool:
        """Count a payload; False if it exceeds what was granted."""
        self._received += nbytes
        return self._received <= self._announced

    def refund(self, nbytes: int) -> None:
        """A payload that was counted is no longer held here."""
        self._freed += nbytes

    def reconcile(self, sent: int) -> None:
        """The device has sent more than came: the link lost it, so it holds nothing here."""
        if sent > self._received:
            self._freed += sent - self._received
            self._received = sent

    def grant(self) -> int:
        """A new limit worth telling (half the window is free again), or 0."""
        if 2 * (self.limit - self._announced) >= self._credit:
            return self.announce()
        return 0

    def announce(self) -> int:
        """The limit as it is now told to the device."""
        self._announced = max(self._announced, self.limit)
        return self._announced

    # -- jobs --------------------------------------------------------------------------------------

    def open(self, job: Job) -> None:
        """A job begins."""
        self.jobs[job.seq] = job
        self.outstanding += job.nbytes

    def close(self, seq: int) -> Job | None:
        """A job ends; its payload's bytes are free."""
        job = self.jobs.pop(seq, None)
        if job is not None:
            self.outstanding -= job.nbytes
            self.refund(job.nbytes)
        return job

    def acknowledge(self, acked: int) -> list[tuple[int, bool]]:
        """Everything below `acked` has its outcome on the device.

        Returns:
            (seq, has a value) of each result no longer held.
        """
        if acked <= self.acked:
            return []
        self.acked = acked
        passed = [seq for seq in self.results if seq < acked]
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
