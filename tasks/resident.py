"""The variants that one instance of a stage has loaded: at most so many, the least recently used leaves."""

from __future__ import annotations

import threading
from typing import Any

from tasks.task import Task
from tasks.variant import Variant

__all__ = ["Resident"]


class Resident:
    """What a stage instance has loaded, by variant.

    One thread uses it, any other may preload: what is there already never waits for what is being loaded. The variant in
    use stays, whatever else is loaded; room is made before a load, so there are never more than `size`, or two if that is 1.
    """

    def __init__(self, stage: Task, size: int) -> None:
        if size < 1:
            raise ValueError(f"{size} variants of stage {stage.stage_name!r} to keep loaded: at least 1, the one in use")
        self.stage = stage
        self.loads = type(stage).load is not Task.load
        self.swaps = 0
        self._size = size
        self._loaded: dict[str, Any] = {}
        self._used = ""
        self._pinned = ""
        self._look, self._load = threading.Lock(), threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The variants that are loaded, the least recently used first."""
        with self._look:
            return tuple(self._loaded)

    def use(self, variant: Variant) -> bool:
        """Have the stage run with `variant` from now on, loading it first if it is not there; whether it was."""
        if variant.name == self._used:
            return True
        with self._look:
            self._pinned, self._used = variant.name, ""
        there = self.preload(variant)
        self.stage.use(variant, self._loaded.get(variant.name))
        self._used = variant.name
        return there

    def preload(self, variant: Variant) -> bool:
        """Have `variant` ready before it is used; whether it was."""
        return not self.loads or self._fetch(variant)

    def clear(self) -> None:
        """Unload all."""
        with self._load:
            self._used = self._pinned = ""
            while self._loaded:
                self.stage.unload(self._loaded.pop(next(iter(self._loaded))))

    def _fetch(self, variant: Variant) -> bool:
        if self._touch(variant.name):
            return True
        with self._load:
            if self._touch(variant.name):  # another thread loaded it meanwhile: it is there, but was waited for
                return False
            self._make_room()
            loaded = self.stage.load(variant)
            with self._look:
                self._loaded[variant.name] = loaded
        return False

    def _touch(self, name: str) -> bool:
        """Whether it is there; it is then the most recently used."""
        with self._look:
            if name not in self._loaded:
                return False
            self._loaded[name] = self._loaded.pop(name)
            return True

    def _make_room(self) -> None:
        while True:
            with self._look:
                oldest = next((name for name in self._loaded if name != self._pinned), None)
                if len(self._loaded) < self._size or oldest is None:
                    return
                leaving = self._loaded.pop(oldest)
            self.swaps += 1
            self.stage.unload(leaving)
