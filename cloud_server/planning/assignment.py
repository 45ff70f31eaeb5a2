"""Which client gets which variant, for workers whose modes are fixed.

The start is the greedy fill of search.py in several orders; then clients move up where there is room, and two change places where
that gains. For a handful of clients every way is looked at.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from cloud_server.planning.table import Modes

__all__ = ["assign", "polish"]

_WAYS = 20_000
"""So many assignments are all looked at."""
_EXCHANGES = 64
"""Clients up to which all exchanges of two are tried."""
_GRAIN = 1e-9

Array = Any


class _State:
    """Who has which variant: `held[client]`, -1 for none, and the room that is left."""

    def __init__(self, modes: Modes, counts: Array) -> None:
        table = modes.table
        self.modes, self.rooms = modes, modes.rooms(counts)
        self.level = {variant: dict(modes.level[variant]) for variant in self.rooms}
        self.fps: list[float] = table.fps.tolist()
        self.accuracy: list[float] = table.accuracy.tolist()
        self.held = [-1] * table.clients
        self.left = {variant: room.tolist() for variant, room in self.rooms.items()}

    @property
    def value(self) -> float:
        return sum(self.fps[client] * self.accuracy[variant] for client, variant in enumerate(self.held) if variant >= 0)

    def fits(self, client: int, variant: int) -> bool:
        level = self.level[variant].get(client)
        return level is not None and min(self.left[variant][level:]) + _GRAIN >= self.fps[client]

    def put(self, client: int, variant: int) -> None:
        self.take(client)
        self.held[client] = variant
        self._fill(variant, client, self.fps[client])

    def take(self, client: int) -> None:
        if self.held[client] >= 0:
            self._fill(self.held[client], client, -self.fps[client])
            self.held[client] = -1

    def _fill(self, variant: int, client: int, fps: float) -> None:
        left = self.left[variant]
        for level in range(self.level[variant][client], len(left)):
            left[level] -= fps


def assign(modes: Modes, counts: Array, start: list[int] | None = None) -> tuple[list[int], float]:
    """The variant of each client by its number, -1 for none, and the fps-weighted accuracy (a sum).

    Args:
        start: an assignment to better, where one is at hand; what does not fit in it is left out.
    """
    state = _State(modes, counts)
    if (len(state.rooms) + 1) ** len(state.held) <= _WAYS:
        return _every_way(state)
    found = [_filled(modes, counts, order) for order in range(2)]
    if start is not None:
        found.append(_started(modes, counts, start))
    for each in found:
        _moves_up(each)
    best = max(found, key=lambda each: each.value)
    return best.held, best.value


def polish(modes: Modes, counts: Array, held: list[int]) -> tuple[list[int], float]:
    """The same, bettered by exchanges of two where clients are not too many for that."""
    state = _started(modes, counts, held)
    for _ in range(2):
        if len(held) > _EXCHANGES or not _exchanges(state):
            break
        _moves_up(state)
    return state.held, state.value


@lru_cache(maxsize=32)
def _ways(variants: int, clients: int) -> list[Array]:
    """All assignments, a row each: for every variant which of the clients have it."""
    ways = np.indices((variants + 1,) * clients, dtype=np.int8).reshape(clients, -1).T
    return [np.ascontiguousarray(ways == number, dtype=float) for number in range(variants)]


def _every_way(state: _State) -> tuple[list[int], float]:
    """All assignments at once, as rows of arrays."""
    variants, clients = list(state.rooms), len(state.held)
    fps, ways = np.array(state.fps), _ways(len(variants), clients)
    value, legal = np.zeros(len(ways[0]) if variants else 1), np.True_
    for number, variant in enumerate(variants):
        room = state.rooms[variant]
        level = np.array([state.level[variant].get(client, len(room)) for client in range(clients)])
        steps = np.flatnonzero(np.diff(room, append=np.inf) > 0)  # of levels with equal room the last one bounds the others
        needs = np.where(level[:, None] <= np.append(steps, len(room)), fps[:, None], 0.0)
        needs[:, -1] = np.where(level == len(room), 1.0, 0.0)  # who may not have it at all
        loads = ways[number] @ needs
        legal = legal & (loads <= np.append(room[steps], 0.0) + _GRAIN).all(axis=1)
        value = value + loads[:, len(steps) - 1] * state.accuracy[variant]
    best = int(np.argmax(np.where(legal, value, -1.0)))
    held = [next((variant for variant, way in zip(variants, ways) if way[best, client]), -1) for client in range(clients)]
    return held, sum(state.fps[client] * state.accuracy[variant] for client, variant in enumerate(held) if variant >= 0)


def _filled(modes: Modes, counts: Array, order: int) -> _State:
    """Variants by falling accuracy, clients by rising budget, or the fast ones first."""
    state = _State(modes, counts)
    for variant in modes.used:
        if variant in state.rooms:
            clients = [client for client, _ in modes.level[variant] if state.held[client] < 0]
            if order:
                clients.sort(key=lambda client: -state.fps[client])
            for client in clients:
                if state.fits(client, variant):
                    state.put(client, variant)
    return state


def _started(modes: Modes, counts: Array, start: list[int]) -> _State:
    state = _State(modes, counts)
    for client, variant in enumerate(start):
        if variant in state.rooms and state.fits(client, variant):
            state.put(client, variant)
    return state


def _moves_up(state: _State) -> None:
    """Each client to the most accurate variant that has room for it; variants are numbered by falling accuracy."""
    variants = sorted(state.rooms)
    for client, held in enumerate(state.held):
        for variant in variants:
            if variant == held:
                break
            if state.fits(client, variant):
                state.put(client, variant)
                break


def _exchanges(state: _State) -> bool:
    """A client takes the place of another in a better variant, who goes where there is room then, if both together gain."""
    moved, variants = False, sorted(state.rooms)
    for client in range(len(state.held)):
        for variant in variants:
            before = state.held[client]
            if variant == before:
                break
            if client in state.level[variant] and _push(state, client, variant, before, variants):
                moved = True
                break
    return moved


def _push(state: _State, client: int, variant: int, before: int, variants: list[int]) -> bool:
    worth = [*state.accuracy, 0.0]  # the last one, for -1: none
    for other, held in enumerate(state.held):
        if held != variant or other == client:
            continue
        most = state.fps[client] * (worth[variant] - worth[before])
        state.take(client)
        state.take(other)
        if state.fits(client, variant):
            state.put(client, variant)
            place = next((each for each in variants if each != variant and state.fits(other, each)), -1)
            if most - state.fps[other] * (worth[variant] - worth[place]) > _GRAIN:
                if place >= 0:
                    state.put(other, place)
                return True
            state.take(client)
        state.put(other, variant)
        if before >= 0:
            state.put(client, before)
    return False
