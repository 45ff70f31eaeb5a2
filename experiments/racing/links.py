"""What a device knows of its servers, from what it heard and said: who is up, and what is at whom."""

from __future__ import annotations

from experiments.racing.world import FIRST_SESSION
from iot_client.events import LinkDown, LinkUp, MessageReceived, Reopen, SendMessage
from wire.protocol import Bye, Cancel, Error, Result, Submit, Welcome

__all__ = ["Links"]

_RACE = 1
"""The stage whose alternatives race."""


class Links:
    """Up or not, and jobs sent and not answered, by peer."""

    def __init__(self, count: int) -> None:
        self.up = [False] * count
        self.unfit = [False] * count
        """Whose server cannot run it, as it said last."""
        self.jobs: list[set[int]] = [set() for _ in range(count)]
        self._probing = [False] * count
        self._epochs = [0] * count

    def heard(self, event: object) -> list[int]:
        """Take an event; the peers that are up now and were not, or the other way round."""
        before = list(self.up)
        if type(event) is LinkUp:
            self._probing[event.peer], self.up[event.peer] = True, False
        elif type(event) is LinkDown:
            self.up[event.peer] = self._probing[event.peer] = False
        elif type(event) is MessageReceived and event.session == FIRST_SESSION + event.peer:
            self._message(event)
        return [peer for peer, up in enumerate(self.up) if up != before[peer]]

    def _message(self, event: MessageReceived) -> None:
        message, peer = event.message, event.peer
        if type(message) is Welcome and self._probing[peer] and not self.up[peer]:
            self.unfit[peer] = _RACE in message.lacks
            self.up[peer], self._epochs[peer] = not self.unfit[peer], event.epoch
            self._probing[peer] = not self.unfit[peer]
            if not message.resumed:
                self.jobs[peer].clear()
        elif type(message) is Error and message.code == "hello_required" and (self.up[peer] or self._probing[peer]):
            self.up[peer], self._probing[peer] = False, True
        elif type(message) is Bye and self.accepts(event):
            self.up[peer] = self._probing[peer] = False

    def accepts(self, event: MessageReceived) -> bool:
        """True if a message belongs to the session as it stands."""
        return self.up[event.peer] and event.session == FIRST_SESSION + event.peer and event.epoch == self._epochs[event.peer]

    def said(self, command: object) -> int | None:
        """Take a command; the peer that is given up by it, if one is."""
        if type(command) is Reopen:
            was_up, self.up[command.peer] = self.up[command.peer], False
            self._probing[command.peer] = False
            return command.peer if was_up else None
        if type(command) is SendMessage and type(command.message) is Submit:
            self.jobs[command.peer].add(command.message.seq)
        elif type(command) is SendMessage and type(command.message) is Cancel:
            self.jobs[command.peer].discard(command.message.seq)
        return None

    def answered(self, peer: int, message: Result) -> None:
        """A RESULT came."""
        self.jobs[peer].discard(message.seq)
