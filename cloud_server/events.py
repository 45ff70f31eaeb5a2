"""What the server's machine hears and what it asks for. Payloads never appear here, only their names.

A payload that arrived is known by the `token` the body gave it, from MessageReceived until `Release(token)`: a
peer that lies about its session can thus never touch another's input. A result is known by its job key
(session, seq), from BatchDone until `Forget`.
"""

from __future__ import annotations

from typing import Union

import msgspec

from cloud_server.offer import AppInfo
from cloud_server.planning.problem import Plan, Problem
from wire.protocol import Message

__all__ = [
    "BatchDone", "BundleFailed", "BundleLoaded", "Command", "DropBundle", "Event", "Finished", "Fold", "Forget", "JobDone", "LoadBundle",
    "MakePlan", "MessageReceived", "Note", "PeerGone", "Planned", "Preload", "Release", "Revoked", "RunBatch", "SendMessage",
    "StopRequested", "Tick", "Withdraw", "state_key",
]

JobKey = tuple[int, int]


def state_key(session: int, seq: int) -> JobKey:
    """Among the payloads of an answered batch, the key of the state after a job; no job has it, for no seq is negative."""
    return session, -1 - seq


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """A peer said something. `peer` is the transport's name for the link.

    `token` is the body's name for the payload that came with it, of `nbytes` bytes; 0 if there was none, or if it
    was `damaged` and thrown away. `digest` names its content, where the machine watches for payloads of that size.
    `sender` is the name under which the key is allowed that sent it; "" where there are no keys.
    """

    peer: bytes
    message: Message
    session: int
    epoch: int
    nbytes: int = 0
    token: int = 0
    damaged: bool = False
    digest: str = ""
    sender: str = ""


class JobDone(msgspec.Struct, frozen=True, gc=False):
    """One job of a batch; `decode` is the seconds to unpack its payload.

    `kind` is done, filtered, failed, dropped if it came too late to begin, or again: the worker was lost with several
    jobs, so it is not known whose doing it was. `killed` is the digest of the input of a job that, alone, cost its worker.
    `state` is the token of the state after it, of `state_nbytes` bytes, 0 if none was made; a worker, which knows no tokens, says 1.
    """

    session: int
    seq: int
    kind: str
    stage: int = -1
    error: str = ""
    nbytes: int = 0
    signature: str = ""
    decode: float = 0.0
    killed: str = ""
    state: int = 0
    state_nbytes: int = 0


class BatchDone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to one RunBatch; `times` are seconds per stage for the whole batch."""

    batch: int
    jobs: tuple[JobDone, ...]
    times: tuple[float, ...] = ()
    waited: float = 0.0


class PeerGone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The transport can no longer reach this peer; with a `reason`, it took nothing for too long: its session ends if it still talks."""

    peer: bytes
    reason: str = ""


class Revoked(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The keys that were allowed under these names are so no longer."""

    names: tuple[str, ...]


class StopRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Take no new jobs; answer those under way, then say BYE."""


class Tick(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The time asked for by `next_wakeup` has come; a spurious one changes nothing."""


class BundleLoaded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to LoadBundle: `workers` processes have the app of this session, and no later than in `expires_in` seconds
    it may be asked for last."""

    session: int
    app: AppInfo
    expires_in: float
    workers: int = 1


class BundleFailed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The other answer, or what became of a loaded one later: it is refused, and why."""

    session: int
    text: str


class Profiled(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What batches of `app` take was measured beforehand: (start, stop, variant, jobs, seconds, tail) of each.

    98 of 100 end within `tail` seconds; 0.0 where that is not known.
    """

    app: str
    samples: tuple[tuple[int, int, str, int, float, float], ...]


class Planned(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to the MakePlan of this number, after `seconds` of work; no plan, and why, if that failed."""

    number: int
    plan: Plan | None
    seconds: float = 0.0
    error: str = ""


Event = Union[MessageReceived, BatchDone, Profiled, PeerGone, Revoked, StopRequested, Tick, BundleLoaded, BundleFailed, Planned]


class RunBatch(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Run stages [start, stop) of `app` on these jobs, in one worker; `inputs` are their payloads' tokens.

    A job with stages that keep state is alone in its batch, and `state` the token of what they start from.
    `slack` is how many seconds each may wait for its start, None for any; empty if none has a deadline. `variant` is what the
    stages run with, the same for all jobs; "" where the app has none. `starts` is the stage at which each job joins the others;
    empty if all begin at `start`, which is the least of them.
    """

    batch: int
    app: str
    start: int
    stop: int
    jobs: tuple[JobKey, ...]
    inputs: tuple[int, ...]
    state: int = 0
    slack: tuple[float | None, ...] = ()
    variant: str = ""
    starts: tuple[int, ...] = ()

    def starts_at(self, place: int) -> int:
        """The first stage of the job at this place."""
        return self.starts[place] if self.starts else self.start

    def without(self, session: int, seq: int) -> RunBatch:
        """The same batch, in which this job comes too late to begin."""
        slack = self.slack or (None,) * len(self.jobs)
        return msgspec.structs.replace(
            self, slack=tuple(-1.0 if key == (session, seq) else each for key, each in zip(self.jobs, slack))
        )

    @property
    def segment(self) -> tuple[str, int, int, str]:
        """What is known of its like is known by this: (app, start, stop, variant)."""
        return self.app, self.start, self.stop, self.variant


class Preload(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Have these variants of `app` ready at one worker, the most wanted first, before a batch needs them.

    `worker` counts from 0; more than a worker keeps are left out. A spare process keeps what the worker does whose place it has.
    """

    worker: int
    app: str
    variants: tuple[str, ...]


class Withdraw(msgspec.Struct, frozen=True, gc=False, tag=True):
    """One job of a batch is wanted no more: if the batch has not begun, it is answered as dropped; else this is void."""

    batch: int
    app: str
    session: int
    seq: int


class MakePlan(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Solve this problem, not on the loop's thread; the answer is Planned with the same number."""

    number: int
    problem: Problem


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """Send a message; with the result kept for job `payload` if that is not None, or the payload with this `token`."""

    peer: bytes
    message: Message
    session: int
    payload: JobKey | None = None
    token: int = 0


class Fold(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Give a final value to the aggregate and the result store, once.

    The value is that of the REPORT with this token, or, with token 0, the result kept for (session, seq),
    which goes to the store only.
    """

    app: str
    device: str
    session: int
    seq: int
    token: int = 0


class Release(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The payload with this token may go."""

    token: int


class Forget(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The result kept for this job may go."""

    session: int
    seq: int


class Note(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something a person should know; `level` is info, warning or error."""

    level: str
    text: str


class Finished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Stopping is complete."""


class LoadBundle(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Check the bundle in the payload with this token against what its device said of it; if it holds, start workers for it.

    `app` names it in RunBatch; the other fields are those of HELLO.
    """

    session: int
    app: str
    token: int
    digest: str
    name: str
    version: str
    fingerprint: str
    device: str


class DropBundle(msgspec.Struct, frozen=True, gc=False, tag=True):
    """End the workers of a shipped app; batches they have are answered as failed."""

    app: str


Command = Union[RunBatch, Preload, Withdraw, MakePlan, SendMessage, Fold, Release, Forget, Note, Finished, LoadBundle, DropBundle]
