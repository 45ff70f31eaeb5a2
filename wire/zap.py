"""Who may open a connection: the answers to what libzmq asks about each key that knocks (RFC 27, ZAP).

There is no thread: the questions are answered by the loop that reads the messages, between two of them. So the
authenticator lives exactly as long as what it guards; and if its socket is ever gone, `answer` raises and the
listener closes. libzmq lets nobody in while nobody answers, because the domain is enforced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import zmq

from wire.channel import Channel
from wire.keys import text_of, words_of
from wire.knocks import Knocks

__all__ = ["DOMAIN", "Gate", "GateFailed", "prove"]

DOMAIN = b"spillway"
_ENDPOINT = "inproc://zeromq.zap.01"
_BURST = 16
"""Questions answered before messages get their turn."""
_QUIET_S = 10.0
"""Between two lines about who was refused."""
_PROOF_S = 5.0


class GateFailed(OSError):
    """Keys can no longer be checked, or were seen not to be; nothing may be served."""


class Gate:
    """The keys that are let in, and the name of each.

    Args:
        context: that of the socket to guard; make the gate before the socket binds.
        allowed: keys by the names of their devices.
        on_note: called with (level, text), on the loop's thread.

    Attributes:
        refused: how many connections were. knocks: how often, and from where.
    """

    def __init__(self, context: zmq.Context[Any], allowed: Mapping[str, bytes], on_note: Callable[[str, str], None]) -> None:
        self.socket: zmq.Socket[Any] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        try:
            self.socket.bind(_ENDPOINT)
        except zmq.ZMQError:
            self.socket.close(0)
            raise
        self.refused = 0
        self.knocks = Knocks()
        self.quiet = False
        self._on_note = on_note
        self._unsaid = 0
        self._say_at = 0.0
        self.allow(allowed)

    def allow(self, allowed: Mapping[str, bytes]) -> None:
        """From now on these, and no others, for connections and for messages."""
        self._names = {key.hex(): name for name, key in allowed.items()}

    def name_of(self, frame: zmq.Frame) -> str | None:
        """The device whose key sent this frame; None if it is not allowed, or no longer."""
        try:
            return self._names.get(str(frame.get("User-Id")))
        except zmq.ZMQError:
            return None

    def answer(self) -> None:
        """Answer the questions that wait, some at a time.

        Raises:
            GateFailed: it cannot be asked any more.
        """
        try:
            for _ in range(_BURST):
                question = self.socket.recv_multipart(zmq.DONTWAIT)
                self.socket.send_multipart(self._verdict(question), zmq.DONTWAIT)
        except zmq.Again:
            return
        except zmq.ZMQError as error:
            raise GateFailed(error.errno, f"keys of devices can no longer be checked ({error}): nothing is served any more") from error

    def close(self) -> None:
        """Ask no more; whoever knocks now is refused by libzmq."""
        self.socket.close(0)

    def _verdict(self, question: list[bytes]) -> list[bytes]:
        """version, request, status, text, User-Id, metadata. Whatever goes wrong in here is a no."""
        request = question[1] if len(question) > 1 else b""
        try:
            user = self._user(question)
        except Exception as error:
            user = ""
            complaint = f"a key could not be checked, and was refused: {type(error).__name__}: {error}"
            self._say("error", lambda: complaint)
        if user:
            return [b"1.0", request, b"200", b"OK", user.encode(), b""]
        self.refused += 1
        if not self.quiet:
            self.knocks.refused(b"".join(question[3:4]).decode("ascii", "replace"))
        # 400 and no other: on 300 the device would wait in silence.
        return [b"1.0", request, b"400", b"not allowed", b"", b""]

    def _user(self, question: list[bytes]) -> str:
        version, _, domain, address, _, mechanism, *credentials = question
        if (version, domain, mechanism, len(credentials)) != (b"1.0", DOMAIN, b"CURVE", 1):
            return ""
        user = credentials[0].hex()
        if user in self._names:
            return user
        self._say("warning", lambda: _refusal(address, credentials[0]))
        return ""

    def _say(self, level: str, text: Callable[[], str]) -> None:
        """One line at once, then at most one in ten seconds with the number of those between."""
        now = monotonic()
        if self.quiet or now < self._say_at:
            self._unsaid += not self.quiet
            return
        more = f"; {self._unsaid} more were refused since the last such line" if self._unsaid else ""
        self._say_at, self._unsaid = now + _QUIET_S, 0
        self._on_note(level, text() + more)


def _refusal(address: bytes, key: bytes) -> str:
    known = f"key {text_of(key)} ({words_of(key)})"
    return f"refused {address.decode('ascii', 'replace')}: {known} is not allowed; `cloud-server devices allow NAME KEY` lets it in"


def prove(gate: Gate, strangers: Mapping[str, Channel]) -> None:
    """See with one's own eyes that each of these is refused; they were made to connect to what the gate guards.

    Raises:
        GateFailed: one was let in, or nothing came of it in time.
    """
    gate.quiet = True
    try:
        for who, stranger in strangers.items():
            _prove_one(gate, who, stranger)
    finally:
        gate.quiet = False
        gate.refused = 0


def _prove_one(gate: Gate, who: str, stranger: Channel) -> None:
    until = monotonic() + _PROOF_S
    while monotonic() < until:
        stranger.wait(gate.socket.getsockopt(zmq.FD), 0.01, False)  # type: ignore[arg-type]
        gate.answer()
        for change in stranger.changes():
            if change.up:
                raise GateFailed(f"self-test: {who} was let in; nothing is served")
            if change.denied:
                return
    raise GateFailed(f"self-test: {who} was neither let in nor refused within {_PROOF_S:g} s (is loopback up?); nothing is served")
