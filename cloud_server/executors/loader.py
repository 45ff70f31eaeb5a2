"""Variants made ready beside the work: a thread of a worker that loads what is planned, so that no batch waits for it.

Loading reads a file and fills memory; libraries release the interpreter lock for both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from cloud_server.executors.worker import Worker

__all__ = ["Loader"]


class Loader:
    """Loads for one worker at a time; its thread starts with the first plan.

    Args:
        told: called on that thread after each plan, with the worker, the app and what could not be loaded, in words, or "".
    """

    def __init__(self, told: Callable[[Worker, str, str], None]) -> None:
        self._told = told
        self._plans: SimpleQueue[tuple[Worker, str, Sequence[str]] | None] = SimpleQueue()
        self._latest: dict[tuple[int, str], Sequence[str]] = {}
        self._thread: threading.Thread | None = None

    def plan(self, worker: Worker, app: str, variants: Sequence[str]) -> None:
        """Have these ready, the most wanted first; an older plan for this worker and app is given up, what it loads now excepted."""
        self._latest[id(worker), app] = variants
        self._plans.put((worker, app, variants))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
            self._thread.start()

    def close(self, patience: float = 1.0) -> None:
        """Load nothing more."""
        self._latest.clear()
        self._plans.put(None)
        if self._thread is not None:
            self._thread.join(patience)

    def _work(self) -> None:
        while (plan := self._plans.get()) is not None:
            worker, app, variants = plan
            self._told(worker, app, worker.preload(app, variants, partial(self._wanted, worker, app, variants)))

    def _wanted(self, worker: Worker, app: str, variants: Sequence[str]) -> bool:
        return self._latest.get((id(worker), app)) is variants
