"""Why a job does not run here: what is asked for is not possible, or more than was granted. And how a message is refused."""

from __future__ import annotations

from cloud_server.events import Command, MessageReceived, Release, SendMessage
from cloud_server.handshake import SchedulerConfig
from cloud_server.offer import AppInfo
from cloud_server.sessions import Session
from wire.codecs import family
from wire.protocol import CODECS, Error, Submit

__all__ = ["refused", "unsupported", "why_not_run"]


def refused(event: MessageReceived, code: str, text: str) -> list[Command]:
    """What follows from a message that is not taken: its payload goes, its peer is told, whether it has a session or not."""
    answer = SendMessage(event.peer, Error(code, text, getattr(event.message, "seq", -1)), event.session)
    return [Release(event.token), answer] if event.token else [answer]


def unsupported(event: MessageReceived) -> list[Command]:
    """What follows from a message that only a server says."""
    return refused(event, "unsupported", f"{type(event.message).__name__} is not supported by this version")


def why_not_run(
    message: Submit, session: Session, event: MessageReceived, excess: int, config: SchedulerConfig, app: AppInfo
) -> tuple[str, str] | None:
    """The outcome and reason with which this SUBMIT is answered unrun, or None; `excess` is the bytes beyond the limit."""
    kind = (message.start, message.stop, message.generation > 0, message.codec, message.variant)
    if kind != session.possible:
        if problem := _why_not_possible(message, app, app.variant(message.variant, session.hello.variant)):
            return "failed", problem
        session.possible = kind
    if not event.token:
        return "failed", f"codec {message.codec!r} with {event.nbytes} bytes: no value to run on"
    if event.nbytes > config.max_job:
        return "dropped", f"oversize: {event.nbytes} bytes, at most {config.max_job}"
    if message.generation and message.seq == session.ownership.expect:
        return None  # what fills the memory of its session waits for it
    if session.full:
        return "dropped", "over credit: too many jobs and unread answers"
    return ("dropped", "over credit") if excess else None


def _why_not_possible(message: Submit, app: AppInfo, variant: str) -> str:
    """Why no job of these stages, this codec and this variant can run here; empty if they can."""
    if not 0 < message.start < message.stop <= len(app.stages):
        return f"stages {message.start} to {message.stop} of {len(app.stages)}: no such job"
    if not all(app.here[message.start : message.stop]):
        return f"stages {message.start} to {message.stop}: not all may run on this server"
    if any(app.stateful[message.start : message.stop]) != (message.generation > 0):
        return f"generation {message.generation}: a job has one where its stages keep state, and only there"
    return app.why_unfit(variant) or _why_not_read(message.codec)


def _why_not_read(word: str) -> str:
    """Why no value comes of what a device encoded as `word`; empty if one does."""
    try:
        known = family(word) in CODECS
    except ValueError as error:
        return str(error)
    return "" if known else f"codec {word!r}; this server reads {', '.join(CODECS)}"
