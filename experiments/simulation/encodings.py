"""What a simulated value costs on its way: its bytes in a codec, and the time to encode and to decode it."""

from __future__ import annotations

from msgspec.structs import replace

from experiments.simulation.scenario import Stage, Way
from iot_client.splitting.sizes import shape

__all__ = ["size_of_frame", "way_at"]

_MEMORY_SPEED = 1e9
"""Bytes per second an encoder takes where nothing else is said."""
_LIVELY = 0.1
"""By how much at most a frame's value is smaller than the largest."""


def way_at(stage: Stage, codec: str) -> Way:
    """The value after this stage in this codec; as raw where nothing is known of it."""
    for way in stage.ways:
        if way.codec == codec:
            return way
    if codec.startswith("jpeg:"):
        derived = _derived(stage, codec)
        if derived is not None:
            return derived
    if codec != "raw":
        return replace(way_at(stage, "raw"), codec=codec)
    return Way(codec="raw", nbytes=stage.nbytes, encode_ms=stage.nbytes / _MEMORY_SPEED * 1e3)


def _derived(stage: Stage, codec: str) -> Way | None:
    """From the two nearest qualities known: bytes lie on a line over the usual shape, for not all of a value is JPEG."""
    quality, width = _parts(codec)
    kin = [way for way in stage.ways if way.codec.startswith("jpeg:") and _parts(way.codec)[1] == width]
    kin.sort(key=lambda way: abs(_parts(way.codec)[0] - quality))
    if not kin:
        return None
    near, at, wanted = kin[0], shape(_parts(kin[0].codec)[0]), shape(quality)
    if len(kin) == 1:
        return replace(near, codec=codec, nbytes=round(near.nbytes * wanted / at))
    slope = (kin[1].nbytes - near.nbytes) / (shape(_parts(kin[1].codec)[0]) - at)
    return replace(near, codec=codec, nbytes=max(1, round(near.nbytes + slope * (wanted - at))))


def size_of_frame(nbytes: int, device: int, seq: int) -> int:
    """Of the largest value's bytes those of this frame: scenes change slowly, and frames a little."""
    slow = (seq // 40 * 2654435761 + device * 97) % 1009 / 1009
    quick = (seq * 40503 + device * 31) % 997 / 997
    return max(1, round(nbytes * (1.0 - _LIVELY * (0.7 * slow + 0.3 * quick))))


def _parts(codec: str) -> tuple[int, str]:
    quality, _, width = codec.removeprefix("jpeg:").partition("@")
    return int(quality), width
