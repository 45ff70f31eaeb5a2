"""What an app is: tasks, their order, the splits that are legal, what crosses them, and a runner. No network, no clock."""

from tasks.adapter import from_functions
from tasks.app import App, Cut, load
from tasks.crossing import Crossing, Loss, applies, merged, returned
from tasks.declarations import check_declarations
from tasks.errors import AppError, AppNotFound, IllegalCut, ParameterError, SetupFailed, TaskError, UnknownVariant
from tasks.factory import Factory, factory, with_parameters
from tasks.run import Ran, Residency, Runner
from tasks.speculation import LateFrame, Send, Speculation
from tasks.speculative import Speculative
from tasks.task import DROP, END, Aggregate, Input, Source, StatefulTask, Task, source, task
from tasks.variant import Variant

__all__ = [
    "DROP", "END", "Aggregate", "App", "AppError", "AppNotFound", "Crossing", "Cut", "Factory", "IllegalCut", "Input", "LateFrame",
    "Loss", "ParameterError", "Ran", "Residency", "Runner", "Send", "SetupFailed", "Source", "Speculation", "Speculative", "StatefulTask",
    "Task", "TaskError", "UnknownVariant", "Variant", "applies", "check_declarations", "factory", "from_functions", "load", "merged",
    "returned", "source", "task", "with_parameters",
]
