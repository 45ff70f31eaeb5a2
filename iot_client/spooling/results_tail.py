"""How far a file of results lines got, for a run that goes on where a killed one stopped."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

__all__ = ["cut_off", "identity", "last_seq"]

_TAIL = 2**20
"""Bytes looked at from the end; a results line is rarely longer than a few hundred."""


class _Line(msgspec.Struct):
    seq: int


def identity(path: str | os.PathLike[str]) -> str:
    """Names this very file, whatever it is called by then; "" if it is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def last_seq(path: str | os.PathLike[str]) -> int:
    """The seq in the last whole line; -1 if there is none."""
    for line in reversed(_tail(Path(path)).split(b"\n")[:-1]):
        try:
            return msgspec.json.decode(line, type=_Line).seq
        except msgspec.MsgspecError:
            continue
    return -1


def cut_off(path: str | os.PathLike[str]) -> None:
    """Take away a last line that a killed writer left unfinished.

    Raises:
        OSError: the file cannot be changed.
    """
    unfinished = len(_tail(Path(path)).rpartition(b"\n")[2])
    if unfinished:
        os.truncate(path, os.path.getsize(path) - unfinished)


def _tail(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return file.read()
