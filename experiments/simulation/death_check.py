"""Workers that die: whom the server blames, and what it tries again."""

from __future__ import annotations

import cloud_server.events as cloud
from experiments.simulation.check import Check

__all__ = ["DIED", "DeathCheck"]

DIED = "worker died"
"""How the error of a job begins that was under way then."""


class DeathCheck:
    """The batches of one life of a server: who was alone when a worker died, and who must be from then on.

    Attributes:
        blamed: the (session, seq) that may be answered as failed for it.
    """

    def __init__(self, check: Check, once: list[int]) -> None:
        self._check = check
        self._once = once
        self._batches: dict[int, cloud.RunBatch] = {}
        self._suspects: dict[tuple[int, int], tuple[set[tuple[int, int]], int]] = {}
        """With whom each may run again, and how many of them at most."""
        self.blamed: set[tuple[int, int]] = set()

    def on_run(self, what: cloud.RunBatch) -> None:
        self._batches[what.batch] = what
        for key in self._suspects.keys() & set(what.jobs):
            company, most = self._suspects[key]
            if not company.issuperset(what.jobs) or len(what.jobs) > most:
                self._check.problem("blame", f"{key} was in a batch whose worker died, and runs with others, or as many, in {what}")

    def on_done(self, what: cloud.BatchDone) -> set[tuple[int, int]]:
        """Returns the jobs that may run once more."""
        batch = self._batches.pop(what.batch, None)
        if batch is None or not any(job.error.startswith(DIED) for job in what.jobs):
            return set()
        again = set(batch.jobs)
        if any(batch.start <= stage < batch.stop for stage in self._once):
            self.blamed |= again
            return set()
        if len(batch.jobs) == 1:
            self.blamed |= again
            return again if batch.state else set()
        self._suspects.update(dict.fromkeys(again, (again, (len(again) + 1) // 2)))
        return again
