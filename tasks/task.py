"""What a user writes: one step of a vision pipeline.

A task is set up once per worker and then sees one value at a time. It knows no network, no clock and no
neighbour: `run` takes what the stage before returned and returns what the stage after gets.

    class Blur(Task):
        def run(self, image):                       # (H, W, 3) uint8 -> (H, W, 3) uint8
            return cv2.GaussianBlur(image, (11, 11), 0)

    @task(placement="device", requires=("cv2",))
    def to_gray(image):
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, overload

from tasks.errors import AppError
from tasks.speculation import LateFrame
from tasks.variant import NONE, Variant

__all__ = [
    "DROP", "END", "PLACEMENTS", "STOPPED", "Aggregate", "Input", "Signal", "Source", "StatefulTask", "Task", "source", "task",
]

PLACEMENTS = ("device", "cloud", "any")


class Signal:
    """A unique marker a task returns instead of a value; survives copying, compares by identity."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


DROP = Signal("DROP")
"""Returned by `run`: this frame is filtered here; its outcome is `Filtered(stage)`."""

END = Signal("END")
"""Returned by a source: there is nothing more to read."""

STOPPED = Signal("STOPPED")
"""Returned by a stage whose run is wanted no more; no task of a user returns it."""


class Task:
    """One stage of an app; subclass it and write `run`.

    Class attributes (a subclass or an instance may set them):
        name: stage name, unique in its app; default: the class name in snake_case.
        placement: "device", "cloud" or "any" (default): where the stage may run.
        requires: import names the stage needs; a host that lacks one cannot run it.
        install: the command that brings them, told to whom lacks one.
        mutates: True if `run` writes into its input; it then gets a private copy.
        shared: True if one instance may serve all workers at once (`run` must be thread-safe).
        once: True if a frame must never be run twice here, even when its answer was lost.
        parameters: names of attributes that must be equal on both sides (part of the fingerprint).
        reads, writes: fields of a record value that `run` uses and sets; None means all of them. What it writes it
            sets in every frame; a field it sometimes leaves as it was is among its reads too. A stage that
            returns another kind of value than it got reads all that it carries over.
        accepts: what may be lost at its input: () nothing, a tuple of words for every array it reads, or
            field -> words. "jpeg:Q": a JPEG of quality Q (1 to 100) or better may stand for an image;
            "width:W", with jpeg only: the image may come reduced to W pixels wide, not less. "fp16": floats may
            come rounded to 16 bits; "int8": to 8 bits and a scale, or 16.
        varies: True if it runs with one of the app's variants, see `load` and `use`.
    """

    name: str = ""
    placement: str = "any"
    requires: tuple[str, ...] = ()
    install: str = ""
    mutates: bool = False
    shared: bool = False
    once: bool = False
    parameters: tuple[str, ...] = ()
    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    accepts: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    varies: bool = False
    stateful: ClassVar[bool] = False

    variant: Variant = NONE
    """Of a stage that varies: the variant to run with, and what `load` made of it."""
    loaded: Any = None

    _users: int = 0  # runners that hold this instance set up; see Runner.setup

    run_batch: Callable[[list[Any]], list[Any]] | None = None
    """Optional: `run_batch(items) -> values`, same length and order; any value may be DROP."""

    def setup(self) -> None:
        """Called once per instance in the worker that will run it: load the model, open the device."""

    def run(self, item: Any) -> Any:
        """Turn one value into the next; return DROP to filter the frame."""
        raise NotImplementedError(f"{type(self).__name__} needs a run(item) method")

    def load(self, variant: Variant) -> Any:
        """Of a stage that varies: make `variant` ready, after `setup`; may be slow.

        Called ahead of use where a plan is known, on another thread than `run` and while it runs, so it must not touch
        what `run` uses; it returns the model. A few variants are kept loaded.
        """

    def unload(self, loaded: Any) -> None:
        """Of a stage that varies: release what `load` returned, on any thread."""

    def use(self, variant: Variant, loaded: Any) -> None:
        """Of a stage that varies: from now on `run` and `run_batch` work with `variant` and what `load` made of it."""
        self.variant, self.loaded = variant, loaded

    def close(self) -> None:
        """Called once when the worker stops; release what `setup` took."""

    @property
    def stage_name(self) -> str:
        """The name this stage goes by in the app."""
        return self.name or snake_case(type(self).__name__)

    def needs(self, side: str) -> tuple[str, ...]:
        """The packages it needs where it runs, on the "device" or in the "cloud"."""
        return self.requires

    def lacks(self, side: str, installed: Callable[[str], bool]) -> tuple[str, ...]:
        """Those of them that are missing, so that it cannot run there."""
        return tuple(package for package in self.needs(side) if not installed(package))

    def _code(self) -> Any:
        """The class or function whose source text says what this stage does."""
        return type(self)

    def _codes(self) -> list[Any]:
        """All of them, of a stage made of several tasks."""
        return [self._code()]

    def _at_fault(self) -> str:
        """Whom an error of this stage is told to."""
        return self.stage_name


class Source(Task):
    """Stage 0. `read` fetches the next item, `run` is the work done on it.

    An app whose source overrides `read` owns its input. Otherwise items come from outside: from
    `Client.submit`, or from the camera, file or URL the command line was given. All workers share the one
    source: while one thread reads, others may be in `run`.

    A source that can be read from the start again may have a method `skip(count)`, called before the first `read` where a
    device goes on with a spool: the first `count` items are in it already.

    Class attributes, besides those of Task:
        fps: frames per second at which `read`'s items were taken, if they were recorded; 0 if `read` itself
            waits for the next one, as a camera does.
    """

    placement = "device"
    fps: float = 0.0

    def read(self) -> Any:
        """Return the next item, or END. Called on one thread only; may block."""
        raise NotImplementedError(f"source {self.stage_name!r} owns no input: give --source, or submit() items")

    def run(self, item: Any) -> Any:
        return item

    @property
    def owns_input(self) -> bool:
        """True if the app reads its own items."""
        return type(self).read is not Source.read


class Input(Source):
    """The source of an app whose items are submitted: `App("detect", [Input(), Detect()])`."""


class StatefulTask(Task):
    """A fold over the frames of one stream, in order: `run(value, state) -> (value, state)`.

    The state is plain data (what can be a value between stages); it may be changed in place. A DROP as value filters the
    frame and still keeps the state. In lossless mode the fold may run on the server, and move while frames flow; if a
    server dies, some frames are folded again from a copy of the state, so `run` should depend on nothing else.
    """

    stateful = True

    on_late: Callable[[LateFrame, Any, Any], Any] | None = None
    """Optional, behind a Speculative stage: `on_late(frame, value, state) -> state` is called with a cloud's answer that came after
    the verdict on its frame, to correct what was folded: between two runs, on their thread. `frame` is a LateFrame, `value` what
    came back behind the race. The state is a copy; where this raises, the old one stands."""

    def initial(self) -> Any:
        """The state before the first frame of a stream."""
        raise NotImplementedError(f"{type(self).__name__} needs an initial() method")

    def run(self, value: Any, state: Any) -> tuple[Any, Any]:  # type: ignore[override]
        raise NotImplementedError(f"{type(self).__name__} needs a run(value, state) method")


class Aggregate:
    """An app's last element: folds the final values of all devices, in one place.

    `add` is called at most once for each (device, session, seq), in the order values arrive, on one thread.
    """

    name: str = ""
    requires: tuple[str, ...] = ()

    def setup(self) -> None:
        """Called once where the aggregate lives, before the first `add`."""

    def add(self, device: str, seq: int, value: Any) -> None:
        """Fold the final value of one frame in."""
        raise NotImplementedError(f"{type(self).__name__} needs an add(device, seq, value) method")

    def summary(self) -> Any:
        """What is known so far, as plain data."""
        return None

    def close(self) -> None:
        """Called once at the end."""

    @property
    def stage_name(self) -> str:
        """The name the aggregate is listed by."""
        return self.name or snake_case(type(self).__name__)


class _FunctionTask(Task):
    """A function as a task."""

    def __init__(self, function: Callable[[Any], Any], options: dict[str, Any]) -> None:
        _check_options("task", function, options)
        self.__doc__ = function.__doc__
        vars(self).update({"name": function.__name__, "run": function, **options})

    def __call__(self, item: Any) -> Any:
        return self.run(item)

    def _code(self) -> Any:
        return self.run


class _FunctionSource(Source):
    """A generator function as a source."""

    def __init__(self, function: Callable[[], Iterable[Any]], options: dict[str, Any]) -> None:
        _check_options("source", function, options)
        self.__doc__ = function.__doc__
        self._function = function
        self._items: Iterator[Any] | None = None
        vars(self).update({"name": function.__name__, **options})

    def setup(self) -> None:
        self._items = iter(self._function())

    def read(self) -> Any:
        if self._items is None:
            self.setup()
        assert self._items is not None
        return next(self._items, END)

    def close(self) -> None:
        self._items = None

    def _code(self) -> Any:
        return self._function


@overload
def task(function: Callable[[Any], Any], /) -> Task: ...
@overload
def task(**options: Any) -> Callable[[Callable[[Any], Any]], Task]: ...
def task(function: Callable[[Any], Any] | None = None, /, **options: Any) -> Any:
    """Make a function a Task: `@task` or `@task(placement="cloud", requires=("torch",))`."""
    if function is not None:
        return _FunctionTask(function, options)
    return lambda wrapped: _FunctionTask(wrapped, options)


@overload
def source(function: Callable[[], Iterable[Any]], /) -> Source: ...
@overload
def source(**options: Any) -> Callable[[Callable[[], Iterable[Any]]], Source]: ...
def source(function: Callable[[], Iterable[Any]] | None = None, /, **options: Any) -> Any:
    """Make a generator function the source of an app: each yield is one frame."""
    if function is not None:
        return _FunctionSource(function, options)
    return lambda wrapped: _FunctionSource(wrapped, options)


def snake_case(name: str) -> str:
    """`GetFrame` -> `get_frame`, `HSVMask` -> `hsv_mask`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


_OPTIONS = (
    "name", "placement", "requires", "install", "mutates", "shared", "once", "parameters", "reads", "writes", "accepts", "run_batch",
)
_LEGAL = {"task": _OPTIONS, "source": ("name", "fps", "requires", "parameters", "writes")}


def _check_options(decorator: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
    if not inspect.isroutine(function):
        raise AppError(f"@{decorator} marks a function, not {type(function).__name__}; a class derives from {decorator.title()}")
    for key in options:
        if key not in _LEGAL[decorator]:
            raise AppError(f"@{decorator} on {function.__name__}(): no option {key!r}; legal are {', '.join(_LEGAL[decorator])}")
