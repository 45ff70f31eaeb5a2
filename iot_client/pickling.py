"""An app as bytes that hold all of its own code: where they are read, nothing of it need be installed.

The only place on the device that pickles. What the app's modules define travels by value; what is installed for all, the
standard library and what pip put beside it, by name, and must be there on the other side as well.
"""

from __future__ import annotations

import copy
import io
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cloudpickle
import msgspec

from iot_client.errors import ClientError
from tasks import App, Speculative
from tasks.structs import define, definition_of, give_members

__all__ = ["pickle_app"]

_OURS = frozenset({"tasks", "wire", "metrics", "iot_client", "cloud_server"})
"""Both sides have these."""


def pickle_app(app: App) -> bytes:
    """The app without what only a device needs of it.

    Raises:
        ClientError: something in it cannot be pickled; the text says what to do.
    """
    stripped = copy.copy(app)
    stripped.annotate = None
    stripped._crossings = {}
    stripped.chain = tuple(stage.bare() if isinstance(stage, Speculative) else stage for stage in app.chain)
    by_value, file = list(_by_value(app)), io.BytesIO()
    for module in by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        _Pickler(file, {module.__name__ for module in by_value} | {"__main__"}).dump(stripped)
    except Exception as error:
        raise ClientError(
            f"app {app.name!r} cannot be shipped: {type(error).__name__}: {error}; open files, cameras and models in setup(), which runs "
            "on the server"
        ) from error
    finally:
        for module in by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, and msgspec's structs by value, of which it would lose the fields."""

    def __init__(self, file: io.BytesIO, by_value: set[str]) -> None:
        super().__init__(file)
        self._by_value = by_value

    def reducer_override(self, obj: Any) -> Any:
        """As pickle.Pickler's."""
        if isinstance(obj, type(msgspec.Struct)) and obj.__module__ in self._by_value:
            definition, members = definition_of(obj)
            return define, definition, members, None, None, give_members
        return super().reducer_override(obj)


def _by_value(app: App) -> Iterator[ModuleType]:
    """The loaded modules whose code travels: of the app's own packages, and all that nobody installed."""
    own = {name.partition(".")[0] for name in _modules(app)}
    for name, module in sys.modules.copy().items():
        top, file = name.partition(".")[0], getattr(module, "__file__", None)
        if top not in _OURS and name != "__main__" and file and file.endswith(".py") and (top in own or not _installed(file)):
            yield module


def _modules(app: App) -> Iterator[str]:
    parts: list[Any] = [code for stage in app.chain for code in stage._codes()] + [type(stage) for stage in app.chain] + list(app.types)
    if app.aggregate is not None:
        parts.append(type(app.aggregate))
    return (part.__module__ for part in parts if part.__module__.partition(".")[0] not in _OURS)


def _installed(file: str) -> bool:
    real = os.path.realpath(file)
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")] + [site.getusersitepackages()]
    return any(real.startswith(os.path.realpath(folder) + os.sep) for folder in folders)
