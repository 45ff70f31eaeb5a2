"""A batch at a simulated server's workers: what it takes, and which of its jobs were withdrawn before one began with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloud_server.events import BatchDone, JobDone, JobKey, RunBatch, Withdraw
from experiments.simulation.death_check import DIED
from experiments.simulation.folds import States

__all__ = ["Times", "Work"]

Times = Callable[[RunBatch, list[Any]], tuple[float, ...]]
"""Seconds of each stage of a batch with these values."""
_TOO_LATE = "late at a worker"
"""Why a job is left out of a batch, as cloud_server.executors.worker says it."""


class Work:
    """One batch from its RunBatch to its BatchDone.

    Args:
        values: of its jobs; states: what stages with state start from.
        times: of its stages; decodes: seconds per job; idle: seconds for which the worker does nothing at all.
        dies: the part of its time after which the worker dies of it; None: it does not.
    """

    def __init__(
        self, command: RunBatch, values: list[Any], states: States | None, times: tuple[float, ...], decodes: tuple[float, ...],
        idle: float, dies: float | None,
    ) -> None:
        self.command, self.values, self.states = command, values, states
        self.times, self.decodes, self.idle, self.dies = times, decodes, idle, dies
        self.gone: set[JobKey] = set()

    def withdraw(self, command: Withdraw) -> None:
        """One of its jobs is not wanted any more."""
        self.gone.add((command.session, command.seq))

    def begin(self, times: Times) -> float:
        """A worker takes it: what was withdrawn is left out; returns its seconds."""
        if self.gone:
            stay = [place for place, key in enumerate(self.command.jobs) if key not in self.gone]
            self.times = times(self.command, [self.values[place] for place in stay]) if stay else ()
            self.decodes = tuple(0.0 if key in self.gone else each for key, each in zip(self.command.jobs, self.decodes))
            self.dies = self.dies if stay else None
        seconds = sum(self.times) + sum(self.decodes) + self.idle
        return seconds if self.dies is None else seconds * self.dies

    def ended(self, job: Callable[[Work, int], JobDone], waited: float) -> BatchDone:
        """How it ended; `job` runs the one at a place."""
        jobs = tuple(
            JobDone(*key, "dropped", error=_TOO_LATE) if key in self.gone else job(self, place)
            for place, key in enumerate(self.command.jobs)
        )
        return BatchDone(self.command.batch, jobs, self.times, waited)

    def died(self, waited: float) -> BatchDone:
        """The worker ended with it, as cloud_server.executors.switch tells it."""
        command = self.command
        kind, killed = ("failed", f"{command.jobs[0]}") if len(command.jobs) == 1 else ("again", "")
        jobs = tuple(JobDone(*key, kind, command.start, DIED, killed=killed) for key in command.jobs)
        return BatchDone(command.batch, jobs, (), waited)
