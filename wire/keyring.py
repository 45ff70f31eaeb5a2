"""A file of names and public keys, one pair on each line: the devices a server allows, the servers a device knows.

    cam1 kq3v...ha7a
    # what follows a number sign is for people
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wire.keys import KeyProblem, fresh_folder, key_of, replace_file, text_of

__all__ = ["check_name", "edit_keyring", "read_keyring"]

_LARGEST_FILE = 16 * 2**20
_NAME = re.compile(r"[A-Za-z0-9_.:\[\]@+-]{1,128}")


def check_name(name: str) -> str:
    """The name, if it may stand in a keyring.

    Raises:
        KeyProblem: it may not.
    """
    if _NAME.fullmatch(name) is None:
        raise KeyProblem(f"name {name!r}; legal: 1 to 128 letters, digits and _ . : [ ] @ + -")
    return name


def read_keyring(path: Path, *, distinct: bool = True) -> dict[str, bytes]:
    """Keys by name; none if there is no such file. A key has one name, unless they need not be `distinct`.

    Raises:
        KeyProblem: a line says nothing, or others can write to the file. OSError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        return {}
    if mode & 0o022:
        raise KeyProblem(f"{path} has mode {mode:04o}, others can write names into it: look through it, then chmod 600 {path}")
    keys: dict[str, bytes] = {}
    names: dict[bytes, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 2:
            raise KeyProblem(f"{where}: {line[:80]!r}; a line is a name and a key")
        name, key = check_name(words[0]), key_of(words[1], f"{where}: key")
        if name in keys or (distinct and key in names):
            raise KeyProblem(f"{where}: {name!r} or its key stands in another line as well; keep one of them")
        keys[name], names[key] = key, name
    return keys


def edit_keyring(path: Path, change: Callable[[dict[str, bytes]], None], title: str, *, distinct: bool = True) -> None:
    """Change the file as a whole; two who do it at once wait for each other.

    Args:
        change: alters the keys by name.
        title: the first line, for people.

    Raises:
        KeyProblem: as read_keyring. OSError: it cannot be written.
    """
    fresh_folder(path.parent)
    with _alone(path.parent):
        keys = read_keyring(path, distinct=distinct)
        change(keys)
        replace_file(path, f"# {title}\n" + "".join(f"{name} {text_of(key)}\n" for name, key in keys.items()), 0o600)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
