"""Several clients on one uplink: a thread that plans for all of them, so that the bytes go where they buy the most accuracy.

    front = Client(objects_app, host="192.0.2.7", mode="live", source=camera)
    lanes = Client(lanes_app, host="192.0.2.7", mode="live", source=camera)
    stakes = [
        Stake("objects", 0.42, (Rung(0, "jpeg:90", 0.58), Rung(0, "jpeg:50", 0.54))), Stake("lanes", 0.71, (Rung(0, "jpeg:80", 0.78),)),
    ]
    with Services([front, lanes], stakes) as services:
        ...                       # read the results of both, each on a thread of its own
        print(services.standing())

docs/speculation.md, "Several services, one uplink".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

import msgspec

from iot_client.client import Client
from iot_client.uplink.allowance import Allowance
from iot_client.uplink.planner import PLANNERS, plan
from iot_client.uplink.record import Seen
from iot_client.uplink.sharing import HEADROOM, Rung, Sharing, Stake
from metrics.clock import Clock, SystemClock

__all__ = ["Rung", "Services", "Stake", "Standing"]

_LOOK_S = 0.05
"""Between two looks at the link."""


class Standing(msgspec.Struct, frozen=True):
    """One service now: what it may send, what it expects of that, and its frames per second."""

    name: str
    allowance: Allowance
    fps: float
    value: float


class Services:
    """Starts and closes the clients, and plans for them every half second, and at once when the link changes.

    Args:
        clients: each with an app that has a race, not started.
        stakes: what each is worth, in the same order.
        headroom: the part of the link that is granted.
        planner: "exact" or "greedy".
        on_note: called with (level, text), on the planning thread.

    Raises:
        ValueError: an argument does not fit; the text says which.
    """

    def __init__(
        self, clients: Sequence[Client], stakes: Sequence[Stake], *, headroom: float = HEADROOM, planner: str = "exact",
        on_note: Callable[[str, str], None] = lambda level, text: None, clock: Clock | None = None,
    ) -> None:
        _check(clients, stakes, headroom, planner)
        self.clients = tuple(clients)
        self.plans = 0
        self._sharing = Sharing(stakes, lambda problem, before: plan(problem, planner, before), headroom=headroom)
        self._allowed: list[Allowance | None] = [None] * len(clients)
        self._seen: list[Seen] = [Seen()] * len(clients)
        self._on_note = on_note
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._closing = ExitStack()
        self._told = ""

    def __enter__(self) -> Services:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(patience=2.0 if kind is None else 0.0)

    def start(self) -> None:
        """Start every client, then the planning; where one cannot be started those before it are closed.

        Raises:
            As Client.start.
        """
        with ExitStack() as started:
            for client in self.clients:
                client.start()
                started.callback(client.close, 0.0)
            self._closing = started.pop_all()
        self._plan(self._clock.now())
        self._thread.start()

    def stop(self, patience: float = 2.0) -> None:
        """Capture no more, in any client; frames in flight get `patience` seconds."""
        for client in self.clients:
            client.stop(patience)

    def close(self, patience: float = 2.0) -> None:
        """Stop, and give everything back."""
        self.stop(patience)
        for client in self.clients:
            client.close(patience)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._closing.close()

    def standing(self) -> tuple[Standing, ...]:
        """Each service as it was planned for last; from any thread."""
        grants = self._sharing.plan.grants or [None] * len(self.clients)
        return tuple(
            Standing(stake.name, allowed or Allowance(), seen.fps, 0.0 if grant is None else grant.value)
            for stake, allowed, seen, grant in zip(self._sharing.stakes, self._allowed, self._seen, grants)
        )

    @property
    def rate(self) -> float:
        """Bytes per second of the link as it was planned for last; 0.0 while nothing is known."""
        return self._sharing.problem.capacity

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            try:
                self._look(self._clock.now())
            except Exception as error:  # clients go on with what they were allowed last
                self._tell(f"no plan for the uplink: {type(error).__name__}: {error}")

    def _tell(self, text: str) -> None:
        """A trouble that lasts is told once."""
        if text != self._told:
            self._told = text
            self._on_note("warning", text)

    def _look(self, now: float) -> None:
        sights = [(number, sight) for number, client in enumerate(self.clients) for sight in client.portion.sights()]
        self._sharing.see(sights)
        if self._sharing.due(now):
            self._plan(now)

    def _plan(self, now: float) -> None:
        self._seen = [client.portion.shown(now) for client in self.clients]
        self.plans += 1
        for number, allowance in enumerate(self._sharing.allow(self._seen, now)):
            if allowance != self._allowed[number]:
                self._allowed[number] = allowance
                self.clients[number].portion.allow(allowance)


def _check(clients: Sequence[Client], stakes: Sequence[Stake], headroom: float, planner: str) -> None:
    if not clients or len(clients) != len(stakes):
        raise ValueError(f"{len(clients)} clients and {len(stakes)} stakes; legal: one client or more, and a stake for each")
    if planner not in PLANNERS:
        raise ValueError(f"planner={planner!r}; legal: one of {', '.join(PLANNERS)}")
    if not 0.0 < headroom <= 1.0:
        raise ValueError(f"headroom={headroom}; legal: above 0, at most 1")
    for client, stake in zip(clients, stakes):
        clouds = client.portion.clouds
        if not clouds:
            raise ValueError(f"service {stake.name!r}: app {client.app.name!r} races nothing here: give it a Speculative stage and a host")
        for rung in stake.rungs:
            if not 0 <= rung.cloud < clouds:
                raise ValueError(f"service {stake.name!r}: cloud={rung.cloud}; legal: 0 to {clouds - 1}, the clouds of its race by rank")
