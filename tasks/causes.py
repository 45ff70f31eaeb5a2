"""What user code raised, in words: the error, and the lines where it came about."""

from __future__ import annotations

from types import TracebackType

__all__ = ["BROKEN", "ERROR_TEXT", "cause", "place", "words"]

ERROR_TEXT = 4096
"""Longest error text kept of a failed stage, in characters."""

BROKEN = (Exception, SystemExit)
"""What a stage may do without harm to others: sys.exit() in a stage ends the frame, not the worker."""


def cause(error: BaseException) -> str:
    """The error and its place: "FileNotFoundError: model.onnx [app.py:12]"."""
    return f"{words(error)}{place(error.__traceback__)}"


def words(error: BaseException) -> str:
    """The error in words that can be sent."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception as second:
        text = f"{type(error).__name__}, whose text cannot be had ({type(second).__name__})"
    return text[:ERROR_TEXT].encode("utf-8", "replace").decode()  # a lone surrogate could not be sent


def place(trace: TracebackType | None) -> str:
    """The line of the stage that failed and the line, further in, that raised: " [app.py:12, numpy.py:7]"."""
    places: list[str] = []
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") not in _CALLERS:
            places.append(f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f" [{', '.join(dict.fromkeys([places[0], places[-1]]))}]" if places else ""


_CALLERS = frozenset({"tasks.run", "tasks.users", "tasks.resident", "tasks.alternative", "tasks.speculative"})
"""Modules that call user code: where they do is no news."""
