"""How arrays are encoded on their way, in a word: `raw`, `bits`, `png`, `jpeg:80`, `jpeg:80@640`, `fp16`, `int8`.

    raw         arrays as they lie in memory
    bits        masks (uint8, every element 0 or 255) as one bit per element, all else raw
    png         images without loss as PNG, masks as bits, all else raw
    jpeg:Q      images as JPEG of quality Q, masks as bits, all else raw
    jpeg:Q@W    the same; images wider than W pixels are first reduced to that width
    fp16        arrays of floats in 16 bits, deflated where that pays; masks as bits, all else raw
    int8        arrays of floats in 8 bits and a scale for each group, deflated; masks as bits, all else raw

wire.coding says what counts as a mask or an image and does the work, wire.floats does it for floats.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

__all__ = ["RAW", "Codec", "family", "parse_codec"]

RAW = "raw"
_PLAIN = frozenset({RAW, "bits", "png", "fp16", "int8"})
_JPEG = re.compile(r"jpeg:([1-9][0-9]?|100)(?:@([1-9][0-9]{1,4}))?")
_NARROWEST, _WIDEST = 16, 65_500


class Codec(msgspec.Struct, frozen=True, gc=False):
    """A codec word taken apart. `quality` (1 to 100) is 0 but for jpeg; `width` in pixels is 0 where nothing is reduced."""

    family: str
    quality: int = 0
    width: int = 0


@lru_cache(maxsize=256)
def parse_codec(word: str) -> Codec:
    """The codec a word names.

    Raises:
        ValueError: none; the text names the word and what is legal.
    """
    if word in _PLAIN:
        return Codec(word)
    found = _JPEG.fullmatch(word)
    width = int(found[2] or 0) if found else 0
    if found is None or (width and not _NARROWEST <= width <= _WIDEST):
        raise ValueError(
            f"codec {word[:40]!r}; legal are raw, bits, png, jpeg:Q with a quality of 1 to 100, "
            f"jpeg:Q@W with a width of {_NARROWEST} to {_WIDEST} pixels, fp16 and int8"
        )
    return Codec("jpeg", int(found[1]), width)


def family(word: str) -> str:
    """What HELLO and WELCOME agree on: the codec without its parameters.

    Raises:
        ValueError: the word names no codec.
    """
    return parse_codec(word).family
