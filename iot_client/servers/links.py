"""The device's links to its servers: a channel and an outbox each, and one wait for all of them and the inbox.

A link's index is that of the machine's peer: home is 0. One thread uses them all.
"""

from __future__ import annotations

from typing import Any

from wire.channel import Channel, Parts
from wire.inbox import Inbox

__all__ = ["Link", "Links"]


class Link:
    """The way to one server: its channel, and what waits to be sent on it at the end of this turn or later, the oldest first."""

    __slots__ = ("channel", "index", "outbox")

    def __init__(self, index: int, channel: Channel) -> None:
        self.index = index
        self.channel = channel
        self.outbox: list[Parts] = []

    def flush(self) -> None:
        """Hand over what the transport takes now; the rest stays."""
        sent, send = 0, self.channel.send
        for parts in self.outbox:
            if not send(parts):
                break
            sent += 1
        del self.outbox[:sent]

    def reopen(self, rtt: float) -> None:
        """Begin anew: what waited was for the session as it stood on the old connection."""
        self.outbox.clear()
        self.channel.reopen(rtt)


class Links:
    """All of them, by index; empty on a device that runs alone."""

    def __init__(self) -> None:
        self.all: list[Link] = []

    def add(self, channel: Channel) -> Link:
        """One more, with the next index."""
        self.all.append(Link(len(self.all), channel))
        return self.all[-1]

    def flush(self) -> None:
        """Send what can be sent on each."""
        for link in self.all:
            if link.outbox:
                link.flush()

    def wait(self, inbox: Inbox[Any], timeout: float | None) -> None:
        """Sleep, with the inbox armed, until one of them or the inbox has something, or for `timeout` seconds."""
        if not self.all:
            inbox.wait(timeout)
            return
        home = self.all[0]
        beside = [(link.channel, bool(link.outbox)) for link in self.all[1:]] if len(self.all) > 1 else ()
        inbox.disarm(home.channel.wait(inbox.fileno, timeout, bool(home.outbox), beside))

    def close(self) -> None:
        """Send what can still be sent, and give all channels back."""
        self.flush()
        for link in self.all:
            link.channel.close()
