"""One server as the device sees it: is it there, how far away, and how much may be sent to it.

        LinkUp -> HELLO                 WELCOME
 DOWN ----------------> PROBING ----------------------> UP
  ^                        |  no answer: HELLO again,    | silence: Reopen
  |<-----------------------+  then Reopen with back-off  |
  |<-----------------------------------------------------+
        LinkDown, Reopen                       any: ERROR(version | unknown_app | fingerprint) -> REFUSED

Where a key is not, or no longer, allowed the link is DOWN until it is opened anew, less and less often: it may be
allowed at any time. ZeroMQ reconnects silently and its buffers hide a dead peer, so life is judged by what is heard here. Silence
means nothing while our own bytes may still fill the uplink: the limit grows with the payload under way, at the rate at
which receipts say that the link delivers.
"""

from __future__ import annotations

import msgspec

from iot_client.events import Command, Note, Refuse, Reopen, SendMessage
from iot_client.servers.flight import Flight
from wire.protocol import Bundle, Bye, Credit, Error, Hello, Message, Ping, Pong, Result, Submit, Welcome

__all__ = ["DOWN", "PROBING", "REFUSED", "UP", "Peer", "PeerConfig"]

DOWN, PROBING, UP, REFUSED = "down", "probing", "up", "refused"

_FATAL = frozenset({"version", "unknown_app", "fingerprint", "codec", "cut", "bundle"})

_HOPELESS = 3
"""Unreadable messages without a readable one between: one bit flipped in the transport's framing shifts all that follows."""
_NEVER = float("inf")
_REOPEN = 0.5
"""Seconds without a link after which the transport gets a new socket, doubled each time: a few of libzmq's own attempts."""
_PING_GAP = 0.1
"""Seconds between two PINGs at least, however much is unreadable."""

_ASK = 0.02
"""Seconds between two pings at least, where one asks for credit."""
_SLOWER = 4.0
"""How much slower than its receipts said a link may become at once without being taken for dead."""
_STRANGE = 15.0
"""Seconds without a link after which the path may be another one than it was."""
_MOST_DOUBT = 16.0
"""A RESULT or a REPORT may fill a slow link for longer than the silence allowed, on every attempt: each silence
since the last one that passed doubles the patience, up to this factor."""


class PeerConfig(msgspec.Struct, frozen=True):
    """Times in seconds, sizes in bytes."""

    heartbeat: float = 0.5
    """Longest time between two messages of ours; WELCOME may ask for another."""
    silence: float = 3.0
    """Heartbeats without a word from the server after which the link counts as dead."""
    hello_retry: float = 0.5
    """Seconds, or four round trips, until an unanswered HELLO is a reason to open another link; doubled each time."""
    backoff_max: float = 4.0
    slowest_link: float = 62_500.0
    """Bytes per second assumed (0.5 Mbit/s) where no receipt has told what the link delivers."""
    bundle: int = 0
    """Bytes of the app this device ships."""
    loading: float = 10.0
    """Seconds a server may take to start processes for it."""
    knock: float = 1.0
    knock_max: float = 8.0
    """Longest time between two tries of a device that is not let in."""


class Peer:
    """State of the connection to one server; a machine fed by Session.

    Invariants: nothing is sent beyond `limit`; UP implies `epoch != 0`; `flight` is what is under way on this link.

    With `uneven` heartbeats come up to half an interval early: at even times a ping may meet the same phase of a
    steady stream of frames each time, and never an empty link, so that no round trip is the link's own.
    """

    def __init__(self, index: int, session: int, hello: Hello, config: PeerConfig, *, uneven: bool = False) -> None:
        self.index = index
        self.state = DOWN
        self.epoch = 0
        self.rtt = 0.0
        self.min_rtt = 0.0
        self.max_job = 0
        self.lacks: tuple[int, ...] = ()
        self.sent = 0
        self.limit = 0
        self.load = 0.0
        self.welcomed = 0
        self.checksum = False
        self._session = session
        self._hello = hello
        self._config = config
        self._heartbeat = config.heartbeat
        self._heard = 0.0
        self._ping_at = 0.0
        self._pinged_at = 0.0
        self._wants = 0
        self._hello_at = 0.0
        self._backoff = config.hello_retry
        self.flight = Flight()
        self._doubt = 1.0
        self._down_since = 0.0
        self._share = session % 997 / 997
        self._knock = config.knock
        self._denied = ""
        self._uneven = uneven
        self._pings = 0
        self._garbled = 0
        self._reopen_at = _NEVER
        self._reopen_after = _REOPEN
        self._knows_path = True
        self._shipped_at = -_NEVER

    # -- what the transport says -------------------------------------------------------------------

    def link_up(self, now: float, acked: int) -> list[Command]:
        """The transport connected: introduce ourselves."""
        if self.state == REFUSED:
            return []
        self.state = PROBING
        self._heard = now
        self._reopen_at = _NEVER
        return [self._say_hello(now, acked)]

    def link_down(self, now: float) -> None:
        """The transport broke; libzmq is connecting again by itself, unless what it got was no ZMTP: then it never does."""
        if self.state != REFUSED:
            self._down(now)
            self._reopen_at, self._reopen_after = now + _REOPEN, _REOPEN

    def denied(self, reason: str, now: float) -> list[Command]:
        """We are not let in, or do not believe who answers: say so once, and knock again, less and less often."""
        if self.state == REFUSED:
            return []
        self.state = DOWN
        self._reopen_at, self._reopen_after = now + self._knock, self._knock
        self._knock = min(2 * self._knock, self._config.knock_max)
        told, self._denied = self._denied, reason
        return [] if told == reason else [Refuse("forbidden", reason)]

    # -- what the server says ----------------------------------------------------------------------

    def accepts(self, message: Message, session: int, epoch: int, now: float) -> bool:
        """Note that the server lives; True if this message belongs to the session as it stands.

        Where no link is up, or the server was given up, nothing does: what still comes is of a link that broke.
        """
        if session != self._session:
            return False
        if self.state != UP and self.state != PROBING:
            return False
        self._heard = now
        self._garbled = 0
        if type(message) is Result or (type(message) is Credit and message.receipt == "report"):
            self._doubt = 1.0
        elif type(message) is Welcome:
            return self.state == PROBING or self._said_twice(message, epoch)
        elif type(message) is Error:
            return True
        return self.state == UP and epoch == self.epoch

    def _said_twice(self, message: Welcome, epoch: int) -> bool:
        """The second answer to a HELLO said twice. The server counts from the second HELLO on, and so do we: all we sent came
        after it, but of the credit only what it grants now holds. False: the session stands already."""
        if epoch == self.epoch:
            self.limit = message.limit
        return False

    def knows(self, session: int, epoch: int) -> bool:
        """True if a message of this session and epoch belongs to the session as it stands."""
        return self.state == UP and session == self._session and epoch == self.epoch

    def welcome(self, message: Welcome, epoch: int) -> None:
        """The session stands: counters start anew, as the spec says."""
        self.state = UP
        self.epoch = epoch
        self.welcomed += 1
        self.sent, self.limit = 0, message.limit
        self._wants = 0
        self.max_job = message.max_job
        self.lacks = message.lacks
        self.checksum = message.checksum
        self.flight.broke()
        self._backoff, self._knock = self._config.hello_retry, self._config.knock
        self._denied = ""
        self._heartbeat = message.heartbeat_us / 1e6 or self._config.heartbeat
        self._ping_at = self._heard

    def credit(self, message: Credit) -> None:
        """A larger limit; limits never shrink."""
        if message.limit > self.limit:
            self.limit = message.limit
        if message.receipt == "submit":
            self.flight.received(message.seq, self._heard)

    def pong(self, message: Pong, now: float) -> list[int]:
        """One round trip measured, the time held there taken off; returns the seqs of the SUBMITs that were lost.

        Links keep order and the server sends receipts before PONG: what was sent before the PING and has no
        answer by now is lost. A timer could not tell loss from a slow uplink, and would fill it with copies.
        """
        rtt = max(0.0, now - message.stamp_us / 1e6 - message.held_us / 1e6)
        # RFC 6298 smoothing, alpha = 1/8.
        self.rtt = rtt if not self.rtt else self.rtt + (rtt - self.rtt) / 8
        self.min_rtt = rtt if not self.min_rtt else min(self.min_rtt, rtt)
        self.load = message.load
        if message.limit > self.limit:
            self.limit = message.limit
        return self.flight.lost_before(message.stamp_us)

    def error(self, message: Error, now: float, acked: int) -> list[Command]:
        """The server refused something: for good, for now, or because it has forgotten us."""
        if message.code in _FATAL:
            return self.refuse(message.code, message.text)
        if message.code == "bundle_required" and self._hello.bundle and self.state == PROBING:
            return self._send_bundle(now, acked)
        if message.code == "forbidden":
            return self.denied(message.text, now)
        if message.code == "hello_required":
            # What we sent before our HELLO is refused for as long as it takes to get there, and back: that says nothing new.
            if self.state == PROBING and now - self._hello_at < max(self._config.hello_retry / 2, 3 * self.rtt):
                return []
            self.state = PROBING
            return [self._say_hello(now, acked)]
        return [Note("warning", f"server: {message.code}: {message.text}")]

    def _send_bundle(self, now: float, acked: int) -> list[Command]:
        """Our app is not there: send it, and say HELLO again; the answer comes when its processes are ready."""
        if now - self._shipped_at < self._config.hello_retry / 2:
            return []
        self._shipped_at = now
        self._backoff = self._config.loading + self._config.bundle / self._config.slowest_link
        return [SendMessage(Bundle(self._hello.bundle), self._session, 0, -1, self.index), self._say_hello(now, acked)]

    def refuse(self, code: str, text: str) -> list[Command]:
        """This server and this app do not go together; nothing more is tried."""
        self.state = REFUSED
        return [Refuse(code, text)]

    def bye(self, reason: str) -> list[Command]:
        """The server ends the session; try again later."""
        self.state = DOWN
        return [Note("info", f"server said goodbye: {reason or 'no reason given'}"), Reopen(self.index, self.min_rtt)]

    def garbled(self, now: float) -> list[Command]:
        """Something was unreadable, here or at the server: ask soon what got lost; the third in a row means the link is beyond help."""
        if self.state not in (PROBING, UP):
            return []
        self._garbled += 1
        if self._garbled >= _HOPELESS:
            self._garbled = 0
            self.state = DOWN
            return [Note("warning", "nothing that comes can be read: connecting anew"), Reopen(self.index, self.min_rtt)]
        if self.state == UP:
            self._ping_at = min(self._ping_at, max(now, self._pinged_at + _PING_GAP))
        elif self._backoff == self._config.hello_retry:  # it may have been our HELLO, or the WELCOME
            self._hello_at = min(self._hello_at, now + _PING_GAP - self._backoff)
        return []

    # -- what we say -------------------------------------------------------------------------------

    def may_send(self, nbytes: int) -> bool:
        """True if a payload of so many bytes fits the credit."""
        return self.state == UP and self.sent + nbytes <= self.limit

    def send(self, message: Message, payload: int = -1) -> SendMessage:
        """A message on this session."""
        return SendMessage(message, self._session, self.epoch, payload, self.index)

    def ask(self, nbytes: int) -> None:
        """A payload of so many bytes waits for credit: a ping says so, soon, and acks what the server may let go."""
        if self._wants != nbytes:
            self._wants = nbytes
            self._ping_at = min(self._ping_at, self._pinged_at + _ASK)

    def submit(self, message: Submit, nbytes: int) -> SendMessage:
        """A SUBMIT, charged to the credit."""
        self.sent += nbytes
        self._wants = 0
        self.flight.sent(message.seq, nbytes, message.stamp_us)
        return SendMessage(message, self._session, self.epoch, message.seq, self.index)

    def goodbye(self) -> list[Command]:
        """Leave politely, if anyone listens."""
        return [self.send(Bye("finished"))] if self.state == UP else []

    def part(self, reason: str) -> list[Command]:
        """Nothing is to be had there: end the session, and try again only on the link to the server's next life."""
        said: list[Command] = [self.send(Bye(reason))]
        self.state, self._reopen_at = DOWN, _NEVER
        return said

    def _down(self, now: float) -> None:
        """No link any more; how long it takes does not count from the last attempt but from here."""
        if self.state == UP:
            self._down_since = now
        self.state = DOWN
        self._reopen_at, self._reopen_after = now + self._config.backoff_max, self._config.backoff_max

    # -- time --------------------------------------------------------------------------------------

    def next_wakeup(self) -> float | None:
        """When something must be said or given up."""
        if self.state == UP:
            ping_at, silent_at = self._ping_at, self._heard + self._config.silence * self._heartbeat
            return ping_at if ping_at <= silent_at else min(ping_at, self._heard + self._silence())  # which is no shorter
        if self.state == PROBING:
            return self._hello_at + max(self._backoff, 4 * self.rtt)
        if self.state == DOWN and self._reopen_at != _NEVER:
            return self._reopen_at
        return None

    def tick(self, now: float, acked: int) -> list[Command]:
        """Heartbeat, HELLO again, or give the link up."""
        if self.state == UP and now >= self._heard + self._silence():
            self._down(now)
            self._doubt = min(2 * self._doubt, _MOST_DOUBT)
            return [Note("warning", f"server silent for {now - self._heard:.1f} s: connecting anew"), Reopen(self.index, self.min_rtt)]
        if self.state == UP and now >= self._ping_at:
            self._ping_at = now + self._heartbeat * self._next_share()
            self._pinged_at = now
            self.flight.beat(now)
            return [self.send(Ping(int(now * 1e6), acked, self.sent, self._wants, int(self.min_rtt * 1e6)))]
        if self.state == PROBING and now >= self._hello_at + max(self._backoff, 4 * self.rtt):
            self._down(now)
            self._backoff = min(2 * self._backoff * (1.0 + self._share / 4), self._config.backoff_max)
            return [Reopen(self.index, self.min_rtt)]
        if self.state == DOWN and now >= self._reopen_at:
            self._reopen_after = min(2 * self._reopen_after, self._config.backoff_max)
            self._reopen_at = now + self._reopen_after * (1.0 + self._share / 4)
            # The next network may be a slow one: after a while every other socket waits as if nothing were known.
            strange = now - self._down_since > _STRANGE and self._reopen_after == self._config.backoff_max
            self._knows_path = not (strange and self._knows_path)
            return [Reopen(self.index, self.min_rtt if self._knows_path else 0.0)]
        return []

    def _next_share(self) -> float:
        """Of the heartbeat's interval: the golden ratio's multiples fill it most evenly."""
        if not self._uneven:
            return 1.0
        self._pings += 1
        return 1.0 - 0.5 * (0.618033988749895 * self._pings % 1.0)

    def _say_hello(self, now: float, acked: int) -> SendMessage:
        self._hello_at = now
        hello = msgspec.structs.replace(self._hello, acked=acked)
        return SendMessage(hello, self._session, 0, -1, self.index)

    def _silence(self) -> float:
        """Seconds without a word that mean that the link is dead.

        Receipts come in order, so a link that delivers is never silent for longer than the oldest payload takes.
        """
        quiet = max(self._config.silence * self._heartbeat, 4 * self.rtt) * self._doubt
        takes = self.flight.oldest_takes
        return quiet + (self.flight.nbytes / self._config.slowest_link if takes is None else _SLOWER * takes)
