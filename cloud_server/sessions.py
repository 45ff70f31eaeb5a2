"""One device at this server: what it may send, what it is owed, what it already got.

    (none) -- HELLO --> bound -- PeerGone --> unbound -- HELLO --> bound     (same session: resumed)
                          `------ silent for the lease, BYE ------> (none)

A SUBMIT is known by its seq. It is running, or its result is held until the device's cumulative `acked` passes
it, or it is below `acked` and forgotten: so whatever is sent twice is executed once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

from cloud_server.batches.job import Job
from cloud_server.events import Command, Forget, JobDone, MessageReceived, Release
from cloud_server.offer import pool_of, shipped_as
from cloud_server.ownership import Ownership
from cloud_server.shares.memory import Account, Memory
from wire.protocol import Credit, Error, Hello, Ping, Result, State, Submit

__all__ = ["Job", "Session", "folded", "hand_over", "left_behind", "unwanted"]

_REPORTS = 8192
"""Report numbers remembered; twice what a device keeps unconfirmed."""
_MOST = 2048
"""Jobs and answers of one session; a device has at most some 300 frames between capture and delivery."""
_ALPHA = 0.1
_ASKS = 2
"""The protocol minor from which a device says how much it `wants`."""
_PATH = 10.0
"""Seconds over which the fastest delivery is the yardstick for queueing in the network (BBR's min filter)."""


class Session:
    """State of one device.

    Invariants: no seq is in both `jobs` and `results`; every seq in either is >= `acked`; its account keeps the
    payload bytes of `jobs` and holds those of `results`.
    """

    def __init__(self, number: int, hello: Hello, peer: bytes, now: float, memory: Memory, sender: str = "") -> None:
        self.number = number
        self.account = Account(number, memory)
        self.app = shipped_as(hello, number)
        self.pool = pool_of(self.app)
        self.device = hello.device
        self.sender = sender
        self.peer: bytes | None = peer
        self.greet(hello, checksum=False)
        self.spoken = False
        self.heard = now
        self.acked = 0
        self.jobs: dict[int, Job] = {}
        self.results: dict[int, Result] = {}
        self.queue: deque[Job] = deque()
        self.served = 0.0
        """The same, but never less than who is served now: what it did not ask for it is not owed."""
        self.had = 0.0
        """Seconds of the server it had."""
        self.ticket = 0
        """Its place among sessions that had as much; 0 while it waits for nothing."""
        self.aside = False
        """True if it was passed over because it fetches no answers: it is not owed what it missed."""
        self.siblings: tuple[Session, ...] = ()
        """The device's other sessions of the same race, which have one share of the server with it."""
        self.budget = inf
        """Seconds its jobs typically have left when they come."""
        self.reported = 0
        self.fed = self.acked_at = now
        self.refused = -inf
        """When a job was refused last, since it would be late."""
        self.came = 0
        """Jobs that came."""
        self.period = 0.0
        """Seconds from frame to frame, by the device's stamps."""
        self._last = (-1, 0)
        self.swept = -1
        """`acked` at the last sweep."""
        self.planned = ""
        """The variant its frames shall be made with from now on; "" while nobody plans."""
        self._sizes: dict[int, int] = {}
        self.ownership = Ownership()
        self._reports: dict[int, None] = {}
        self._reports_floor = 0
        self._fastest = (float("inf"), 0.0)
        self._fastest_before = float("inf")

    def greet(self, hello: Hello, *, checksum: bool) -> None:
        """What its device says of itself; with `checksum` both state and check checksums of buffers."""
        self.hello = hello
        self.checksum = checksum
        self.newest_first = hello.mode == "live" and (hello.newest or not (hello.fps or hello.slo_us))
        """True if a frame is worth less than the one after it: live, and asked for neither a rate nor a deadline."""
        self.possible: tuple[int, int, bool, str, str] | None = None
        """(start, stop, has a generation, codec, variant) of the jobs it sent last, which are known to be possible here."""

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

    def cancel(self, seq: int) -> Job | None:
        """The device has no use for this job any more; None if there is none, or it said so before."""
        job = self.jobs.get(seq)
        if job is None or job.cancelled:
            return None
        job.cancelled = True
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

    def acknowledge(self, acked: int) -> list[Forget]:
        """Everything below `acked` has its outcome on the device; returns the values that may go."""
        gone: list[Forget] = []
        if acked <= self.acked:
            return gone
        self.acked, self.acked_at = acked, self.heard
        nbytes = 0
        for seq in list(self.results):
            if seq >= acked:
                continue
            nbytes += self._sizes.pop(seq, 0)
            if self.results.pop(seq).outcome == "done":
                gone.append(Forget(self.number, seq))
        if nbytes:
            self.account.hold(-nbytes)
        return gone

    def knows(self, seq: int, generation: int) -> bool:
        """True for a SUBMIT that must not be executed again. What a fold is not past may be needed again, acked or not."""
        over = self.ownership.is_over(generation, seq) if generation else seq < self.acked
        return over or seq in self.results or seq in self.jobs

    def void(self, generation: int) -> tuple[list[int], list[int]]:
        """Another generation begins: what is under way or held of older ones is of no use any more.

        Returns:
            Tokens of jobs that waited for their turn, and the seqs of results with a value.
        """
        waiting = self.ownership.waiting
        tokens = [job.token for job in waiting.values() if job.generation < generation]
        for seq in [seq for seq, job in self.jobs.items() if 0 < job.generation < generation]:
            self.close(seq)
            waiting.pop(seq, None)
        stale = [seq for seq, result in self.results.items() if 0 < result.generation < generation]
        self.account.hold(-sum(self._sizes.pop(seq, 0) for seq in stale))
        return tokens, [seq for seq in stale if self.results.pop(seq).outcome == "done"]

    def paced(self, seq: int, stamp_us: int) -> None:
        """A frame left the device: learn how far they are apart."""
        before, stamp = self._last
        if seq > before:
            if before >= 0:
                apart = max(0.0, (stamp_us - stamp) / 1e6 / (seq - before))
                self.period += (apart - self.period) * (_ALPHA if self.period else 1.0)
            self._last = seq, stamp_us

    def deadline(self, budget_us: int, stamp_us: int, now: float) -> float | None:
        """When a job must be done, on this host's clock.

        The budget is charged with (arrival - stamp) minus the lowest such difference seen lately: only the
        variation of the clocks' offset is used, never the offset.
        """
        self.came += 1
        late = self._delivered(stamp_us, now)
        if budget_us < 0:
            self.budget = inf
            return None
        left = budget_us / 1e6 - max(0.0, late - min(self._fastest[0], self._fastest_before))
        self.budget = left if left < self.budget else self.budget + _ALPHA * (left - self.budget)
        return now + left

    def pinged(self, message: Ping, now: float) -> None:
        """A PING came: of a device that counts on the least round trip, the way of a small message is the yardstick."""
        self.account.reconcile(message.sent, message.wants)
        if self.hello.fits and message.stamp_us:
            self._delivered(message.stamp_us, now)

    def _delivered(self, stamp_us: int, now: float) -> float:
        """Take one delivery into account; returns (arrival - stamp) in seconds."""
        late = now - stamp_us / 1e6
        lowest, since = self._fastest
        if now - since > _PATH:
            self._fastest_before, self._fastest = lowest, (late, now)
        elif late < lowest:
            self._fastest = (late, since)
        return late

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


def hand_over(session: Session, message: State, event: MessageReceived) -> tuple[list[Command], Credit | Error]:
    """The device gives this server its stages with state; what of older generations may go, and the answer."""
    ownership, account = session.ownership, session.account
    if message.generation > ownership.generation and not account.may_store(event.nbytes):
        text = f"{event.nbytes} bytes of state: no room beside the other devices'"
        return [Release(event.token)], Error("oversize", text, message.seq)
    given_up, gone = ownership.state, list[Command]()
    if ownership.begin(message, event.token):
        account.store(event.nbytes)
        tokens, seqs = session.void(message.generation)
        gone += [Release(token) for token in (*tokens, given_up) if token]
        gone += [Forget(session.number, seq) for seq in seqs]
    else:
        gone.append(Release(event.token))
    return gone, Credit(account.announce(), "state", message.seq, event.nbytes, 0)


def folded(session: Session, job: Job, done: JobDone) -> Sequence[Command]:
    """A job with state ended, and may have left another; returns what may go."""
    if done.state:
        session.account.store(done.state_nbytes)
    return session.ownership.folded(job, done.state)


def left_behind(session: Session, queued: list[Job]) -> list[Command]:
    """What a session that ends gives up: jobs that did not run, the state of its stages, answers nobody acknowledged."""
    tokens = [job.token for job in (*queued, *session.ownership.drop())]
    if session.ownership.state:
        tokens.append(session.ownership.state)
    done = [seq for seq, result in session.results.items() if result.outcome == "done"]
    return [*map(Release, tokens), *(Forget(session.number, seq) for seq in done)]


def unwanted(session: Session | None, done: JobDone) -> list[Command]:
    """What came of a job that nobody waits for; if its session began anew, that may hold a value of the same name."""
    gone: list[Command] = [Release(done.state)] if done.state else []
    held = None if session is None else session.results.get(done.seq)
    if done.kind == "done" and (held is None or held.outcome != "done"):
        gone.append(Forget(done.session, done.seq))
    return gone
