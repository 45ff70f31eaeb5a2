"""A function that makes an App from parameters: what a command line says with --param, a program with a call.

    @factory
    def app(model: Path, size: int = 320, score: float = 0.25) -> App:
        return App("mine", [Input(), Prepare(size), Detect(model, score)])

    iot-client --app mine:app --param model=/models/mine.onnx --param size=416        app("/models/mine.onnx", size=416)

Each parameter has a type: str, int, float, bool, Path (a file or folder that is there), a Literal, or one of these or None.
What is given and not the default becomes part of the app's version, and with it of the fingerprint: two sides with other
parameters refuse each other and say which. Of a Path that is the content, wherever it lies; parameters named in `local` may
differ.

Parameters travel with the app's name: `mine:app?model=/models/mine.onnx&size=416` means the same wherever an app is named.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints, overload
from urllib.parse import parse_qsl, quote

from tasks.errors import AppError, ParameterError

if TYPE_CHECKING:
    from tasks.app import App

__all__ = ["Factory", "digest", "factory", "split_path", "with_parameters"]

_TYPES: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "yes or no", Path: "a file or folder"}
_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_LONGEST = 200
"""Characters of a version with its parameters; longer ones are cut short and end in a digest of the whole. The wire takes 256."""


class Factory:
    """What `@factory` makes of a function: call it as before, or `made` with words from a command line."""

    def __init__(self, function: Callable[..., App], local: tuple[str, ...]) -> None:
        self.__doc__, self.__name__, self.__module__ = function.__doc__, function.__name__, function.__module__
        self._function = function
        self._signature = inspect.signature(function)
        for parameter in self._signature.parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise AppError(f"@factory on {self.__name__}(): {parameter} cannot be given by name")
        unknown = sorted(set(local) - set(self._signature.parameters))
        if unknown:
            raise AppError(f"@factory on {self.__name__}(): local names {', '.join(unknown)}, which it does not take")
        self._local = frozenset(local)

    def __call__(self, *args: Any, **kwargs: Any) -> App:
        """The App.

        Raises:
            ParameterError: a value is not of its parameter's type, or makes no sense to the function.
            TypeError: as of any function that is called with the wrong arguments.
        """
        given = self._signature.bind(*args, **kwargs).arguments
        return self._make({name: self._convert(name, value) for name, value in given.items()})

    def made(self, words: Mapping[str, str]) -> App:
        """The App for words from a command line.

        Raises:
            ParameterError: a name is unknown or missing, or a word not legal; the text says what is.
        """
        known = self._signature.parameters
        for name in words:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise ParameterError(f"no parameter {name!r}{meant}; {self.legal()}")
        missing = [name for name, parameter in known.items() if parameter.default is parameter.empty and name not in words]
        if missing:
            raise ParameterError(f"it needs {' and '.join(f'--param {name}=...' for name in missing)}; {self.legal()}")
        return self(**words)

    def legal(self) -> str:
        """What may be given, in words."""
        if not self._signature.parameters:
            return "it takes none"
        return f"legal are {'; '.join(self._legal(name) for name in self._signature.parameters)}"

    def _legal(self, name: str) -> str:
        default = self._signature.parameters[name].default
        kind = _kinds(self._hint(name))
        if default is inspect.Parameter.empty:
            return f"{name} ({kind})"
        return f"{name} ({kind}{'' if default in (None, '') else f'; default {_shown(default)}'})"

    def _hint(self, name: str) -> Any:
        try:
            hint = get_type_hints(self._function).get(name, str)
        except NameError as error:
            raise AppError(f"@factory on {self.__name__}(): the type of a parameter cannot be found: {error}") from error
        if not all(kind in _TYPES or kind is type(None) or get_origin(kind) is Literal for kind in _members(hint)):
            legal = "str, int, float, bool, Path, Literal and these or None"
            raise AppError(f"@factory on {self.__name__}(): {name} is {hint}; legal are {legal}")
        return hint

    def _convert(self, name: str, value: Any) -> Any:
        """`value` as the parameter's type."""
        hint, default = self._hint(name), self._signature.parameters[name].default
        if value is None and (default is None or type(None) in _members(hint)):
            return None
        for kind in _members(hint):
            try:
                return _converted(kind, value)
            except (ValueError, TypeError):
                continue
        if Path in _members(hint) and isinstance(value, (str, os.PathLike)):
            raise ParameterError(f"{name}={str(value)!r}: there is no such file or folder on this host")
        raise ParameterError(f"{name}={str(value)!r}: must be {_kinds(hint)}")

    def _make(self, given: dict[str, Any]) -> App:
        from tasks.app import App  # which loads factories

        try:
            made = self._function(**given)
        except ParameterError:
            raise
        except ValueError as error:  # AppError too: what makes no sense came from the parameters
            raise ParameterError(str(error)) from error
        if not isinstance(made, App):
            raise AppError(f"@factory on {self.__name__}(): it returned a {type(made).__name__}, not an App")
        marks = [
            f"{name}={_mark(value)}" for name, value in given.items()
            if name not in self._local and value != self._signature.parameters[name].default
        ]
        if not marks:
            return made
        made = copy.copy(made)  # the function may give out the same one again
        made.version = _short(f"{made.version} with {', '.join(sorted(marks))}")
        return made


@overload
def factory(function: Callable[..., App], /) -> Factory: ...
@overload
def factory(*, local: Iterable[str] = ()) -> Callable[[Callable[..., App]], Factory]: ...
def factory(function: Callable[..., App] | None = None, /, *, local: Iterable[str] = ()) -> Any:
    """Mark a function that makes an App: `@factory`, or `@factory(local=("threads",))` for what may differ between two hosts."""
    if function is not None:
        return Factory(function, ())
    return lambda wrapped: Factory(wrapped, tuple(local))


def split_path(path: str) -> tuple[str, dict[str, str]]:
    """An app's path without its parameters, and these.

    Raises:
        ParameterError: they cannot be read, or one is given twice.
    """
    bare, _, query = path.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ParameterError(f"app {path!r}: write parameters as {bare}?name=value&name=value") from None
    words = dict(pairs)
    if len(words) < len(pairs):
        raise ParameterError(f"app {path!r}: a parameter is given twice")
    return bare, words


def with_parameters(path: str, words: Iterable[str]) -> str:
    """An app's path with these parameters, each NAME=VALUE, added.

    Raises:
        ParameterError: one is written otherwise, or given twice.
    """
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"--param {word!r}: write it as NAME=VALUE")
        pairs.append(f"{quote(name.strip(), safe='')}={quote(value, safe='/:,')}")
    added = path + "".join(f"{'&' if index or '?' in path else '?'}{pair}" for index, pair in enumerate(pairs))
    split_path(added)
    return added


def digest(path: Path) -> str:
    """SHA-256 over a file, or over the names and contents of the files in a folder; names that begin with a dot are left out.

    Returns:
        64 hex digits.
    """
    if path.is_file():
        return _file_digest(path)
    total = hashlib.sha256()
    inside = (each for each in path.rglob("*") if each.is_file())
    for relative, file in sorted((each.relative_to(path), each) for each in inside):
        if not any(part.startswith(".") for part in relative.parts):
            total.update(f"{relative.as_posix()}\0{_file_digest(file)}\n".encode())
    return total.hexdigest()


def _file_digest(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            total.update(block)
    return total.hexdigest()


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, else the one."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _kinds(hint: Any) -> str:
    """What is legal, in words."""
    words = [" or ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _TYPES.get(kind, "") for kind in _members(hint)]
    return " or ".join(word for word in words if word)


def _converted(kind: Any, value: Any) -> Any:
    """`value`, or the word for it, as a `kind`; ValueError or TypeError if it is none."""
    if get_origin(kind) is Literal:
        words = {str(choice): choice for choice in get_args(kind)}
        return words[str(value)] if str(value) in words else _no(value)
    if kind is bool:
        return value if isinstance(value, bool) else _boolean(value)
    if kind is Path:
        path = Path(value).expanduser()
        return path if path.exists() else _no(value)
    if kind is str:
        return value if isinstance(value, str) else _no(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        return _no(value)
    return kind(value)


def _boolean(value: Any) -> bool:
    word = str(value).lower()
    return word in _TRUE if word in (*_TRUE, *_FALSE) else bool(_no(value))


def _no(value: Any) -> Any:
    raise ValueError(value)


def _mark(value: Any) -> str:
    """What stands for a value in the version."""
    return f"sha256:{digest(value)[:16]}" if isinstance(value, Path) else _shown(value)


def _shown(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _short(version: str) -> str:
    if len(version) <= _LONGEST:
        return version
    return f"{version[: _LONGEST - 19]}.. {hashlib.sha256(version.encode()).hexdigest()[:16]}"
