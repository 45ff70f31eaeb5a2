"""Which clouds take part in the races of a device, why the others do not, and whether anybody is left to answer.

A cloud takes no part where its server refuses this device or app, or cannot run its alternative. That is said once, and the race goes
on among the others; only where nobody is left, neither a cloud nor this device, is the client refused. A cloud whose server
has not answered yet is not missing: it may take part.
"""

from __future__ import annotations

from iot_client.events import Note, Refuse
from iot_client.frames.stream import Stream
from iot_client.racing.config import RaceConfig

__all__ = ["Muster"]

_FORBIDDEN = "forbidden"
"""The code of a refusal that is tried again: a key may be allowed later."""


class Muster:
    """The clouds of one device's races, by entrant."""

    def __init__(self, stream: Stream, rules: RaceConfig) -> None:
        self.absent: dict[int, Refuse] = {}
        """Who takes no part, and the server's reason."""
        self.without = [0] * len(rules.clouds)
        """Frames captured while a cloud took no part."""
        self._stream = stream
        self._names = rules.names
        self._local = rules.local is not None

    @property
    def nobody(self) -> bool:
        """True if no cloud takes part, nor will one by itself."""
        return len(self.absent) == len(self.without)

    @property
    def hopeless(self) -> list[int]:
        """Clouds that no frame need wait for: all that take no part, but where a key may yet be allowed."""
        return [entrant for entrant, refusal in self.absent.items() if refusal.code != _FORBIDDEN]

    def leaves(self, entrant: int, refusal: Refuse) -> None:
        """Its server says that it takes no part."""
        if self.absent.get(entrant) == refusal:
            return
        self.absent[entrant] = refusal
        self._stream.out.append(self._refusal() if self.nobody and not self._local else Note("warning", self._words(entrant)))

    def joins(self, entrant: int) -> None:
        """Its server takes it."""
        if self.absent.pop(entrant, None) is not None:
            self._stream.out.append(Note("info", f"{self._names[entrant]} takes part"))

    def captured(self) -> None:
        """A frame entered."""
        for entrant in self.absent:
            self.without[entrant] += 1

    def _refusal(self) -> Refuse:
        """That of all together; for good if one of them is."""
        said = sorted(self.absent)
        if len(said) == 1:
            return self.absent[said[0]]
        code = next((self.absent[entrant].code for entrant in said if self.absent[entrant].code != _FORBIDDEN), _FORBIDDEN)
        return Refuse(code, "; ".join(map(self._words, said)))

    def _words(self, entrant: int) -> str:
        refusal = self.absent[entrant]
        return f"{self._names[entrant]} takes no part: {refusal.code}: {refusal.text}"
