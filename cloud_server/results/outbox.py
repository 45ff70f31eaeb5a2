"""What devices cannot take yet: kept for a while and up to a number of bytes, never for ever."""

from __future__ import annotations

from collections import deque

from wire.channel import Listener, Parts

__all__ = ["Outbox"]

_MOST = 1024
"""Messages kept for one device; most are of some fifty bytes."""


class _Waiting:
    """One device's messages, and since when the first of them waits."""

    __slots__ = ("messages", "nbytes", "since")

    def __init__(self, since: float) -> None:
        self.messages: deque[Parts] = deque()
        self.nbytes = 0
        self.since = since


class Outbox:
    """Sends, and keeps in order what a device's link does not take.

    Args:
        most: bytes kept for one device; patience: seconds its first message may wait.
    """

    def __init__(self, most: int, patience: float) -> None:
        self.nbytes = 0
        self._most = most
        self._patience = patience
        self._waiting: dict[bytes, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, listener: Listener, peer: bytes, parts: Parts, now: float) -> str | None:
        """Hand over or keep one message; returns why the device is given up ("": its link is gone), or None."""
        waiting = self._waiting.get(peer)
        if waiting is None:
            sent = listener.send(peer, parts)
            if sent:
                return None
            if sent is None:
                return ""
            waiting = self._waiting[peer] = _Waiting(now)
        size = sum(map(len, parts))
        waiting.messages.append(parts)
        waiting.nbytes += size
        self.nbytes += size
        if len(waiting.messages) > _MOST or waiting.nbytes > self._most:
            return self._give_up(peer, f"does not read: {len(waiting.messages)} messages of {waiting.nbytes} bytes wait for it")
        return None

    def flush(self, listener: Listener, now: float) -> list[tuple[bytes, str]]:
        """Hand over what can be; returns the devices given up, and why ("": the link is gone)."""
        lost = []
        for peer, waiting in list(self._waiting.items()):
            while waiting.messages:
                sent = listener.send(peer, waiting.messages[0])
                if not sent:
                    break
                self._took(waiting, now)
            if not waiting.messages:
                del self._waiting[peer]
            elif sent is None:
                lost.append((peer, self._give_up(peer, "")))
            elif now - waiting.since > self._patience:
                lost.append((peer, self._give_up(peer, f"has read nothing for {self._patience:g} s")))
        return lost

    def _took(self, waiting: _Waiting, now: float) -> None:
        size = sum(map(len, waiting.messages.popleft()))
        waiting.nbytes -= size
        self.nbytes -= size
        waiting.since = now

    def _give_up(self, peer: bytes, reason: str) -> str:
        self.nbytes -= self._waiting.pop(peer).nbytes
        return reason
