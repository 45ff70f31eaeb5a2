"""An app as signed bytes: what a device ships to a server that does not have it.

    head    msgpack [header, signature]           header: the msgpack array of Header's fields
    body    zlib of what cloudpickle made of the app

    signature = Ed25519 over "spillway bundle 1", a zero byte, and the header, which holds the body's SHA-256
    digest    = SHA-256 of what is signed, in hex: the bundle's name in HELLO and BUNDLE

Nothing in here turns a body into an object. `verify` decides, from bytes alone, whether anybody may: it looks at the
signature before it believes a field, and at the body last.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Container

import msgspec

from wire.keys import KeyProblem, Pair, text_of
from wire.signing import is_signed, signed

__all__ = ["MAX_UNPACKED", "Bundle", "BundleError", "Expected", "Header", "digest_of", "seal", "unpack", "verify"]

FORMAT = 1
MAX_UNPACKED = 256 * 2**20
"""Bytes a body may have once unpacked."""
_CONTEXT = b"spillway bundle 1\0"
_MAX_HEADER = 4096
_SKEW = 300
"""Seconds by which a device's calendar may be ahead of the server's."""


class BundleError(ValueError):
    """A bundle is refused; the text says why, and names what was expected."""


class Header(msgspec.Struct, frozen=True, array_like=True, kw_only=True, forbid_unknown_fields=True):
    """What the signature covers. Times are seconds of UTC since 1970, sizes bytes.

    `server` and `device` are the names of those it is for and from, `python` is "major.minor", `body` the SHA-256 of the
    body, which has `nbytes` bytes, and `unpacked` once it is unpacked.
    """

    format: int
    app: str
    app_version: str
    fingerprint: str
    server: str
    device: str
    python: str
    created: int
    expires: int
    body: bytes
    nbytes: int
    unpacked: int
    signer: bytes


class Bundle(msgspec.Struct, frozen=True):
    """A header with its signature, and the body it is about."""

    head: bytes
    body: bytes
    digest: str

    @property
    def nbytes(self) -> int:
        """Size on the wire."""
        return len(self.head) + len(self.body)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle must be: the words of the HELLO that named it, and this server's own."""

    digest: str
    app: str
    app_version: str
    fingerprint: str
    device: str
    server: str
    python: str


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode
_decode_header = msgspec.msgpack.Decoder(Header).decode


def seal(key: Pair, pickled: bytes, *, expected: Expected, created: int, expires: int) -> Bundle:
    """Sign an app's bytes for one server and one device; `expected.digest` is of no account.

    Raises:
        BundleError: it is too large for any server.
    """
    if len(pickled) > MAX_UNPACKED:
        raise BundleError(f"the app is {len(pickled)} bytes pickled; at most {MAX_UNPACKED}: load large data in setup()")
    body = zlib.compress(pickled)
    header = _encode(Header(
        format=FORMAT, app=expected.app, app_version=expected.app_version, fingerprint=expected.fingerprint, server=expected.server,
        device=expected.device, python=expected.python, created=created, expires=expires, body=hashlib.sha256(body).digest(),
        nbytes=len(body), unpacked=len(pickled), signer=key.public,
    ))
    return Bundle(_encode((header, signed(_CONTEXT + header, key))), body, digest_of(header))


def digest_of(header: bytes) -> str:
    """The name of the bundle with this header, 64 hex digits."""
    return hashlib.sha256(_CONTEXT + header).hexdigest()


def verify(head: bytes, body: bytes | memoryview, *, expected: Expected, trusted: Container[bytes], now: float) -> Header:
    """The header of a bundle that may be opened.

    Args:
        trusted: the public keys of those whose apps are taken.
        now: seconds of UTC since 1970.

    Raises:
        BundleError: it may not; never anything else, whatever the bytes are.
    """
    header, raw = _signed(head, trusted)
    if digest_of(raw) != expected.digest:
        raise BundleError("the bundle is not the one that was announced")
    if header.format != FORMAT:
        raise BundleError(f"bundle format {header.format}; this server takes {FORMAT}")
    _check_names(header, expected)
    if header.created > now + _SKEW:
        raise BundleError(f"the bundle was made {header.created - now:.0f} s in the future; set the clocks")
    if now >= header.expires:
        raise BundleError(f"the bundle expired {now - header.expires:.0f} s ago; start the device anew to sign another")
    if len(body) != header.nbytes or not hmac.compare_digest(hashlib.sha256(body).digest(), header.body):
        raise BundleError("the bundle's body is not the one that was signed")
    return header


def unpack(body: bytes | memoryview, unpacked: int) -> bytes:
    """The bytes of the app, exactly as many as its header says.

    Raises:
        BundleError: there are more or fewer, or it is no zlib stream.
    """
    if not 0 <= unpacked <= MAX_UNPACKED:
        raise BundleError(f"the app would be {unpacked} bytes unpacked; at most {MAX_UNPACKED}")
    stream = zlib.decompressobj()
    try:
        pickled = stream.decompress(body, unpacked + 1)
    except zlib.error as error:
        raise BundleError(f"the bundle's body cannot be unpacked: {error}") from None
    if len(pickled) != unpacked or not stream.eof or stream.unused_data:
        raise BundleError(f"the bundle's body does not unpack to the {unpacked} bytes that were signed")
    return pickled


def _signed(head: bytes, trusted: Container[bytes]) -> tuple[Header, bytes]:
    """The header and its bytes, if somebody who is trusted signed them."""
    try:
        raw, signature = _decode_head(head)
        header = _decode_header(raw) if len(raw) <= _MAX_HEADER else None
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise BundleError(f"no bundle: {str(error)[:200]}") from None
    if header is None or _encode(header) != raw or _encode((raw, signature)) != head:
        raise BundleError("no bundle: its header is not written as headers are")
    if header.signer not in trusted:
        raise BundleError(
            f"its signer is not trusted by this server; `cloud-server signers allow NAME {text_of(header.signer[:32])}` "
            "on the server changes that"
        )
    try:
        valid = is_signed(_CONTEXT + raw, signature, header.signer)
    except KeyProblem as error:
        raise BundleError(str(error)) from None
    if not valid:
        raise BundleError("the signature does not belong to the bundle: it was altered, or signed with another key")
    return header, raw


def _check_names(header: Header, expected: Expected) -> None:
    for field, what, hint in (
        ("server", "is for server", "; give --ship-server {wanted} if that is the one you mean"),
        ("app", "holds app", ""),
        ("app_version", "holds app version", ""),
        ("fingerprint", "holds the app with fingerprint", ""),
        ("device", "is from device", ""),
        ("python", "was made by Python", "; both sides must run the same minor version"),
    ):
        found, wanted = getattr(header, field), getattr(expected, field)
        if found != wanted:
            raise BundleError(f"the bundle {what} {found!r}, expected {wanted!r}{hint.format(wanted=wanted)}")
