"""Who has an instance of a task set up: its first user sets it up, its last closes it."""

from __future__ import annotations

import threading

from tasks.causes import BROKEN, cause
from tasks.errors import SetupFailed
from tasks.task import Task

__all__ = ["give", "take"]

_lock = threading.RLock()
"""Held while instances that several share are counted; a setup() may itself build an app and its runner."""


def take(task: Task) -> None:
    """One more uses this instance: the first sets it up.

    Raises:
        SetupFailed: naming the task and its error.
    """
    with _lock:
        if task._users == 0:
            try:
                task.setup()
            except BROKEN as error:
                raise SetupFailed(f"setup of stage {task.stage_name!r} failed: {cause(error)}") from error
        task._users += 1


def give(task: Task) -> None:
    """One less uses this instance: the last closes it."""
    with _lock:
        task._users -= 1
        if task._users == 0:
            task.close()
