"""Which numbers of a stream have been seen: one bit each, in memory that is bounded whatever a device sends."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Seen", "SeenStreams"]

_BLOCK = 512
_BLOCKS = 8192
"""Blocks kept for one stream: the newest four million numbers (38 hours at 30 per second) in half a megabyte."""
_STREAMS = 16384
"""Streams remembered, four times the sessions a server takes; then the one not heard of for longest is forgotten."""


class Seen:
    """A set of numbers >= 0 that remembers the newest; everything below `floor` counts as seen."""

    def __init__(self) -> None:
        self.floor = 0
        self._blocks: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        if number < self.floor:
            return True
        block, bit = divmod(number, _BLOCK)
        return bool(self._blocks.get(block, 0) >> bit & 1)

    def add(self, number: int) -> None:
        """From now on `number` is seen."""
        if number < self.floor:
            return
        block, bit = divmod(number, _BLOCK)
        self._blocks[block] = self._blocks.get(block, 0) | 1 << bit
        if len(self._blocks) > _BLOCKS:
            lowest = min(self._blocks)
            del self._blocks[lowest]
            self.floor = (lowest + 1) * _BLOCK


class SeenStreams:
    """Seen numbers by (device, session)."""

    def __init__(self) -> None:
        self._streams: OrderedDict[tuple[str, str], Seen] = OrderedDict()

    def __contains__(self, key: tuple[str, str, int]) -> bool:
        seen = self._streams.get(key[:2])
        return seen is not None and key[2] in seen

    def add(self, key: tuple[str, str, int]) -> None:
        """From now on this (device, session, seq) is seen."""
        stream = key[:2]
        seen = self._streams.get(stream)
        if seen is None:
            seen = self._streams[stream] = Seen()
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        else:
            self._streams.move_to_end(stream)
        seen.add(key[2])
