"""How many objects each device has seen: what a detection app keeps over all of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from tasks import Aggregate

__all__ = ["Counts"]


class _Count(msgspec.Struct):
    """Of one device."""

    frames: int = 0
    counted: int = 0
    at_once: int = 0


class Counts(Aggregate):
    """For each device the frames seen, the objects that got a number, and the most that were in sight at once.

    Args:
        devices: kept; the one silent for longest goes first.
    """

    def __init__(self, devices: int = 256) -> None:
        self.devices = devices
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def add(self, device: str, seq: int, value: Any) -> None:
        count = self._counts.pop(device, None) or _Count()
        self._counts[device] = count
        if len(self._counts) > self.devices:
            self._counts.popitem(last=False)
        fields = value if isinstance(value, dict) else msgspec.structs.asdict(value)
        numbered = sum(each.id is not None for each in fields.get("objects") or ())
        count.frames += 1
        count.counted += fields.get("entered") or 0
        count.at_once = max(count.at_once, numbered)

    def summary(self) -> dict[str, Any]:
        """{device: {"frames": ..., "counted": ..., "at_once": ...}}"""
        return {device: msgspec.structs.asdict(count) for device, count in self._counts.items()}
