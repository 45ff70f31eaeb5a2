"""When a session ends by itself: its device is silent, or keeps from others the memory it does nothing with."""

from __future__ import annotations

from cloud_server.sessions import Session
from cloud_server.shares.memory import Memory

__all__ = ["why_over"]


def why_over(session: Session, memory: Memory, lease: float, now: float) -> str:
    """The reason for which a session ends now, in words, or ""; `lease` in seconds, half of it where others wait for memory."""
    wanted = bool(memory.waiting) and session.account.charge > 0
    silence = lease / 2 if wanted else lease
    if now - session.heard > silence:
        return f"silent for {silence:.0f} s"
    if wanted and session.account.held and now - session.acked_at > lease:
        return f"fetched no answer for {lease:.0f} s"
    return ""
