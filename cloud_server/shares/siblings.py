"""The sessions of one device in one race: each entrant of a server has its own, and together they have one share of it."""

from __future__ import annotations

from collections.abc import Mapping

from cloud_server.offer import AppInfo
from cloud_server.sessions import Session

__all__ = ["join", "leave"]


def join(session: Session, app: AppInfo, sessions: Mapping[int, Session]) -> None:
    """A session began: it goes on with what its device had, if others of that race are here already.

    They are those of the same key, device and app; two that ask for the same alternative are two devices of one name.
    """
    if app.race < 0 or not session.hello.variant:
        return
    found = next(filter(None, (_device_of(each, session) for each in sessions.values())), ())
    for each in found:
        each.siblings = (*each.siblings, session)
        session.served = max(session.served, each.served)
    session.siblings = found
    session.account.join(tuple(each.account for each in found))


def _device_of(one: Session, session: Session) -> tuple[Session, ...]:
    """All sessions of the device of this one, if the other may be one of them; else none."""
    if one is session or _who(one) != _who(session) or not one.hello.variant:
        return ()
    device = (one, *one.siblings)
    return () if any(each.hello.variant == session.hello.variant for each in device) else device


def _who(session: Session) -> tuple[str, str, str]:
    return session.sender, session.device, session.app.partition("#")[0]


def leave(session: Session) -> None:
    """A session ended."""
    for each in session.siblings:
        each.siblings = tuple(other for other in each.siblings if other is not session)
    session.siblings = ()
    session.account.part()
