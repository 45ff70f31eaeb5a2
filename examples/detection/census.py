"""What all devices see: how many things of each class passed each of them, and what is in view now."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import msgspec

from tasks import Aggregate

__all__ = ["Census"]


class Census(Aggregate):
    """A table of tracks over all devices, in bounded memory.

    Args:
        recent: tracks kept for each device; the one unseen for longest goes first, and is counted still.
        devices: devices kept; the one silent for longest goes first.
    """

    def __init__(self, recent: int = 64, devices: int = 256) -> None:
        self.recent, self.devices = recent, devices
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def add(self, device: str, seq: int, value: Any) -> None:
        place = self._places.pop(device, None) or _Place()
        self._places[device] = place
        if len(self._places) > self.devices:
            self._places.popitem(last=False)
        place.frames += 1
        fields = value if isinstance(value, dict) else msgspec.structs.asdict(value)
        for thing in fields.get("objects") or ():
            place.see(seq, thing if isinstance(thing, dict) else msgspec.structs.asdict(thing))
        while len(place.tracks) > self.recent:
            place.tracks.popitem(last=False)

    def summary(self) -> dict[str, Any]:
        """For each device: frames, things that passed by class, and the recent tracks as [id, class, first seq, last seq, box]."""
        return {
            device: {
                "frames": place.frames,
                "counts": dict(sorted(place.counts.items())),
                "tracks": [[number, *track] for number, track in place.tracks.items()],
            }
            for device, place in self._places.items()
        }


class _Place:
    """What is kept of one device."""

    __slots__ = ("counts", "frames", "highest", "tracks")

    def __init__(self) -> None:
        self.frames, self.highest = 0, 0
        self.counts: Counter[str] = Counter()
        self.tracks: OrderedDict[int, list[Any]] = OrderedDict()

    def see(self, seq: int, thing: dict[str, Any]) -> None:
        number = thing.get("id")
        if number is None:
            return
        track = self.tracks.pop(number, None)
        if track is None and number > self.highest:
            self.highest = number
            self.counts[thing["label"]] += 1
        first = track[1] if track else seq
        self.tracks[number] = [thing["label"], min(first, seq), max(track[2] if track else seq, seq), list(thing["box"])]
