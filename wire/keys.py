"""Keys: how they are made, written for people, and kept in files that nobody else may read.

    pair = make_pair()
    write_pair(folder / "device.key", pair, name="cam1")
    text_of(pair.public)          # 56 letters and digits, for a command line
    words_of(pair.public)         # five words to compare over the telephone

A key's text is the base32 of its 32 bytes and the first three of their SHA-256, so that a slip of the hand is seen.
A key file has one `field value` on each line; lines that begin with # are for people.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

__all__ = [
    "KEY_BYTES", "KeyProblem", "Pair", "default_folder", "fresh_folder", "key_of", "make_pair", "read_pair", "replace_file", "text_of",
    "words_of", "write_pair",
]

KEY_BYTES = 32
"""Of a CURVE key (X25519), and of one that signs (Ed25519)."""
_CHECK_BYTES = 3
_TEXT_LENGTH = (KEY_BYTES + _CHECK_BYTES) * 8 // 5
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
"""Proquints: 16 bits as a word that can be pronounced (Wilkerson, arXiv:0901.4016)."""
_WORDS = 5
_LARGEST_FILE = 2**16
_HEADER = "# A secret key of Spillway. Whoever can read this file can pose as its owner: keep it here, with mode 0600.\n"


class KeyProblem(ValueError):
    """A key, or a file with one, cannot be used; the text says which, why, and what to do."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A public key and the secret that goes with it, 32 bytes each; `name` is the owner's, if any."""

    public: bytes
    secret: bytes
    name: str = ""

    def __repr__(self) -> str:
        return f"Pair(public={text_of(self.public)}, name={self.name!r})"


def make_pair(name: str = "") -> Pair:
    """A fresh CURVE pair."""
    public, secret = zmq.curve_keypair()
    return Pair(public=z85.decode(public), secret=z85.decode(secret), name=name)


def text_of(key: bytes) -> str:
    """A key in 56 letters and digits that no shell takes for anything else."""
    return base64.b32encode(key + hashlib.sha256(key).digest()[:_CHECK_BYTES]).decode().lower()


def key_of(text: str, what: str = "key") -> bytes:
    """The key a text stands for.

    Raises:
        KeyProblem: it is none, or was mistyped.
    """
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    try:
        data = base64.b32decode(text.strip().upper())
    except (binascii.Error, ValueError):
        data = b""
    if len(text.strip()) != _TEXT_LENGTH or len(data) != KEY_BYTES + _CHECK_BYTES:
        raise KeyProblem(f"{what} {shown!r}: a key is {_TEXT_LENGTH} characters, a to z and 2 to 7; copy the whole line that printed it")
    key = data[:KEY_BYTES]
    if text_of(key) != text.strip().lower():
        raise KeyProblem(f"{what} {shown!r}: one of its characters is wrong, its check does not fit; copy it again")
    return key


def words_of(key: bytes) -> str:
    """Five words (80 bits of the key's SHA-256) that two people can compare."""
    digest = hashlib.sha256(b"spillway key" + key).digest()
    return "-".join(_word(int.from_bytes(digest[2 * i : 2 * i + 2], "big")) for i in range(_WORDS))


def _word(bits: int) -> str:
    letters = (
        _CONSONANTS[bits >> 12], _VOWELS[bits >> 10 & 3], _CONSONANTS[bits >> 6 & 15], _VOWELS[bits >> 4 & 3], _CONSONANTS[bits & 15],
    )
    return "".join(letters)


# -- files -----------------------------------------------------------------------------------------


def default_folder(role: str) -> Path:
    """`$XDG_CONFIG_HOME/spillway/ROLE`, or `~/.config/spillway/ROLE`; the role is server or device."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "spillway" / role


def fresh_folder(folder: Path) -> Path:
    """This folder, made with mode 0700 if it is not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_pair(path: Path, pair: Pair, *, kind: str = "curve", replace: bool = False) -> None:
    """Keep a pair in a file that only its owner can read; a reader sees the old or the new one.

    Raises:
        KeyProblem: there is one already, and it is not to be replaced. OSError: it cannot be written.
    """
    lines = {"kind": kind, "name": pair.name, "public": text_of(pair.public), "secret": text_of(pair.secret)}
    content = _HEADER + "".join(f"{field} {value}\n" for field, value in lines.items() if value)
    replace_file(path, content, 0o600, replace=replace)


def read_pair(path: Path, *, kind: str = "curve") -> Pair:
    """The pair kept in a file.

    Raises:
        KeyProblem: others can read it, it is damaged, or of another kind. FileNotFoundError: there is none.
    """
    fields = dict(line.split(None, 1) for line in _read_secret(path).splitlines() if len(line.split(None, 1)) == 2 and line[0] != "#")
    missing = [field for field in ("kind", "public", "secret") if field not in fields]
    if missing:
        raise KeyProblem(f"{path}: no key file of Spillway, it lacks {' and '.join(missing)}; restore it, or make a new key")
    if fields["kind"] != kind:
        raise KeyProblem(f"{path}: a key of kind {fields['kind']!r}, where {kind!r} is needed")
    public, secret = (key_of(fields[field], f"{path}: {field}") for field in ("public", "secret"))
    if kind == "curve" and zmq.curve_public(z85.encode(secret)) != z85.encode(public):
        raise KeyProblem(f"{path}: public and secret do not belong together; restore the file, or make a new key")
    return Pair(public=public, secret=secret, name=fields.get("name", "").strip())


def replace_file(path: Path, content: str, mode: int, *, replace: bool = True) -> None:
    """Write a whole file or nothing, never readable beyond `mode` on the way.

    Raises:
        KeyProblem: it exists, and is not to be replaced. OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        raise KeyProblem(f"{path} is there already, and whoever has its public key relies on it; --force replaces it") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _read_secret(path: Path) -> str:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise KeyProblem(f"{path} is no plain file")
        if mode & 0o077:
            raise KeyProblem(f"{path} has mode {mode:04o}, others can read it: chmod 600 {path}, and make another if they may have")
        try:
            return file.read(_LARGEST_FILE).decode()
        except UnicodeDecodeError:
            raise KeyProblem(f"{path}: no key file of Spillway; restore it, or make a new key") from None
