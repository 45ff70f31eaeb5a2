"""Connections on trial, where the first one does not come to stand: a blackhole that opens is found within one `step`.

A SYN that is lost is sent again after a second (RFC 6298), and libzmq tries anew only when it has given up the attempt
before. Shorter attempts would find a link sooner but never stand on a path that has become slower than they allow. So
attempts overlap: one begins every `step`, each with all the patience it may need, and the first to stand wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from wire.identity import DeviceKeys
from wire.sockets import make_socket

__all__ = ["HANDSHAKE_FAILED", "Dial", "Trials"]

HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | HANDSHAKE_FAILED
_STEP = 0.075
"""Seconds between two attempts at least: four of them fit into the quarter of a second that each has."""
_TIRED = 0.01
"""Of the time since the first attempt, which the next one may wait for: who is offline for long need not hurry as much."""


class Dial:
    """A DEALER that connects to `endpoint`, and the monitor that says how it goes."""

    def __init__(
        self, context: zmq.Context[Any], endpoint: str, max_message: int, keys: DeviceKeys | None, options: dict[int, int]
    ) -> None:
        self.socket: zmq.Socket[Any] = make_socket(context, zmq.DEALER, max_message, keys)
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        self.monitor: zmq.Socket[Any] = self.socket.get_monitor_socket(_WATCHED)
        self.socket.connect(endpoint)

    def events(self) -> Iterator[int]:
        """What happened since the last call."""
        while self.monitor.poll(0):
            yield int(recv_monitor_message(self.monitor)["event"])

    def close(self) -> None:
        """Give both sockets back."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


class _Trial:
    """One attempt: when it began, and whether somebody answered."""

    __slots__ = ("answered", "began", "dial", "over")

    def __init__(self, dial: Dial, now: float) -> None:
        self.dial, self.began, self.answered, self.over = dial, now, False, False

    def look(self) -> bool:
        """True if it stands."""
        for event in self.dial.events():
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return True
            self.answered = self.answered or event == zmq.EVENT_CONNECTED
            self.over = self.over or event != zmq.EVENT_CONNECTED
        return False


class Trials:
    """Attempts beside a first one, which the caller has begun.

    While one of them is answered no other begins: the path is there, and what is missing is the handshake.

    Args:
        dial: begins one attempt, without repetition.
        rtt: seconds of a round trip there. connect, handshake: seconds an attempt may take until it is answered, and then to stand.
    """

    def __init__(self, dial: Callable[[], Dial], rtt: float, connect: float, handshake: float) -> None:
        self._dial = dial
        self._step = max(_STEP, rtt)
        self._connect, self._handshake = connect, handshake
        self._trials: list[_Trial] = []
        self._began = monotonic()
        self._next_at = self._began + self._step

    def stood(self) -> Dial | None:
        """The attempt that stands, if one does: it is the caller's, and all others are over."""
        now = monotonic()
        for trial in self._trials:
            if trial.look():
                self._trials.remove(trial)
                self.close()
                return trial.dial
        for trial in [trial for trial in self._trials if trial.over or now >= trial.began + self._patience(trial)]:
            trial.dial.close()
            self._trials.remove(trial)
        if now >= self._next_at:
            self._next_at = now + max(self._step, _TIRED * (now - self._began))
            if not any(trial.answered for trial in self._trials):
                self._trials.append(_Trial(self._dial(), now))
        return None

    def wakeup(self) -> float:
        """Seconds until there is something to do."""
        return max(0.0, self._next_at - monotonic())

    @property
    def monitors(self) -> list[zmq.Socket[Any]]:
        """Readable when there is something to see."""
        return [trial.dial.monitor for trial in self._trials]

    def close(self) -> None:
        """Give all attempts up."""
        for trial in self._trials:
            trial.dial.close()
        self._trials.clear()

    def _patience(self, trial: _Trial) -> float:
        return self._connect + (self._handshake if trial.answered else 0.0)
