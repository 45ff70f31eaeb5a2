"""The files of one kind of experiment: those that come with Spillway, and a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

__all__ = ["built_in", "load"]

Lab = TypeVar("Lab")


def built_in(folder: Path) -> dict[str, Path]:
    """The experiments that lie in `folder`, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name: str | Path, folder: Path, kind: str, lab: type[Lab]) -> Lab | None:
    """The experiment of this name in `folder`, or in this TOML file; None where its `kind` is another.

    Raises:
        ValueError: it is one with a field that is not legal; the text names it.
    """
    path = built_in(folder).get(str(name), Path(name))
    if not path.is_file():
        return None
    try:
        found = msgspec.toml.decode(path.read_bytes())
        if found.pop("kind", "") != kind:
            return None
        return msgspec.convert(found, lab)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
