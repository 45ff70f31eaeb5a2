"""Series of answers of a server, made or sent over a modelled link, and a Hedge that is asked about each frame of them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from experiments.links import LinkSpec
from experiments.traced_link import TracedLink
from iot_client.racing.hedging import Hedge
from wire.memory_link import DOWN, UP

FPS = 15.0
LOCAL = 0.065
"""Seconds before the deadline at which a twin must start."""
NEVER = float("inf")


class Trip(NamedTuple):
    """One frame's way: when it left, when its receipt and its answer came, and for how long the server held either."""

    sent: float
    nbytes: int
    receipt: float
    receipt_held: float
    answer: float
    held: float


class Told(NamedTuple):
    """What was said of one frame, and whether its answer was late."""

    at: float
    risk: float
    wanted: bool
    late: bool


def made(responses: Iterable[float], *, held: float = 0.02, nbytes: int = 1000) -> list[Trip]:
    """Trips that take so many seconds, infinite for no answer; the receipt comes when the answer's work begins."""
    trips = []
    for index, seconds in enumerate(responses):
        at = index / FPS
        trips.append(Trip(at, nbytes, at + max(0.0, seconds - held), 0.0, at + seconds, held))
    return trips


def travelled(spec: LinkSpec, seconds: float, seed: int, *, nbytes: int = 20_000, served: float = 0.02) -> list[Trip]:
    """Frames over a modelled link, to a server with one worker whose times spread by 30 %."""
    dice, link = random.Random(seed), TracedLink(spec.trace(seconds + 60.0, seed), seed)
    trips, free = [], 0.0
    for index in range(int(seconds * FPS)):
        at, size = index / FPS, round(nbytes * dice.uniform(0.85, 1.15))
        arrived = link.send(UP, size, at)
        free = max(arrived or NEVER, free) + served * dice.uniform(0.7, 1.3)
        trips.append(Trip(at, size, (arrived or NEVER) + 0.002, 0.002, free, free - (arrived or NEVER)))
    down = sorted([(trip.receipt, 60, index) for index, trip in enumerate(trips)] + [(t.answer, 2000, i) for i, t in enumerate(trips)])
    for at, size, index in down:
        came = link.send(DOWN, size, at) or NEVER
        trips[index] = trips[index]._replace(**({"receipt": came} if size == 60 else {"answer": came}))
    return trips


def outages(seconds: float, every: float, seed: int) -> tuple[tuple[float, float], ...]:
    """Cuts of 0.5 to 3 s, on average `every` seconds."""
    dice, cuts, at = random.Random(f"outages {seed}"), [], 0.0
    while (at := at + dice.expovariate(1.0 / every)) < seconds:
        cuts.append((at, dice.uniform(0.5, 3.0)))
        at += 4.0
    return tuple(cuts)


def wants(hedge: Hedge, seq: int, now: float, end: float) -> bool:
    """True if a twin begins now that is in time for certain, and at any later time would not be."""
    return hedge.begins_at(seq, now, end, now, lambda at: 1.0) == now


def asked(trips: Sequence[Trip], deadline: float, hedge: Hedge | None = None) -> tuple[Hedge, list[Told | None]]:
    """All frames of a series through a Hedge; per frame what was said at the last moment, None where the answer was there by then."""
    hedge, order = hedge or Hedge(), count()
    agenda: list[tuple[float, int, str, int]] = []
    for index, trip in enumerate(trips):
        for at, what in ((trip.sent, "sent"), (trip.receipt, "receipt"), (trip.answer, "answer"), (trip.sent + deadline - LOCAL, "ask")):
            if at < NEVER:
                agenda.append((at, next(order), what, index))
    heapq.heapify(agenda)
    told: list[Told | None] = [None] * len(trips)
    answered = [False] * len(trips)
    while agenda:
        now, _, what, index = heapq.heappop(agenda)
        trip = trips[index]
        end = trip.sent + deadline
        if what == "sent":
            hedge.sent(index, trip.nbytes, now)
        elif what == "receipt":
            hedge.receipt(index, trip.receipt_held, now)
        elif what == "answer":
            answered[index] = True
            hedge.answered(index, trip.held, now)
        elif not answered[index]:
            risk = hedge.risk(index, now, end)
            told[index] = Told(now, risk, wants(hedge, index, now, end), trip.answer > end)
    return hedge, told
