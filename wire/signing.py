"""Ed25519 keys with which people sign the apps they ship, and the list of those a server trusts.

A secret key is a file that its owner alone may read; the public key belongs to it and is a word:

    spillway-signing-key 1          first line of the file
    ed25519:5XwS...                 what `cloud-server signers allow` takes, one line of a signers file each

It is another key than the one a device proves its name with: whoever takes a device over can send what was signed,
but sign nothing unless the signing key lies there too.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["PublicKey", "SigningError", "SigningKey", "is_signed", "read_signers", "signing_key", "write_signers", "write_signing_key"]

PublicKey = str
"""A public key as a word, `ed25519:` and 44 characters of base64."""

_PREFIX = "ed25519:"
_FIRST_LINE = "spillway-signing-key 1"
_LONGEST_NAME = 64


class SigningError(ValueError):
    """A key, a file of keys, or the library for them is not as it must be; the text says what to do."""


def _ed25519() -> Any:
    """The library's module; only who signs or checks needs it.

    Raises:
        SigningError: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SigningError(f"shipping apps needs the package cryptography ({error}): pip install 'spillway[ship]'") from None
    return ed25519


class SigningKey:
    """A secret key; made from its 32 bytes.

    Raises:
        SigningError: the library is missing, or these are not 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise SigningError(f"a signing key of {len(seed)} bytes; it has 32")
        self._key = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        self.public: PublicKey = _PREFIX + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, text: bytes) -> bytes:
        """64 bytes that only the owner of this key can make for this text."""
        signature: bytes = self._key.sign(text)
        return signature


def is_signed(text: bytes, signature: bytes, public: PublicKey) -> bool:
    """True if the owner of `public` signed `text`.

    Raises:
        SigningError: `public` is no key, or the library is missing.
    """
    key = _ed25519().Ed25519PublicKey.from_public_bytes(_raw(public))
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def write_signing_key(path: str | os.PathLike[str]) -> SigningKey:
    """Make a new key and write it, for its owner's eyes only.

    Raises:
        SigningError: there is a file of that name already, or it cannot be written.
    """
    seed = os.urandom(32)
    key = SigningKey(seed)
    text = f"{_FIRST_LINE}\n{base64.b64encode(seed).decode()}\n"
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise SigningError(f"{os.fspath(path)} exists; a key is never replaced: move it away, or name another file") from None
    except OSError as error:
        raise SigningError(f"cannot write the signing key {os.fspath(path)}: {error.strerror or error}") from None
    return key


def signing_key(path: str | os.PathLike[str]) -> SigningKey:
    """The key in a file.

    Raises:
        SigningError: there is none, others may read it, or it is no signing key.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            first, _, rest = file.read(4096).partition("\n")
    except OSError as error:
        raise SigningError(
            f"cannot read the signing key {name}: {error.strerror or error}; `iot-client ship-key init {name}` makes one"
        ) from None
    if mode & 0o077:
        raise SigningError(f"the signing key {name} may be read by others (mode {mode:o}): chmod 600 {name}")
    if first != _FIRST_LINE:
        raise SigningError(f"{name} is no signing key: its first line is not {_FIRST_LINE!r}")
    try:
        return SigningKey(base64.b64decode(rest.strip(), validate=True))
    except binascii.Error as error:
        raise SigningError(f"{name} is no signing key: {error}") from None


def read_signers(path: str | os.PathLike[str]) -> dict[PublicKey, str]:
    """Whom a server trusts, public key -> name; nobody where there is no such file.

    Raises:
        SigningError: the file cannot be read, others may write it, or a line is no signer; the text names it.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SigningError(f"cannot read the signers in {name}: {error}") from None
    if mode & 0o022:
        raise SigningError(f"the signers in {name} may be changed by others (mode {mode:o}): chmod 600 {name}")
    signers: dict[PublicKey, str] = {}
    for number, line in enumerate(lines, 1):
        public, _, signer = line.strip().partition(" ")
        if public and not public.startswith("#"):
            try:
                _raw(public)
            except SigningError as error:
                raise SigningError(f"{name}:{number}: {error}") from None
            signers[public] = signer.strip()
    return signers


def write_signers(path: str | os.PathLike[str], signers: dict[PublicKey, str]) -> None:
    """Replace the list, at once and as a whole.

    Raises:
        SigningError: a key or a name is none, or the file cannot be written.
    """
    for public, signer in signers.items():
        _raw(public)
        if not 0 < len(signer) <= _LONGEST_NAME or not signer.isprintable():
            raise SigningError(f"signer {signer!r}: a name has 1 to {_LONGEST_NAME} printable characters")
    text = "".join(f"{public} {signer}\n" for public, signer in signers.items())
    draft = f"{os.fspath(path)}.new"
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        raise SigningError(f"cannot write the signers {os.fspath(path)}: {error.strerror or error}") from None


def _raw(public: PublicKey) -> bytes:
    try:
        raw = base64.b64decode(public.removeprefix(_PREFIX), validate=True) if public.startswith(_PREFIX) else b""
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise SigningError(f"{public[:80]!r} is no public key; `iot-client ship-key show` prints one, {_PREFIX} and 44 characters")
    return raw
