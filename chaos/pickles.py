"""Pickles that do harm as soon as they are loaded: each makes a file, by which it is found out."""

from __future__ import annotations

import io
import itertools
import os
import pathlib
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

__all__ = ["harm_done", "harmful"]

_LOADER = """
import pickle, sys
from pathlib import Path
for path in sorted(Path(sys.argv[1]).glob("*.pickle")):
    try:
        pickle.loads(path.read_bytes())
    except Exception:
        pass
"""


class _Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _npy(inner: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([inner, None], object), allow_pickle=True)
    return file.getvalue()


def _gadgets(path: str) -> Iterator[Any]:
    code = f"open({path!r}, 'w').close()"
    yield _Call(os.system, f"touch '{path}'")
    yield _Call(subprocess.call, ["touch", path])
    yield _Call(eval, code)
    yield _Call(exec, code)
    yield _Call(open, path, "w")
    yield _Call(os.open, path, os.O_CREAT | os.O_WRONLY)
    yield _Call(pathlib.Path.touch, pathlib.Path(path))
    yield np.array([_Call(eval, code), None], object)
    yield _Call(np.load, _Call(io.BytesIO, _npy(_Call(eval, code))), None, True)
    yield [_Call(eval, code), _Call(np.ndarray, (1,)), {"storage": _Call(eval, f"{code} or __import__('torch')")}]
    yield _Call(pickle.loads, pickle.dumps(_Call(eval, code)))
    yield _Call(cloudpickle.loads, cloudpickle.dumps(_Call(eval, code)))
    yield _Call(pickle.loads, pickle.dumps({"a": [_Call(pickle.loads, pickle.dumps(_Call(eval, code)))]}))


_WRAPS: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data,
    lambda data: data[:-1],  # cut off before its end: what it calls is called all the same
    lambda data: data + b"garbage behind the end",
)
_CUT, _FRAMED = 1, 4
"""From protocol 4 on a pickle comes in frames, and one that is cut off is not begun."""


def harmful(count: int, seed: int, folder: Path) -> list[bytes]:
    """So many different ones; each would make a file in `folder`, which others may write to."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    kinds = len(list(_gadgets("x")))
    ways = list(itertools.product(range(kinds), range(pickle.HIGHEST_PROTOCOL + 1), range(len(_WRAPS))))
    ways = [way for way in ways if way[1] < _FRAMED or way[2] != _CUT]
    random.Random(seed).shuffle(ways)
    if count > len(ways):
        raise ValueError(f"{count} pickles; there are {len(ways)}")
    made = []
    for number, (kind, version, wrap) in enumerate(ways[:count]):
        gadget = list(_gadgets(str(folder / f"canary-{number}")))[kind]
        made.append(_WRAPS[wrap](pickle.dumps(gadget, version)))
    return made


def harm_done(pickles: list[bytes], folder: Path, canaries: Path) -> int:
    """How many of them do what they are made for, in a process that loads them; the traces are wiped again."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(pickles):
        (folder / f"{number:04}.pickle").write_bytes(data)
    subprocess.run([sys.executable, "-c", _LOADER, str(folder)], check=True, timeout=120, capture_output=True)
    found = list(canaries.glob("canary-*"))
    for canary in found:
        canary.unlink()
    return len(found)
