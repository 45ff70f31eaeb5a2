"""What an app is: tasks, their order, the splits that are legal, and a runner. No network, no clock."""

from tasks.adapter import from_functions
from tasks.app import App, Cut, load
from tasks.errors import AppError, AppNotFound, IllegalCut, SetupFailed, TaskError
from tasks.run import Ran, Runner
from tasks.task import DROP, END, Aggregate, Input, Source, StatefulTask, Task, source, task

__all__ = [
    "DROP", "END", "Aggregate", "App", "AppError", "AppNotFound", "Cut", "IllegalCut", "Input", "Ran", "Runner",
    "SetupFailed", "Source", "StatefulTask", "Task", "TaskError", "from_functions", "load", "source", "task",
]
