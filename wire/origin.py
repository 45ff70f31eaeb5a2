"""Find out whether a plain-named package (`tasks`, `metrics`) is ours before it is imported.

    home = Path(__file__).resolve().parents[1]
    problem = runpy.run_path(str(home / "wire" / "origin.py"))["shadowed"](("tasks", "wire"), home)

A module of that name beside the user's script comes before ours on sys.path. This file imports nothing of
ours and is run by its path, since `wire` may be shadowed as well.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable

__all__ = ["shadowed"]


def shadowed(names: Iterable[str], home: str | os.PathLike[str]) -> str:
    """Why one of the packages `names` would not come from the folder `home`, and what to do; "" if all do.

    Nothing is imported for it.
    """
    for name in names:
        found = _origin(name)
        ours = os.path.join(home, name, "__init__.py")
        if found and os.path.realpath(found) != os.path.realpath(ours):
            return (
                f"{found} hides Spillway's own package {name!r} ({os.path.dirname(ours)}): "
                "rename that file or folder, or start from another folder"
            )
        if not found and not os.path.exists(ours):
            return f"Spillway's package {name!r} is missing in {home}: install Spillway again"
    return ""


def _origin(name: str) -> str:
    """The file that `import name` would run, or the folder of a package without one; "" if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a half-imported module without a spec
        return ""
    if spec is None:
        return ""
    if spec.origin:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), "")
