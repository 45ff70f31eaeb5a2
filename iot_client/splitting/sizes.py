"""How large the value at each cut is in each codec, and what encoding and decoding it takes.

Only some pairs are ever measured. JPEG sizes of other qualities at the same cut follow from one that was, by the
usual shape of the size over quality; each measurement in use moves the whole ladder, so that a scene that grows
busier is seen at all qualities at once. Floats in 16 bits are taken for twice those in 8 until they are measured.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from iot_client.splitting.knowledge import KnownOption

__all__ = ["JPEG_SHAPE", "Size", "Sizes"]

_ALPHA = 0.15
JPEG_SHAPE = (
    (5, 0.13), (10, 0.2), (20, 0.33), (30, 0.43), (40, 0.52), (50, 0.6), (60, 0.68), (70, 0.81), (80, 1.0), (90, 1.5), (95, 2.3),
    (100, 4.6),
)
"""Bytes at a quality against quality 80: means over photographs and video frames, libjpeg with 4:2:0."""


class Size(msgspec.Struct):
    """One (cut, codec): means over the frames that went that way."""

    nbytes: float
    encode_s: float = 0.0
    decode_s: float = 0.0
    back_nbytes: float = 0.0


class Sizes:
    """All measured sizes, by (k, codec)."""

    def __init__(self, known: Iterable[KnownOption] = ()) -> None:
        self.measured: dict[tuple[int, str], Size] = {
            (option.k, option.codec): Size(option.nbytes, option.encode_s, option.decode_s, option.back_nbytes) for option in known
        }

    def encoded(self, k: int, codec: str, nbytes: int, encode_s: float) -> None:
        """A value was encoded: `encode_s` in CPU seconds."""
        size = self.measured.get((k, codec))
        if size is None:
            self.measured[k, codec] = Size(nbytes, encode_s, self._decode(codec))
            return
        growth = 1.0 + _ALPHA * (nbytes / size.nbytes - 1.0) if size.nbytes > 0 else 1.0
        size.encode_s += _ALPHA * (encode_s - size.encode_s)
        size.nbytes = size.nbytes * growth if size.nbytes > 0 else nbytes
        if codec.startswith("jpeg:") and growth != 1.0:
            for (at, other), sibling in self.measured.items():
                if at == k and other != codec and other.startswith("jpeg:"):
                    sibling.nbytes *= growth

    def returned(self, k: int, codec: str, decode_s: float, back_nbytes: int) -> None:
        """The server decoded it in so many seconds, and its answer had so many bytes."""
        size = self.measured.get((k, codec))
        if size is not None:
            size.decode_s += _ALPHA * (decode_s - size.decode_s) if size.decode_s else decode_s
            size.back_nbytes += _ALPHA * (back_nbytes - size.back_nbytes) if size.back_nbytes else back_nbytes

    def of(self, k: int, codec: str) -> Size | None:
        """What this way costs, measured or derived; None if nothing near it was ever measured."""
        size = self.measured.get((k, codec))
        if size is not None:
            return self._one_decoding(k, codec, size)
        if codec == "fp16" and (k, "int8") in self.measured:
            size = self.measured[k, "int8"]
            return msgspec.structs.replace(size, nbytes=2 * size.nbytes)
        if not codec.startswith("jpeg:"):
            return None
        quality, width = _parts(codec)
        best = None
        for (at, other), sibling in self.measured.items():
            if at == k and other.startswith("jpeg:"):
                theirs, their_width = _parts(other)
                if their_width == width and (best is None or abs(theirs - quality) < abs(best[0] - quality)):
                    best = theirs, sibling
        if best is None:
            return None
        nearest, sibling = best
        derived = msgspec.structs.replace(sibling, nbytes=sibling.nbytes * shape(quality) / shape(nearest))
        return self._one_decoding(k, codec, derived)

    def _one_decoding(self, k: int, codec: str, size: Size) -> Size:
        """All qualities of a cut decode alike, so that the choice among them is one of bytes and fidelity."""
        if not codec.startswith("jpeg:"):
            return size
        times = [other.decode_s for (at, word), other in self.measured.items() if at == k and word.startswith("jpeg:")]
        mean = sum(times) / len(times) if times else size.decode_s
        return msgspec.structs.replace(size, decode_s=mean)

    def _decode(self, codec: str) -> float:
        family = codec.partition(":")[0]
        return next((size.decode_s for (_, other), size in self.measured.items() if other.partition(":")[0] == family), 0.0)


def shape(quality: float) -> float:
    """Bytes of a JPEG of this quality against one of quality 80."""
    low = JPEG_SHAPE[0]
    for high in JPEG_SHAPE:
        if quality <= high[0]:
            span = high[0] - low[0]
            return high[1] if not span else low[1] + (high[1] - low[1]) * (quality - low[0]) / span
        low = high
    return JPEG_SHAPE[-1][1]


def _parts(codec: str) -> tuple[int, str]:
    quality, _, width = codec.removeprefix("jpeg:").partition("@")
    return int(quality), width
