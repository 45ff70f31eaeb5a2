"""An app: an ordered chain of tasks with a name, and the splits that are legal for it."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
from types import ModuleType
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from tasks.checks import check_name, check_race, check_stages, check_types, check_variants, type_fields
from tasks.complaints import canonical
from tasks.crossing import Crossing, crossing_of, declaration
from tasks.errors import AppError, AppNotFound, IllegalCut, ParameterError, UnknownVariant
from tasks.factory import Factory, split_path
from tasks.speculative import Speculative, speculation_of
from tasks.task import Aggregate, Source, Task
from tasks.variant import NONE, Variant

__all__ = ["App", "Cut", "load"]

_Stage = TypeVar("_Stage", bound="Task | Aggregate | None")


class Cut(msgspec.Struct, frozen=True):
    """Where a job leaves the device and where it comes back.

    The device runs [0, start), the server [start, stop), the device again [stop, n). `start == stop` means
    that nothing is sent.
    """

    start: int
    stop: int


class App:
    """An ordered chain of tasks, optionally ended by one Aggregate.

    Args:
        name: letters, digits, '_', '-' and '.'; part of the fingerprint.
        stages: a Source, then tasks, then at most one Aggregate.
        version: part of the fingerprint; raise it when results change.
        types: dataclasses and msgspec structs used as values between stages.
        annotate: `(item, value) -> image`; draws a result onto the captured item for video and display.
            `value` has the fields the client wanted, or is None for a frame without a result.
        variants: what its stages that vary can run with, see `Variant`; a device without a plan runs with the first, so list
            the cheapest first. An app with a Speculative stage has its alternatives as variants.

    `speculation` says in plain values how the alternatives race, None for an app without.

    Raises:
        AppError: the chain makes no sense; the text says which rule it breaks.
    """

    def __init__(
        self,
        name: str,
        stages: Sequence[Task | Aggregate],
        *,
        version: str = "1",
        types: Iterable[type] = (),
        annotate: Callable[[Any, Any], Any] | None = None,
        variants: Iterable[Variant] = (),
    ) -> None:
        check_name(name)
        self.name = name
        self.version = version
        self.chain, self.aggregate = check_stages(name, stages)
        self.types = check_types(name, types)
        self.annotate = annotate
        self.speculation = speculation_of(self.chain)
        self.variants = check_race(name, variants, self.chain) or check_variants(name, variants, self.chain)
        self._crossings: dict[tuple[int, int], Crossing] = {}

    @property
    def n(self) -> int:
        """The number of stages in the chain, the aggregate not counted."""
        return len(self.chain)

    @property
    def source(self) -> Source:
        """Stage 0."""
        first = self.chain[0]
        assert isinstance(first, Source)
        return first

    @property
    def race(self) -> Speculative | None:
        """The stage whose alternatives race, with its hooks."""
        stage = None if self.speculation is None else self.chain[self.speculation.stage]
        return stage if isinstance(stage, Speculative) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Stage names of the chain, in order."""
        return tuple(stage.stage_name for stage in self.chain)

    def variant(self, name: str = "") -> Variant:
        """The variant of that name; "" is the first, or `NONE` where the app has none.

        Raises:
            UnknownVariant: it has no such variant.
        """
        found = self.variants.get(name) if name else next(iter(self.variants.values()), NONE)
        if found is None:
            raise UnknownVariant(f"app {self.name!r} has no variant {name!r}; it has {', '.join(self.variants) or 'none'}")
        return found

    def missing(self, side: str = "device") -> dict[int, tuple[str, ...]]:
        """Stages that cannot run on this host as a "device" or in the "cloud", with the packages they lack."""
        lacking = {index: stage.lacks(side, _installed) for index, stage in enumerate(self.chain)}
        return {index: packages for index, packages in lacking.items() if packages}

    def lacking(self, variant: str) -> tuple[str, ...]:
        """The packages that an alternative of the race lacks on this host."""
        return () if self.race is None else self.race.lacking(variant, _installed)

    def legal_cuts(
        self, device_lacks: Iterable[int] = (), cloud_lacks: Iterable[int] = (), *, state_moves: bool = False
    ) -> tuple[int, ...]:
        """The stage counts k that can be run, given the stages each host cannot run.

        Args:
            state_moves: stages with state may run on the cloud too, as in lossless mode.
        """
        device, cloud = frozenset(device_lacks), frozenset(cloud_lacks)
        return tuple(k for k in range(1, self.n + 1) if not self.why_not(k, device, cloud, state_moves=state_moves))

    def cut(
        self, k: int, device_lacks: Iterable[int] = (), cloud_lacks: Iterable[int] = (), *, state_moves: bool = False
    ) -> Cut:
        """The cut with k stages on the device; the job ends as late as it may.

        Raises:
            IllegalCut: naming the reason, the legal counts and the stages.
        """
        device, cloud = frozenset(device_lacks), frozenset(cloud_lacks)
        reason = self.why_not(k, device, cloud, state_moves=state_moves)
        if reason:
            legal = ", ".join(map(str, self.legal_cuts(device, cloud, state_moves=state_moves))) or "none"
            listing = " ".join(f"{index + 1}:{name}" for index, name in enumerate(self.names))
            raise IllegalCut(f"{k} stages on the device: {reason}; legal for {self.name!r}: {legal} (stages {listing})")
        return Cut(k, self.stops(k, device, cloud)[0] if state_moves else self._stop(k))

    def why_not(
        self, k: int, device_lacks: frozenset[int] = frozenset(), cloud_lacks: frozenset[int] = frozenset(), *, state_moves: bool = False
    ) -> str:
        """Why k is not a legal cut, in words; "" if it is."""
        if not 1 <= k <= self.n:
            return f"the count must be from 1 to {self.n}"
        if state_moves and self.stops(k, device_lacks, cloud_lacks):
            return ""
        return self._problem(k, self._stop(k), device_lacks, cloud_lacks)

    def stops(
        self, k: int, device_lacks: frozenset[int] = frozenset(), cloud_lacks: frozenset[int] = frozenset()
    ) -> tuple[int, ...]:
        """Where a job from stage k may end, the latest first: at n, or before a stage with state that then runs on the device.

        A job with state in it may be run again from its last checkpoint, so it has no stage marked `once`.
        """
        if self.speculation is not None and k < self.n:
            stop = self._stop(k)
            return () if self._problem(k, stop, device_lacks, cloud_lacks) else (stop,)
        held = [index for index in range(k, self.n) if self.chain[index].stateful]
        found = []
        for stop in (self.n, *reversed(held)):
            again = stop > min(held, default=self.n) and any(stage.once for stage in self.chain[k:stop])
            if not again and not self._problem(k, stop, device_lacks, cloud_lacks):
                found.append(stop)
        return tuple(found)

    def _problem(self, k: int, stop: int, device_lacks: frozenset[int], cloud_lacks: frozenset[int]) -> str:
        """Why stages [k, stop) cannot run on the cloud and the others on the device; "" if they can."""
        if self.speculation is not None and k < self.n and (problem := self._outside(k, stop, self.speculation.stage)):
            return problem
        for index, stage in enumerate(self.chain):
            here = "cloud" if k <= index < stop else "device"
            if stage.placement not in ("any", here):
                return f"stage {stage.stage_name!r} may only run on the {stage.placement}"
            if index in (cloud_lacks if here == "cloud" else device_lacks):
                remedy = f" ({stage.install})" if stage.install else ""
                return f"stage {stage.stage_name!r} needs {', '.join(stage.needs(here))}, missing on the {here}{remedy}"
        if stop == k < self.n:
            return f"stage {self.names[k]!r} keeps state and stays on the device, so nothing would be left for the cloud"
        return ""

    def _outside(self, k: int, stop: int, race: int) -> str:
        """Why stages [k, stop) cannot be raced, in words; "" if they can."""
        if k > race:
            return f"frames leave at stage {self.names[race]!r}, which is raced, or before it; or all {self.n} stages run on the device"
        if stop <= race:
            return f"stage {self.names[stop]!r} keeps state before the race of {self.names[race]!r}, so it is on the device"
        once = next((stage for stage in self.chain[k:race] if stage.once), None)
        return "" if once is None else f"stage {once.stage_name!r} runs at most once for a frame, and every server of a race would run it"

    def _stop(self, k: int) -> int:
        """Where state stays on the device: a job ends before the first stage with state at or after k, and behind the race."""
        stop = self.n if self.speculation is None or k > self.speculation.stage else self.speculation.stage + 1
        return next((i for i in range(k, stop) if self.chain[i].stateful), stop)

    def crossing(self, start: int, stop: int) -> Crossing:
        """What a job of stages [start, stop) must be sent, what may be lost of it, and what must come back.

        Raises:
            IllegalCut: not 0 <= start <= stop <= n.
        """
        found = self._crossings.get((start, stop))
        if found is None:
            if not 0 <= start <= stop <= self.n:
                raise IllegalCut(f"stages [{start}, {stop}): {self.name!r} has stages 0 to {self.n - 1}")
            found = self._crossings[start, stop] = crossing_of(self.chain[start:stop])
        return found

    def instances(self) -> tuple[Task, ...]:
        """The stages for one more worker: copies, but of the source and of `shared` stages the app's own.

        Raises:
            AppError: a stage cannot be copied; the text says what to do.
        """
        return tuple(stage if isinstance(stage, Source) else self._own(stage) for stage in self.chain)

    def copy(self) -> App:
        """The same app with a source, stages and an aggregate of its own, so that two clients do not share a camera.

        Raises:
            AppError: a stage cannot be copied, or is set up already; the text says what to do.
        """
        twin = copy.copy(self)
        twin.chain = tuple(map(self._own, self.chain))
        twin.aggregate = self._own(self.aggregate)
        return twin

    def _own(self, stage: _Stage) -> _Stage:
        if getattr(stage, "shared", False):
            return stage
        try:
            return copy.deepcopy(stage)
        except Exception as error:
            name = getattr(stage, "stage_name", "")
            raise AppError(
                f"app {self.name!r}: stage {name!r} cannot be copied for another worker ({error}); "
                "create what cannot be copied in setup(), or declare shared=True if `run` is thread-safe"
            ) from error

    def fingerprint(self) -> str:
        """What must be equal on both sides: names, placements, declared fields, losses and parameters, value types, variants.

        Returns:
            16 hex digits.
        """
        parts: list[Any] = [self.name, self.version]
        for stage in self.chain:
            declared = [(key, getattr(stage, key)) for key in sorted(stage.parameters)]
            parts.append((stage.stage_name, stage.placement, stage.stateful, stage.once, declared, declaration(stage)))
        parts.append(self.aggregate.stage_name if self.aggregate else "")
        parts.append(sorted((kind.__name__, list(type_fields(kind))) for kind in self.types))
        if self.variants:
            parts.append([(variant.name, dict(variant.parameters)) for variant in self.variants.values()])
            parts.append([stage.stage_name for stage in self.chain if stage.varies])
        return hashlib.sha256(canonical(parts)).hexdigest()[:16]

    def source_hash(self) -> str:
        """A hash over the source text of the stages; a difference only warns. "" if unknown."""
        codes = [code for stage in self.chain for code in stage._codes()] + ([type(self.aggregate)] if self.aggregate else [])
        try:
            texts = [_source_of(code) for code in codes]
        except (OSError, TypeError, SystemError):  # SystemError: the parser of CPython 3.11, see below
            return ""
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"App({self.name!r}, {' -> '.join(self.names)})"


_parsing = threading.Lock()
"""inspect parses a class's module, and CPython 3.11 fails when two threads parse at once (cpython issue 106905)."""


@functools.lru_cache(maxsize=1024)
def _source_text(code: Any) -> str:
    return inspect.getsource(code)


def _source_of(code: Any) -> str:
    with _parsing:
        return _source_text(code)


def _hint(error: BaseException, module_name: str) -> str:
    """What to do about a module that is not there."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    if f"{module_name}.".startswith(f"{error.name}."):
        return f"; looked in {os.getcwd()} and in what is installed: start in the folder that has it, or write ./file.py:attribute"
    return f"; install what it needs: pip install {error.name.partition('.')[0]}"


def load(path: str) -> App:
    """The App at "module:attribute" or "file.py:attribute"; modules in the working directory are found too.

    "package:module" is the `app` of that module. Where a `@factory` stands there it makes the App, from the parameters behind a
    "?": "mine:app?model=mine.onnx&size=416".

    Raises:
        AppNotFound: the text says whether the module, the attribute or its type is wrong.
        ParameterError: the text says which parameters are legal.
    """
    bare, words = split_path(path)
    module_name, colon, attribute = bare.rpartition(":")
    if not module_name or not colon or not attribute:
        raise AppNotFound(f"app {bare!r}: write it as module:attribute or ./file.py:attribute, for example examples.ball_tracking.app:app")
    if module_name.endswith(".py") or "/" in module_name:
        module_name = _module_of(bare, module_name)
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
        found = _named(module, attribute)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}{_hint(error, module_name)}"
        raise AppNotFound(f"app {bare!r}: cannot import {module_name!r}: {told}") from error
    if isinstance(found, Factory):
        return _made(bare, found, words)
    if not isinstance(found, App):
        raise AppNotFound(f"app {bare!r}: {_what_it_is(found)}; apps in {module_name!r}: {', '.join(_apps_in(module)) or 'none'}")
    if words:
        raise ParameterError(f"app {bare!r} takes no parameters: it is an App, and not a function that makes one (@factory)")
    return found


def _named(module: Any, attribute: str) -> Any:
    """The attribute; where a module in the package has that name, the `app` in it: examples.detection:pedestrians."""
    found = getattr(module, attribute, None)
    if found is None and hasattr(module, "__path__") and importlib.util.find_spec(f"{module.__name__}.{attribute}") is not None:
        found = importlib.import_module(f"{module.__name__}.{attribute}")
    return getattr(found, "app", None) if isinstance(found, ModuleType) else found


def _made(path: str, found: Factory, words: dict[str, str]) -> App:
    try:
        return found.made(words)
    except ParameterError as error:
        raise ParameterError(f"app {path!r}: {error}") from error


def _what_it_is(found: Any) -> str:
    if found is None:
        return "there is no such attribute"
    remedy = "; mark a function that makes one with @factory" if inspect.isfunction(found) else ""
    return f"it is a {type(found).__name__}, not an App{remedy}"


def _apps_in(module: Any) -> list[str]:
    return [key for key, value in vars(module).items() if isinstance(value, (App, Factory))]


def _module_of(path: str, file: str) -> str:
    """The name under which the module in a file is imported, whose folder (or its package's) can be searched from here on."""
    folder, name = os.path.split(os.path.realpath(file))
    stem, dot, suffix = name.rpartition(".")
    if suffix != "py" or not stem.isidentifier():
        dotted = file.removesuffix(".py").replace("/", ".").strip(".")
        raise AppNotFound(f"app {path!r}: name a module, or a file that ends in .py: {dotted}:{path.rpartition(':')[2]}")
    if not os.path.isfile(file):
        raise AppNotFound(f"app {path!r}: there is no file {file}")
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        stem = f"{package}.{stem}"
    if folder not in map(os.path.realpath, sys.path):
        sys.path.insert(0, folder)
    return stem


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
