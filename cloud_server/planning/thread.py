"""The thread on which plans are made, beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter

from cloud_server.events import MakePlan, Planned

__all__ = ["PlanningThread"]


class PlanningThread:
    """Answers MakePlan by Planned; the thread begins with the first question, for most servers never ask one.

    Args:
        planner: as in `--planner`.
        deliver: takes the answer, on this thread.
    """

    def __init__(self, planner: str, deliver: Callable[[Planned], None]) -> None:
        self._planner, self._deliver = planner, deliver
        self._questions: SimpleQueue[MakePlan | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, command: MakePlan) -> None:
        """Never blocks."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="planner", daemon=True)
            self._thread.start()
        self._questions.put(command)

    def close(self, patience: float = 1.0) -> None:
        """End the thread, when it is done with what it is at."""
        if self._thread is not None:
            self._questions.put(None)
            self._thread.join(patience)

    def _run(self) -> None:
        from cloud_server.planning.planner import plan  # scipy and numpy take a while, and most servers need neither here

        while (question := self._questions.get()) is not None:
            begun = perf_counter()
            try:
                found, error = plan(question.problem, self._planner), ""
            except Exception as problem:  # a server without a plan still serves
                found, error = None, f"{type(problem).__name__}: {problem}"
            self._deliver(Planned(question.number, found, perf_counter() - begun, error))
