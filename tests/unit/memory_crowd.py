"""Devices on virtual time that share a server's memory: real accounts, paths with a delay, and a server that does so much a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from cloud_server.shares.memory import Account, Memory

__all__ = ["Camera", "Crowd"]

_ASK, _BEAT = 0.02, 0.5
"""Seconds between two PINGs of a device that waits for credit, at least, and of any, at most (iot_client/servers/peer.py)."""


class Camera:
    """A device with frames of `nbytes`, as many as its link carries, or `fps` of them a second, of which it has `most` under way.

    `sent` and `done` are when frames left and were answered.
    """

    most = 64

    def __init__(self, number: int, starts: float, nbytes: int, *, fps: float = 0.0, rate: float = 12.5e6, trip: float = 0.02) -> None:
        self.number, self.starts, self.nbytes, self.fps, self.rate, self.trip = number, starts, nbytes, fps, rate, trip
        self.limit = self.bytes_sent = self.waiting = self.under_way = 0
        self.free_at = self.asked_at = self.fed = 0.0
        self.links = 0
        self.welcomed = False
        self.sent: list[float] = []
        self.done: list[float] = []


class Crowd:
    """Runs them; the server answers jobs of so many bytes a second, by device in turn."""

    def __init__(self, memory: Memory, cameras: list[Camera], speed: float) -> None:
        self.memory, self.cameras, self.speed = memory, cameras, speed
        self.accounts = [Account(camera.number, memory) for camera in cameras]
        self.now, self.most_used = 0.0, 0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._turns: deque[Camera] = deque()
        self._queued = [0] * len(cameras)
        self._busy = False
        for camera in cameras:
            self.at(camera.starts, lambda camera=camera: self._link(camera))  # type: ignore[misc]
        self.at(1.0, self._sweep)

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Do something later."""
        heappush(self._agenda, (time, next(self._order), what))

    def run(self, until: float) -> None:
        """Let time pass; the cap holds all the while."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, what = heappop(self._agenda)
            what()
            assert self.memory.used <= self.memory.cap
            self.most_used = max(self.most_used, self.memory.used)

    # -- devices -----------------------------------------------------------------------------------

    def _link(self, camera: Camera) -> None:
        """HELLO is there; what was on its way on an older link does not count."""
        camera.links += 1
        camera.bytes_sent, camera.limit = 0, self.accounts[camera.number].link()
        camera.fed = self.now
        self.at(self.now + camera.trip / 2, lambda: self._welcome(camera))

    def _welcome(self, camera: Camera) -> None:
        first, camera.welcomed = not camera.welcomed, True
        if first and camera.fps:
            self.at(self.now, lambda: self._shows(camera))
        if first:
            self.at(self.now, lambda: self._beats(camera))
        self._send(camera)

    def _shows(self, camera: Camera) -> None:
        camera.waiting = min(camera.waiting + 1, 2)  # live: the newest
        self._send(camera)
        self.at(self.now + 1.0 / camera.fps, lambda: self._shows(camera))

    def _beats(self, camera: Camera) -> None:
        self._ping(camera)
        self.at(self.now + _BEAT, lambda: self._beats(camera))

    def _send(self, camera: Camera) -> None:
        while (camera.waiting or not camera.fps) and camera.under_way < camera.most:
            if camera.bytes_sent + camera.nbytes > camera.limit:
                if self.now >= camera.asked_at + _ASK:
                    self._ping(camera)
                return
            camera.waiting = max(0, camera.waiting - 1)
            camera.bytes_sent += camera.nbytes
            camera.under_way += 1
            camera.sent.append(self.now)
            camera.free_at = max(camera.free_at, self.now) + camera.nbytes / camera.rate
            self.at(camera.free_at + camera.trip / 2, lambda link=camera.links: self._arrive(camera, link))  # type: ignore[misc]

    def _ping(self, camera: Camera) -> None:
        wants = camera.nbytes if camera.bytes_sent + camera.nbytes > camera.limit and (camera.waiting or not camera.fps) else 0
        camera.asked_at = self.now
        camera.free_at = max(camera.free_at, self.now)
        sent, link = camera.bytes_sent, camera.links
        self.at(camera.free_at + camera.trip / 2, lambda: self._pinged(camera, link, sent, wants))

    def _hears(self, camera: Camera, limit: int) -> None:
        """A limit, on its way back."""
        link = camera.links
        self.at(self.now + camera.trip / 2, lambda: self._limit(camera, link, limit))

    def _limit(self, camera: Camera, link: int, limit: int) -> None:
        if link == camera.links:
            camera.limit = max(camera.limit, limit)
            self._send(camera)

    # -- the server --------------------------------------------------------------------------------

    def _pinged(self, camera: Camera, link: int, sent: int, wants: int) -> None:
        if link == camera.links:
            account = self.accounts[camera.number]
            account.reconcile(sent, wants)
            self._hears(camera, account.announce())

    def _arrive(self, camera: Camera, link: int) -> None:
        account = self.accounts[camera.number]
        if link == camera.links:
            assert not account.receive(camera.nbytes), "a device keeps to its limit"
            camera.fed = self.now
        account.keep(camera.nbytes)
        if not self._queued[camera.number]:
            self._turns.append(camera)
        self._queued[camera.number] += 1
        self._hears(camera, account.announce())
        self._work()

    def _work(self) -> None:
        if self._busy or not self._turns:
            return
        self._busy, camera = True, self._turns.popleft()
        self._queued[camera.number] -= 1
        if self._queued[camera.number]:
            self._turns.append(camera)
        self.at(self.now + camera.nbytes / self.speed, lambda: self._answer(camera))

    def _answer(self, camera: Camera) -> None:
        account = self.accounts[camera.number]
        account.keep(-camera.nbytes)
        if limit := account.grant():
            self._hears(camera, limit)
        for served in self.memory.serve():
            self._hears(self.cameras[served.number], served.limit)
        self.at(self.now + camera.trip / 2, lambda: self._done(camera))
        self._busy = False
        self._work()

    def _done(self, camera: Camera) -> None:
        camera.under_way -= 1
        camera.done.append(self.now)
        self._send(camera)

    def _sweep(self) -> None:
        for account in self.accounts:
            if account.linked:
                account.follow()
        for account in self.memory.recalled([(self.cameras[each.number].fed, each) for each in self.accounts], self.now):
            account.unlink()
            camera = self.cameras[account.number]
            camera.links += 1
            self.at(self.now + camera.trip, lambda camera=camera: self._link(camera))  # type: ignore[misc]
        self.at(self.now + 1.0, self._sweep)
