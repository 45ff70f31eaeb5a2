"""A session's stages with state while this server owns them: who has its turn, and what it starts from.

    STATE(generation g, before seq) --> jobs of generation g, one at a time, in seq order --> the next generation, anywhere

A fold has one owner. The device hands it over with a STATE of a new generation, which ends all that went before:
jobs of an older one are void wherever they are. Jobs wait here until theirs is the next seq; a SKIP says that a seq
will not come. The state itself is a payload known by its token: it goes to a worker with each job, and a new one
comes back, so a worker that dies costs its frame, not the state.
"""

from __future__ import annotations

from cloud_server.batches.job import Job
from cloud_server.events import Release
from wire.protocol import Message, State, Submit

__all__ = ["CHECKPOINT", "OUT_OF_TURN", "Ownership"]

OUT_OF_TURN = "out of turn"
"""Why a job is dropped that filled its device's credit while the one before it could not be sent: it comes again."""

CHECKPOINT = 8
"""Frames folded from one copy of the state sent to the device to the next: what a server's death has run again."""


class Ownership:
    """Whose turn it is.

    Invariants: at most one job of a generation is `running`; every job in `waiting` has its turn at `expect` or later,
    or is of a generation whose STATE has not come; `state` is a token the body keeps, 0 before the first STATE.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.stage = -1
        self.expect = 0
        self.state = 0
        self.waiting: dict[int, Job] = {}
        self.running: Job | None = None
        self._skipped: set[int] = set()
        self._since = 0
        self._asked = -1

    def begin(self, message: State, token: int) -> bool:
        """The device hands the fold over; False if that is known already, or older than what is."""
        if message.generation <= self.generation:
            return False
        self.generation, self.stage, self.expect, self.state = message.generation, message.stage, message.seq, token
        self.running = None
        self._since, self._asked = 0, -1
        self._skipped = {seq for seq in self._skipped if seq >= self.expect}
        self._pass()
        return True

    def is_over(self, generation: int, seq: int) -> bool:
        """True for a job that is of an older generation, or that this one is past."""
        return generation < self.generation or (generation == self.generation and seq < self.expect)

    def is_past(self, message: Message) -> bool:
        """True for a SUBMIT of this generation that was folded: all it needs is a receipt."""
        return isinstance(message, Submit) and message.generation == self.generation > 0 and message.seq < self.expect

    def skip(self, seq: int) -> None:
        """This seq will not come, or will not be folded."""
        if seq >= self.expect:
            self._skipped.add(seq)
            self._pass()

    def unrun(self, job: Job, outcome: str) -> None:
        """A job was answered without a run: a failed one is not waited for, any other comes again."""
        if self.running is job:
            self.running = None
        if outcome == "failed":
            self.skip(job.seq)

    def next_turn(self) -> Job | None:
        """The job whose turn has come, if it is here and no other runs; it runs from now on."""
        job = self.waiting.get(self.expect)
        if self.running is not None or job is None or job.generation != self.generation or not self.state:
            return None
        del self.waiting[self.expect]
        self.running = job
        return job

    def folded(self, job: Job, state: int) -> list[Release]:
        """A job ended, with a new state or, if that is 0, the old one; returns what may go."""
        self.running = None
        given_up = []
        if state:
            given_up, self.state = [Release(self.state)], state
        self.expect = job.seq + 1
        self._since += 1
        self._pass()
        return given_up

    def ask(self, message: State) -> None:
        """The device wants a copy of the state as soon as all before that seq are folded."""
        if message.generation == self.generation:
            self._asked = message.seq

    def checkpoint(self) -> State | None:
        """The message to send with a copy of the state now, if one is due or wanted."""
        wanted = 0 <= self._asked <= self.expect
        if not self.state or self.running is not None or not (wanted or self._since >= CHECKPOINT):
            return None
        if wanted:
            self._asked = -1
        self._since = 0
        return State(self.stage, self.generation, self.expect)

    def blocked(self) -> list[Job]:
        """Take out all that waits, if nothing that is here can run: the device has no credit for the job they wait for."""
        return self.drop() if self.running is None and self.expect not in self.waiting else []

    def drop(self) -> list[Job]:
        """Take out all that waits."""
        jobs = list(self.waiting.values())
        self.waiting.clear()
        return jobs

    def _pass(self) -> None:
        while self.expect in self._skipped:
            self._skipped.remove(self.expect)
            self.expect += 1
