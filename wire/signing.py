"""Ed25519 keys with which people sign the apps they ship; a server keeps those it trusts in a keyring, NAME KEY.

A signing key is another than the one a device proves its name with: whoever takes a device over can send what was
signed for it, but signs nothing new unless the signing key lies there too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wire.keys import KEY_BYTES, KeyProblem, Pair, fresh_folder, read_pair, write_pair

__all__ = ["SHIP_KEY", "SIGNERS", "is_signed", "make_signing_key", "signed", "signing_key", "write_signing_key"]

SHIP_KEY = "ship.key"
"""In a device's folder."""
SIGNERS = "signers"
"""In a server's folder."""
_KIND = "sign"


def _ed25519() -> Any:
    """The library's module; only who signs or checks needs it.

    Raises:
        KeyProblem: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise KeyProblem(f"shipping apps needs cryptography ({error}): pip install 'cryptography>=42' (Spillway's extra `ship`)") from None
    return ed25519


def make_signing_key(name: str = "", secret: bytes = b"") -> Pair:
    """A fresh pair, or the one of this secret."""
    secret = secret or os.urandom(KEY_BYTES)
    public = _ed25519().Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return Pair(public=public, secret=secret, name=name)


def write_signing_key(path: str | os.PathLike[str], name: str = "", *, replace: bool = False) -> Pair:
    """Make a pair and keep it in a file for its owner's eyes only.

    Raises:
        KeyProblem: there is one already, or it cannot be written.
    """
    pair, place = make_signing_key(name), Path(path).expanduser()
    try:
        fresh_folder(place.parent)
        write_pair(place, pair, kind=_KIND, replace=replace)
    except OSError as error:
        raise KeyProblem(f"cannot write the signing key {place}: {error.strerror or error}") from None
    return pair


def signing_key(path: str | os.PathLike[str]) -> Pair:
    """The pair in a file.

    Raises:
        KeyProblem: there is none, others may read it, or it is no signing key.
    """
    place = Path(path).expanduser()
    try:
        pair = read_pair(place, kind=_KIND)
    except OSError as error:
        text = f"cannot read the signing key {place}: {error.strerror or error}; `iot-client ship-key init --ship-key {place}` makes one"
        raise KeyProblem(text) from None
    if make_signing_key(secret=pair.secret).public != pair.public:
        raise KeyProblem(f"{place}: public and secret do not belong together; restore the file, or make a new key")
    return pair


def signed(text: bytes, pair: Pair) -> bytes:
    """64 bytes that only the owner of this pair can make for this text."""
    signature: bytes = _ed25519().Ed25519PrivateKey.from_private_bytes(pair.secret).sign(text)
    return signature


def is_signed(text: bytes, signature: bytes, public: bytes) -> bool:
    """True if the owner of `public` signed `text`.

    Raises:
        KeyProblem: the library is missing.
    """
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):  # ValueError: these bytes are no key
        return False
    return True
