"""What can be wrong with an app, before any frame moves.

TaskError                  base of everything this package raises
|-- AppError               the app as written makes no sense (no source, duplicate names, ...)
|-- AppNotFound            "module:attribute" leads to no App
|-- ParameterError         a parameter of a function that makes an app is unknown, missing or not legal; the text says what is
|-- UnknownVariant         the app has no variant of that name; the text lists those it has
|-- IllegalCut             the stage count asked for cannot be run; the text lists those that can
`-- SetupFailed            a stage's setup() raised (no camera, no model file); the text names the stage

A stage that raises while frames flow is not an exception here: it is a value, `Ran(kind=FAILED)`.
"""

__all__ = ["AppError", "AppNotFound", "IllegalCut", "ParameterError", "SetupFailed", "TaskError", "UnknownVariant"]


class TaskError(Exception):
    """Base of every error of the tasks package."""


class AppError(TaskError, ValueError):
    """The app as declared is nonsense; the text names the stage and the rule."""


class AppNotFound(TaskError, LookupError):
    """`module:attribute` could not be loaded; the text says which half is wrong."""


class ParameterError(TaskError, ValueError):
    """A parameter is unknown, missing, or not what its function takes."""


class UnknownVariant(TaskError, LookupError):
    """The app has no variant of that name."""


class IllegalCut(TaskError, ValueError):
    """The split asked for is not legal for this app on these hosts."""


class SetupFailed(TaskError, RuntimeError):
    """A worker cannot start: `setup` of one of its stages raised."""
