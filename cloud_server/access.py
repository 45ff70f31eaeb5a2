"""Whom a server lets in, as its file says: looked at once a second while it serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from wire.identity import ServerKeys
from wire.keyring import read_keyring
from wire.keys import KeyProblem

__all__ = ["LOOK_S", "Access"]

LOOK_S = 0.3
"""Between two looks at the file; it counts when two in a row see the same one, since an editor may first empty it."""


class Access:
    """The keys of a server and of the devices it allows.

    A file that cannot be read changes nothing, and is complained about once; one that is gone allows nobody.

    Args:
        folder: the server's keys, see wire.identity.
        on_note: called with (level, text).

    Raises:
        KeyProblem: there is no key, or a file is damaged or open to others.
    """

    def __init__(self, folder: str | os.PathLike[str], on_note: Callable[[str, str], None]) -> None:
        self._stamp = self._seen = (-1, -1, -1)
        self.keys = ServerKeys.load(folder)
        self._on_note = on_note
        self._look_at = 0.0
        if not self.keys.allowed:
            on_note("warning", f"no device is allowed yet ({self.keys.path}): `cloud-server devices allow NAME KEY` lets one in")

    def look(self, now: float, allow: Callable[[Mapping[str, bytes]], None]) -> tuple[str, ...]:
        """Have `allow` called with the keys by name if they have changed.

        Returns:
            The names whose keys are not allowed any more.
        """
        if now < self._look_at:
            return ()
        self._look_at = now + LOOK_S
        seen, stamp = self._seen, self._look_stamp()
        self._seen = stamp
        if stamp != seen or stamp == self._stamp:
            return ()
        self._stamp = stamp
        before = self.keys.allowed
        try:
            allowed = read_keyring(self.keys.path)
        except (KeyProblem, OSError) as error:
            self._on_note("error", f"devices stay as they were allowed before, REVOKED ONES INCLUDED, until this is mended: {error}")
            return ()
        if allowed == before:
            return ()
        self.keys = msgspec.structs.replace(self.keys, allowed=allowed)
        allow(allowed)
        revoked = tuple(name for name, key in before.items() if allowed.get(name) != key)
        added = [name for name, key in allowed.items() if before.get(name) != key]
        told = [f"allowed from now on: {', '.join(added)}"] * bool(added) + [f"revoked: {', '.join(revoked)}"] * bool(revoked)
        self._on_note("info", f"devices {'; '.join(told)}")
        return revoked

    def _look_stamp(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self.keys.path)
        except OSError:
            return (0, 0, 0)
        return status.st_mtime_ns, status.st_size, status.st_ino
