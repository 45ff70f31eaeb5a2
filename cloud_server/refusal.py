"""Why a job does not run here: what is asked for is not possible, or more than was granted."""

from __future__ import annotations

from cloud_server.events import MessageReceived
from cloud_server.handshake import SchedulerConfig
from cloud_server.offer import AppInfo
from cloud_server.sessions import Session
from wire.codecs import family
from wire.protocol import CODECS, Submit

__all__ = ["why_not_run"]


def why_not_run(
    message: Submit, session: Session, event: MessageReceived, excess: int, config: SchedulerConfig, app: AppInfo
) -> tuple[str, str] | None:
    """The outcome and reason with which this SUBMIT is answered unrun, or None; `excess` is the bytes beyond the limit."""
    if not 0 < message.start < message.stop <= len(app.stages):
        return "failed", f"stages {message.start} to {message.stop} of {len(app.stages)}: no such job"
    if not all(app.here[message.start : message.stop]):
        return "failed", f"stages {message.start} to {message.stop}: not all may run on this server"
    if any(app.stateful[message.start : message.stop]) != (message.generation > 0):
        return "failed", f"generation {message.generation}: a job has one where its stages keep state, and only there"
    if not event.token:
        return "failed", f"codec {message.codec!r} with {event.nbytes} bytes: no value to run on"
    problem = _why_not_read(message.codec)
    if problem:
        return "failed", problem
    if event.nbytes > config.max_job:
        return "dropped", f"oversize: {event.nbytes} bytes, at most {config.max_job}"
    if message.generation and message.seq == session.ownership.expect:
        return None  # what fills the memory of its session waits for it
    if session.full:
        return "dropped", "over credit: too many jobs and unread answers"
    return ("dropped", "over credit") if excess else None


def _why_not_read(word: str) -> str:
    """Why no value comes of what a device encoded as `word`; empty if one does."""
    try:
        known = family(word) in CODECS
    except ValueError as error:
        return str(error)
    return "" if known else f"codec {word!r}; this server reads {', '.join(CODECS)}"
