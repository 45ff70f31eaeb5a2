"""The seam between the loops and the transport. Fakes and other transports fit here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

__all__ = ["Channel", "LinkChange", "Listener", "Parts"]

Parts = Sequence[Any]
"""The parts of one message: bytes-like objects."""


class LinkChange(msgspec.Struct, frozen=True):
    """The transport connected (`up`) or broke; `reason` in words.

    `denied`: the other side does not let us in, or is not who it should be. The link then stays closed until `reopen`.
    """

    up: bool
    reason: str = ""
    denied: bool = False


class Channel(Protocol):
    """The device's end of a link to one server; used by one thread only."""

    def send(self, parts: Parts) -> bool:
        """Hand one message to the transport; False if it cannot take it now."""

    def receive(self) -> Parts | None:
        """The next message, or None."""

    def changes(self) -> list[LinkChange]:
        """What happened to the link since the last call."""

    def wait(self, wake: int, timeout: float | None, sending: bool, beside: Sequence[tuple[Channel, bool]] = ()) -> bool:
        """Sleep until something can be received (or sent, if `sending`), `wake` is readable or time is up.

        Args:
            beside: other channels of this kind to wait for as well, each with its own `sending`.

        Returns:
            True if `wake` is readable.
        """

    def reopen(self, rtt: float = 0.0) -> None:
        """Drop the link with all that is under way on it and connect anew; `rtt` is its round trip in seconds, 0.0 if unknown."""

    def close(self) -> None:
        """Give everything back; unsent messages are lost."""


class Listener(Protocol):
    """The server's end of all links; used by one thread only."""

    def send(self, peer: bytes, parts: Parts) -> bool | None:
        """Hand one message to a peer; False if it cannot take it now, None if it is gone."""

    def receive(self) -> tuple[bytes, Parts] | None:
        """The next message and the peer it came from, or None."""

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        """As Channel.wait, of this one alone."""

    def close(self) -> None:
        """Give everything back."""
