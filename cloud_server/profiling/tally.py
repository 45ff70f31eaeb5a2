"""What workers were given, by app: a fold over the RunBatch commands. Pure, and read from any thread."""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec

from cloud_server.events import RunBatch

__all__ = ["Batches", "Tally"]


class Batches(msgspec.Struct):
    """Of one app: batches, the jobs in them, and the largest."""

    batches: int = 0
    jobs: int = 0
    largest: int = 0

    def since(self, before: Batches | None) -> float:
        """Jobs of a batch, on average, since then; 0.0 if there was none."""
        batches, jobs = (self.batches, self.jobs) if before is None else (self.batches - before.batches, self.jobs - before.jobs)
        return jobs / batches if batches else 0.0


class Tally:
    """Batches by app, and the variant each session's last job ran with, where its app has variants."""

    def __init__(self) -> None:
        self._apps: dict[str, Batches] = {}
        self._variants: dict[int, str] = {}

    def add(self, command: RunBatch) -> None:
        """A batch goes to a worker."""
        app = self._apps.get(command.app)
        if app is None:
            app = self._apps[command.app] = Batches()
        jobs = len(command.jobs)
        app.batches += 1
        app.jobs += jobs
        if jobs > app.largest:
            app.largest = jobs
        if command.variant:
            for session, _ in command.jobs:
                self._variants[session] = command.variant

    def apps(self) -> dict[str, Batches]:
        """By app, those of shipped ones under the name their devices gave them."""
        found: dict[str, Batches] = {}
        for name, each in list(self._apps.items()):
            name = name.partition("#")[0]
            known = found.get(name, Batches())
            found[name] = Batches(known.batches + each.batches, known.jobs + each.jobs, max(known.largest, each.largest))
        return found

    def variants(self, devices: Mapping[int, str]) -> dict[str, str]:
        """The variant each device runs with now, by its name; `devices` are the names of the sessions that are there.

        A device with several sessions, one for each entrant of a race, is there with each variant: name, then name (variant).
        """
        self._forget(devices)
        found: dict[str, str] = {}
        for session, variant in list(self._variants.items()):
            if session in devices:
                name = devices[session]
                found[name if found.get(name, variant) == variant else f"{name} ({variant})"] = variant
        return found

    def _forget(self, there: Container[int]) -> None:
        for session in [session for session in list(self._variants) if session not in there]:
            self._variants.pop(session, None)
