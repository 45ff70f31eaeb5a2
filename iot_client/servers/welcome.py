"""Whether a server lets a client in, and what becomes of a start where none answers or one says no."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from iot_client.errors import AuthError, ServerRefused, ServerUnreachable
from iot_client.session_config import SessionConfig

__all__ = ["Welcome", "meanwhile"]

_ALONE_S = 1.0
"""Seconds to wait for a server at the start where frames need not wait for it: a spool takes them, or this device answers."""


class Welcome:
    """What the loop hears of servers at the start, for the thread that starts the client.

    Args:
        servers: the address of each entrant's, home's first, for people.
        silent: which of them have not answered, by index.
        patience: seconds to wait for it.
        alone: what is done meanwhile where no server answers, in words; "" if the client cannot begin without one.
    """

    def __init__(self, servers: Sequence[str], silent: Callable[[], Iterable[int]], patience: float, alone: str) -> None:
        self.refused: ServerRefused | None = None
        self._servers = servers
        self._silent = silent
        self._patience = patience
        self._alone = alone
        self._heard = threading.Event()

    def come(self) -> None:
        """Frames may begin, or the loop has ended; on any thread."""
        self._heard.set()

    def refuse(self, code: str, text: str) -> bool:
        """A server says no; True if for good: a key may be allowed later."""
        self.refused = AuthError(code, text) if code == "forbidden" else ServerRefused(code, text)
        self._heard.set()
        return code != "forbidden"

    def wait(self, on_note: Callable[[str, str], None]) -> bool:
        """Wait for the first word; False if none came and the client begins alone.

        Raises:
            ServerRefused: it said no. ServerUnreachable: nobody answers, and without a server nothing can be done.
        """
        heard = self._heard.wait(min(self._patience, _ALONE_S) if self._alone else self._patience)
        if self.refused is not None:
            raise self.refused
        if not heard:
            silent = list(dict.fromkeys(self._servers[index] for index in self._silent())) or self._servers
            if not self._alone:
                raise ServerUnreachable.at(silent, self._patience)
            on_note("warning", f"no server answers at {' or '.join(silent)} yet; {self._alone}")
        return heard


def meanwhile(config: SessionConfig) -> str:
    """What this client does while no server answers, in words; "" if it cannot begin without one."""
    if config.spooled:
        return "what needs it waits in the spool"
    return "this device answers alone" if config.race is not None and config.race.local is not None else ""
