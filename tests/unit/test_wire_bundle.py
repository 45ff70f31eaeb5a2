"""A bundle is opened only if everything about it is as it must be, and decided from bytes alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from wire.bundle import Bundle, BundleError, Expected, digest_of, seal, unpack, verify
from wire.keys import KeyProblem, Pair, make_pair, write_pair
from wire.signing import make_signing_key, signing_key, write_signing_key

KEY, OTHER = make_signing_key(secret=b"k" * 32), make_signing_key(secret=b"o" * 32)
EXPECTED = Expected(
    digest="", app="ball", app_version="1", fingerprint="f00d", device="cam", server="cloud", python="3.11"
)
NOW = 1_000_000
PICKLED = b"cos\nsystem\n(S'touch canary'\ntR." * 10


def sealed(key: Pair = KEY, **changes: Any) -> Bundle:
    times = {name: changes.pop(name, default) for name, default in (("created", NOW), ("expires", NOW + 3600))}
    return seal(key, PICKLED, expected=replace(EXPECTED, **changes), **times)


def check(bundle: Bundle, *, now: float = NOW, **changes: Any) -> Any:
    expected = replace(EXPECTED, **{"digest": bundle.digest, **changes})
    return verify(bundle.head, bundle.body, expected=expected, trusted={KEY.public}, now=now)


def test_what_was_signed_is_what_is_unpacked() -> None:
    """A bundle for this server, app, device and Python passes until it expires, and holds the bytes that were signed."""
    bundle = sealed()
    header = check(bundle, now=NOW + 3599.9)
    assert unpack(bundle.body, header.unpacked) == PICKLED
    assert (header.signer, header.expires, len(bundle.digest)) == (KEY.public, NOW + 3600, 64)


@pytest.mark.parametrize(("changes", "words"), [
    ({"server": "other"}, "is for server 'other', expected 'cloud'"),
    ({"app": "other"}, "holds app 'other'"),
    ({"app_version": "2"}, "app version '2'"),
    ({"fingerprint": "beef"}, "fingerprint 'beef'"),
    ({"device": "thief"}, "is from device 'thief'"),
    ({"python": "3.9"}, "Python '3.9', expected '3.11'"),
    ({"expires": NOW}, "expired 0 s ago"),
    ({"expires": NOW - 60}, "expired 60 s ago"),
    ({"created": NOW + 3000}, "in the future"),
    ({"key": OTHER}, "not trusted by this server"),
])
def test_a_bundle_meant_for_somebody_else_is_refused(changes: Any, words: str) -> None:
    """Each of the names, both times and the signer are compared, and the text says what differs."""
    with pytest.raises(BundleError, match=words):
        check(sealed(**changes))


def test_a_bundle_that_was_not_announced_is_refused() -> None:
    """The digest in HELLO names one bundle only, also among those of one signer."""
    with pytest.raises(BundleError, match="not the one that was announced"):
        check(sealed(), digest=sealed(expires=NOW + 3601).digest)


def test_a_signature_is_not_lent_to_another_header() -> None:
    """A header with its signer's name but another's signature, or none, is refused."""
    header, signature = msgspec.msgpack.decode(sealed(OTHER).head)
    mine, _ = msgspec.msgpack.decode(sealed().head)
    for stolen in (signature, b"", bytes(64)):
        head = msgspec.msgpack.encode((mine, stolen))
        with pytest.raises(BundleError, match="signature does not belong"):
            check(Bundle(head, sealed().body, digest_of(mine)))


def test_no_byte_may_change() -> None:
    """Whichever bit of head or body is flipped, and wherever either is cut, the bundle is refused."""
    bundle = sealed()
    for part in ("head", "body"):
        whole = getattr(bundle, part)
        for at in range(len(whole)):
            altered = bytearray(whole)
            altered[at] ^= 1 << at % 8
            for twin in (bytes(altered), whole[:at]):
                with pytest.raises(BundleError):
                    check(replace(bundle, **{part: twin}))
    with pytest.raises(BundleError, match="body"):
        check(replace(bundle, body=bundle.body + b"\0"))


def test_garbage_is_refused_in_words() -> None:
    """Nothing but BundleError comes of any bytes."""
    chance = random.Random(1)
    for _ in range(2000):
        with pytest.raises(BundleError):
            check(Bundle(chance.randbytes(chance.randrange(200)), b"", "00"))


def test_unpacking_stops_at_what_was_signed() -> None:
    """A body that unpacks to more, or to less, costs no more memory than its header says."""
    bundle = sealed()
    for size in (len(PICKLED) - 1, len(PICKLED) + 1, -1, 2**40):
        with pytest.raises(BundleError):
            unpack(bundle.body, size)


def test_a_signing_key_is_its_owners_alone(tmp_path: Path) -> None:
    """It is written for its owner's eyes, read back equal, never replaced by accident, and refused where others can read it."""
    path = tmp_path / "new" / "ship.key"
    pair = write_signing_key(path, "ann")
    assert path.stat().st_mode & 0o777 == 0o600
    assert signing_key(path) == pair != write_signing_key(tmp_path / "second")
    with pytest.raises(KeyProblem, match="there already"):
        write_signing_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyProblem, match="chmod 600"):
        signing_key(path)
    with pytest.raises(KeyProblem, match="ship-key init"):
        signing_key(tmp_path / "none")


def test_another_kind_of_key_signs_nothing(tmp_path: Path) -> None:
    """The key a device proves its name with is refused, and so is a file whose halves do not belong together."""
    write_pair(tmp_path / "device.key", make_pair("cam"))
    with pytest.raises(KeyProblem, match="'curve', where 'sign'"):
        signing_key(tmp_path / "device.key")
    write_pair(tmp_path / "torn", replace(KEY, public=OTHER.public), kind="sign")
    with pytest.raises(KeyProblem, match="do not belong together"):
        signing_key(tmp_path / "torn")
