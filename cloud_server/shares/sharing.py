"""How the machine tells sessions what the memory's accounts decided: limits raised for who waited, grants taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cloud_server.sessions import Session
from cloud_server.shares.memory import Memory
from wire.protocol import Credit, Error

__all__ = ["recalled", "served"]


def served(memory: Memory, sessions: Mapping[int, Session]) -> Iterator[tuple[Session, Credit]]:
    """Who waited for memory and has a larger limit now."""
    if memory.waiting:
        for account in memory.serve():
            yield sessions[account.number], Credit(account.limit)


def recalled(memory: Memory, sessions: Mapping[int, Session], now: float) -> Iterator[tuple[Session, Error]]:
    """Once a second: who loses what it was granted and does not use, for others wait for it; unbound once it was told."""
    for session in sessions.values():
        session.account.follow()
    for account in memory.recalled(((session.fed, session.account) for session in sessions.values()), now):
        session = sessions[account.number]
        yield session, Error("hello_required", "others wait for memory this device does not use: say HELLO for what is left")
        session.unbind()
