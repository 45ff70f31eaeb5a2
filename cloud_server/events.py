"""What the server's machine hears and what it asks for. Payloads never appear here, only job keys.

A job is known by (session, seq). The body keeps its payload from MessageReceived until `Release`.
"""

from __future__ import annotations

from typing import Union

import msgspec

from wire.protocol import Message

__all__ = [
    "BatchDone", "Command", "Event", "Fold", "JobDone", "MessageReceived", "Note", "PeerGone", "Release", "RunBatch",
    "SendMessage", "StopRequested", "Tick",
]

JobKey = tuple[int, int]


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """A peer said something; `nbytes` is its payload's size. `peer` is the transport's name for the link."""

    peer: bytes
    message: Message
    session: int
    epoch: int
    nbytes: int = 0


class JobDone(msgspec.Struct, frozen=True, gc=False):
    """One job of a batch: `kind` is done, filtered or failed."""

    session: int
    seq: int
    kind: str
    stage: int = -1
    error: str = ""
    nbytes: int = 0
    signature: str = ""


class BatchDone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to one RunBatch; `times` are seconds per stage for the whole batch."""

    batch: int
    jobs: tuple[JobDone, ...]
    times: tuple[float, ...] = ()
    waited: float = 0.0


class PeerGone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The transport can no longer reach this peer."""

    peer: bytes


class StopRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Take no new jobs; answer those under way, then say BYE."""


class Tick(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The time asked for by `next_wakeup` has come; a spurious one changes nothing."""


Event = Union[MessageReceived, BatchDone, PeerGone, StopRequested, Tick]


class RunBatch(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Run stages [start, stop) of `app` on these jobs, in one worker."""

    batch: int
    app: str
    start: int
    stop: int
    jobs: tuple[JobKey, ...]


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """Send a message; with the result kept for job `payload` if that is not None."""

    peer: bytes
    message: Message
    session: int
    payload: JobKey | None = None


class Fold(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Give the value of this REPORT (or of this job's result) to the aggregate and the result store, once.

    `source` is "report" or "result".
    """

    app: str
    device: str
    session: int
    seq: int
    source: str


class Release(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What is kept for this job may go: `what` is "job" (its input), "result", or "report"."""

    session: int
    seq: int
    what: str


class Note(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something a person should know; `level` is info, warning or error."""

    level: str
    text: str


class Finished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Stopping is complete."""


Command = Union[RunBatch, SendMessage, Fold, Release, Note, Finished]
