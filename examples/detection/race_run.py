"""Two ways to use a race, one frame at a time and as a stream, and what either detector would have said alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from examples.detection.boxes import Detections
from examples.detection.race_figures import Answered, as_detections
from examples.detection.race_world import Clip, Playback
from iot_client import Client, Result, Statistics
from iot_client.cuts import Crossings
from tasks import App, Runner
from tasks.speculation import LOCAL
from wire.payload import Packer

__all__ = ["Alone", "Run", "alone", "one_by_one", "streamed", "warmed"]

Told = Callable[[int], None]
MakeClient = Callable[..., Client]
"""Makes a Client of the app with the run's settings, and what it is given."""


class Run(msgspec.Struct, frozen=True):
    """One use of the race."""

    name: str
    results: list[Result]
    answers: list[Answered]
    """of these, in their order"""
    began: float
    """on this machine's monotonic clock"""
    ended: float
    cpu_s: float
    """of this process, the frames being rendered before"""
    statistics: Statistics


class Alone(msgspec.Struct, frozen=True):
    """What one entrant would have answered to every frame, with all the time it wants."""

    entrant: str
    found: list[Detections]


WARM_S = 60.0
"""Seconds that servers have for their first answer: they load what they are asked for, torch first of all."""


def warmed(make: MakeClient, clip: Clip) -> None:
    """One frame, waited for, so that servers have loaded what they race with."""
    with make(own_source=False, deadline=WARM_S) as client:
        client.submit(clip.images[0])
        for _ in client.results():
            pass


def one_by_one(make: MakeClient, clip: Clip, told: Told) -> Run:
    """Synchronous: submit a frame, get its result, submit the next."""
    return _measured("one by one", make(own_source=False), lambda client: _asked(client, clip, told))


def _asked(client: Client, clip: Clip, told: Told) -> list[Result]:
    found: list[Result] = []
    for image in clip.images:
        client.submit(image)
        found.extend(client.results())
        told(1)
    return found


def streamed(make: MakeClient, clip: Clip, told: Told) -> Run:
    """A source at its own rate, results as they come."""
    return _measured("streaming", make(source=Playback(clip)), lambda client: _read(client, told))


def _read(client: Client, told: Told) -> list[Result]:
    found = []
    for result in client.results():
        found.append(result)
        told(1)
    return found


def _measured(name: str, client: Client, use: Callable[[Client], list[Result]]) -> Run:
    with client:
        began, cpu = time.monotonic(), time.process_time()
        results = use(client)
        ended, cpu = time.monotonic(), time.process_time() - cpu
        statistics = client.statistics()
    return Run(name, results, [Answered.of(result) for result in results], began, ended, cpu, statistics)


def alone(app: App, entrant: str, clip: Clip, codec: str, told: Told) -> Alone:
    """Every frame through this entrant and the stages behind the race; clouds see what `codec` leaves of it.

    Raises:
        RuntimeError: a stage failed; SetupFailed: this host lacks something.
    """
    runner = Runner(app, time.perf_counter, app.instances())
    packer, crossings, found = Packer(app.types), Crossings(app, 2), []
    try:
        runner.setup(0, app.n)
        for image in clip.images:
            taken = _done(runner.run(0, 1, image), entrant)
            if entrant != LOCAL:
                sent = packer.unpack(crossings.pack(packer, 1, taken, codec))
                taken = replace(taken, frame=sent.frame)
            found.append(as_detections(_done(runner.run(1, app.n, taken, variant=entrant), entrant).objects))
            told(1)
    finally:
        runner.close()
    return Alone(entrant, found)


def _done(ran: Any, entrant: str) -> Any:
    if ran.kind != "done":
        raise RuntimeError(f"{entrant} failed: {ran.error}")
    return ran.value
