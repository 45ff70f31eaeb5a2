"""What is heard of the first server: its link, its WELCOME, its answers, and what it has of what it was sent.

It carries everything that is no race, and the answers of the first cloud of one (racing/rivals.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iot_client.events import Command, Garbled, LinkDown, LinkUp, MessageReceived, Note
from iot_client.frames.frame import READY, SENT
from iot_client.servers.peer import UP, Peer
from wire.protocol import Bye, Credit, Error, Message, Plan, Pong, Result, State, Welcome

if TYPE_CHECKING:
    from iot_client.racing.rivals import Rival
    from iot_client.session import Session

__all__ = ["Home"]


class Home:
    """Hears the first server for the parts of a session. `entrant` is its place in races, if there are any."""

    def __init__(self, session: Session, peer: Peer, entrant: Rival | None) -> None:
        self.peer = peer
        self._session = session
        self._stream = session.stream
        self._entrant = entrant
        self._guide, self._owner, self._variants = session.guide, session.owner, session.variants
        self._messages: dict[type, Callable[[Any, MessageReceived, float], None]] = {
            Result: self._on_result, Credit: self._on_credit, Pong: self._on_pong, Welcome: self._on_welcome,
            Error: self._on_error, Bye: self._on_bye, Plan: self._on_plan,
        }
        if session.owner is not None:
            owner = session.owner
            self._messages[State] = lambda message, event, now: owner.received(message, peer, event, now)

    @property
    def acked(self) -> int:
        """Below this seq no answer is of any use."""
        return self._stream.head if self._entrant is None else self._entrant.acked

    # -- its link ----------------------------------------------------------------------------------

    def link_up(self, event: LinkUp, now: float) -> None:
        """The transport connected."""
        self._stream.out += self.peer.link_up(now, self.acked)

    def link_down(self, event: LinkDown, now: float) -> None:
        """The transport broke."""
        if event.denied:
            self._say(self.peer.denied(event.reason, now))
            return
        if self.peer.state == UP:
            self._note("warning", f"link to the server lost: {event.reason or 'connection closed'}")
        self.peer.link_down(now)

    def garbled(self, event: Garbled, now: float) -> None:
        """Something came that is no message."""
        if self._entrant is not None:
            self._entrant.garbled(now)
        else:
            self._stream.out += self._session.damage.something(self.peer, now)

    def tick(self, now: float) -> None:
        """Heartbeat, HELLO again, or give the link up."""
        commands = self.peer.tick(now, self.acked)
        self._stream.out += commands if self._entrant is None else self._entrant.beating(commands, now)

    # -- what it says ------------------------------------------------------------------------------

    def message(self, event: MessageReceived, now: float) -> None:
        """It said something."""
        if type(event.message) is Error and not event.session:
            self.garbled(Garbled(), now)  # the server could not read what we sent
        elif self.peer.accepts(event.message, event.session, event.epoch, now):
            handler = self._messages.get(type(event.message))
            if event.damaged:
                self._on_damaged(event.message, now)
            elif handler is not None:
                handler(event.message, event, now)

    def _on_damaged(self, message: Message, now: float) -> None:
        """A SUBMIT arrived damaged at the server, or a RESULT here."""
        if self._entrant is not None:
            self._entrant.damaged(message, now)
        elif isinstance(message, Result | Error):
            again = self._session.damage.job(message.seq, self.peer, now)
            if again and self._guide is not None:
                self._guide.lost(message.seq)
            if self._owner is not None:  # also of a frame that has its outcome, repeated for the state after it
                self._owner.lost(message.seq)

    def _on_welcome(self, message: Welcome, event: MessageReceived, now: float) -> None:
        session, peer, stream = self._session, self.peer, self._stream
        lacking = session.config.lacking(session.split, message.lacks)
        if lacking and self._entrant is None:
            why = f" ({message.warning})" if message.warning else ""
            stream.out += peer.refuse("cut", f"split {session.split}: the server lacks what these stages need: {lacking}{why}")
            return
        if peer.welcomed > 0:
            self._note("info", "served again" + (", session resumed" if message.resumed else ", a new session"))
        peer.welcome(message, event.epoch)
        fits = self._entrant is None or self._entrant.judge(message)
        if self._guide is not None:
            self._guide.welcome(message, now)
        if self._variants is not None:
            stream.out += self._variants.welcome(message)
        if stream.fitting is not None:
            stream.fitting.welcome(message.minor)
        if self._entrant is None:
            session.started = True
        if message.warning and fits:
            self._note("warning", message.warning)
        if self._entrant is not None:
            self._entrant.welcomed(resumed=message.resumed, now=now)
        else:
            self._send_again(resumed=message.resumed, now=now)
        if self._owner is not None:
            self._owner.welcome(message, now)
        session.reports.reconnected()

    def _send_again(self, *, resumed: bool, now: float) -> None:
        if not resumed:
            self._session.fallback.new_life(now)
        unanswered = [frame for frame in self._stream.frames.values() if frame.state in (SENT, READY)]
        for frame in unanswered:
            frame.state = READY
        self._stream.ready = deque(unanswered)

    def _on_result(self, message: Result, event: MessageReceived, now: float) -> None:
        self.peer.flight.received(message.seq, now)
        if self._variants is not None:
            self._variants.answered(message.variant)
        if self._session.races is not None:
            self._session.races.result(0, message, now)
        else:
            self._session.answers.take(message, event.nbytes, now)

    def _on_plan(self, message: Plan, event: MessageReceived, now: float) -> None:
        if self._variants is not None:
            self._variants.plan(message)
        if self._guide is not None:
            self._guide.granted(message.allowance)

    def _on_credit(self, message: Credit, event: MessageReceived, now: float) -> None:
        self.peer.credit(message)
        if message.receipt == "submit":
            self._on_receipt(message, now)
        if message.receipt == "state" and self._owner is not None:
            self._owner.receipt(message.seq)
        if message.receipt == "report":
            self._session.departures.received(message.seq)

    def _on_receipt(self, message: Credit, now: float) -> None:
        """The server has the job; only its RESULT can still be lost, which a link in order hardly ever does."""
        if self._entrant is not None:
            self._entrant.receipt(message, now)
            return
        frame = self._stream.frames.get(message.seq)
        if self._guide is not None:
            self._guide.receipt(message.seq, frame, message.held_us / 1e6, now)
        if self._stream.fitting is not None:
            self._stream.fitting.received(message.seq, message.held_us / 1e6, now)
        if frame is not None and frame.state == SENT:
            frame.resend_at = now + self._session.config.resend * 2 ** min(frame.attempts - 1, 5)

    def _on_pong(self, message: Pong, event: MessageReceived, now: float) -> None:
        if self._guide is not None:
            self._guide.round_trip(message, now)
        lost, fitting = self.peer.pong(message, now), self._stream.fitting
        if fitting is not None:
            fitting.round_trip(now - message.stamp_us / 1e6 - message.held_us / 1e6, lost, now)
        if self._entrant is not None:
            self._entrant.heartbeat(message, lost, now)
        for seq in lost:
            self._lost(seq)
        if self._owner is not None:
            self._owner.answered(message.stamp_us / 1e6, now)
        self._session.reports.answered_up_to(message.stamp_us / 1e6)

    def _lost(self, seq: int) -> None:
        """The SUBMIT of this frame never arrived."""
        damage = self._session.damage
        if self._guide is not None:
            self._guide.lost(seq)
        frame = self._stream.frames.get(seq)
        if frame is not None and not damage.seen:  # else it may be the receipt that was damaged
            frame.out = False
        damage.again(seq)
        if self._owner is not None:
            self._owner.lost(seq)

    def _on_error(self, message: Error, event: MessageReceived, now: float) -> None:
        if message.code == "damaged":
            self._on_damaged(message, now)
        elif message.code != "oversize" or self._owner is None or not self._owner.refused(message, now):
            self._say(self.peer.error(message, now, self.acked))

    def _on_bye(self, message: Bye, event: MessageReceived, now: float) -> None:
        self._stream.out += self.peer.bye(message.reason)

    def _say(self, commands: list[Command]) -> None:
        if self._entrant is None:
            self._stream.out += commands
        else:
            self._entrant.say(commands)

    def _note(self, level: str, text: str) -> None:
        self._stream.out.append(Note(level, text))
