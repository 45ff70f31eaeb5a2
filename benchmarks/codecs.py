"""Floats in fewer bits: what encoding and decoding take, how small they get, and how near they stay.

The values are those of a convolutional network on a picture: random 3 x 3 convolutions with stride 2, normalised as batch
normalisation does, and a ReLU; once without the ReLU, which is where a network has no zeros.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.frames import natural
from benchmarks.report import Report, arguments, median
from wire.payload import Packer

__all__ = ["features", "main"]

Array = np.ndarray[Any, Any]
_SIDE = 417
_CHANNELS = (16, 32, 32)
_PACKER = Packer()


def features(seed: int, *, rectified: bool = True) -> Array:
    """(1, 32, 52, 52) float32: what three convolutions make of a picture."""
    chance = np.random.default_rng(seed)
    x: Array = natural((_SIDE + 3, _SIDE + 3, 3), seed)[:_SIDE, :_SIDE].transpose(2, 0, 1) / np.float32(255)
    for channels in _CHANNELS:
        x = np.pad(np.maximum(x, 0), ((0, 0), (0, 1), (0, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2]
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(x.shape[0] * 9, -1).astype(np.float32)
        made = chance.normal(size=(channels, len(columns))).astype(np.float32) @ columns
        made = (made - made.mean(1, keepdims=True)) / made.std(1, keepdims=True)
        made = made * chance.uniform(0.2, 1.7, (channels, 1)) + chance.normal(0, 0.3, (channels, 1))
        x = made.reshape(channels, *windows.shape[1:3]).astype(np.float32)
    x = x[None, :, :52, :52]
    return np.ascontiguousarray(np.maximum(x, 0) if rectified else x)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("codecs", "Arrays of floats in fewer bits, (1, 32, 52, 52) float32.", rounds=60).parse_args(argv)
    rounds = 3 if options.quick else options.rounds
    report = Report("codecs", "features of a network, (1, 32, 52, 52) float32, 346 KB, in fewer bits")
    for name, array in (("behind a ReLU", features(1)), ("without one", features(1, rectified=False))):
        rows = [_row(word, array, rounds) for word in ("raw", "fp16", "int8")]
        rows.append(_whole(array, rounds))
        rows.append(_zlib(array, rounds))
        columns = ("codec", "encode ms", "decode ms", "bytes", "of raw", "error of the spread")
        report.table(f"{name}: {np.mean(array == 0):.0%} zeros", columns, rows)
    return report.finish(options.json)


def _row(word: str, array: Array, rounds: int) -> list[Any]:
    payload = _PACKER.pack(array, word)
    encode = _milliseconds(lambda: _PACKER.pack(array, word), rounds)
    decode = _milliseconds(lambda: _PACKER.unpack(payload), rounds)
    return [word, encode, decode, payload.nbytes, f"{payload.nbytes / array.nbytes:.3f}", _error(array, _PACKER.unpack(payload))]


def _whole(array: Array, rounds: int) -> list[Any]:
    """One scale for the whole array, not deflated: the plainest int8 there is."""
    step = np.ptp(array) / np.float32(254)

    def encode() -> Array:
        return np.asarray((array - array.min()) * (1 / step) + np.float32(0.5)).astype(np.uint8)

    coded = encode()
    decoded = coded * step + array.min()
    took = _milliseconds(encode, rounds), _milliseconds(lambda: coded * step + array.min(), rounds)
    return ["int8, one scale, not deflated", *took, coded.nbytes, f"{coded.nbytes / array.nbytes:.3f}", _error(array, decoded)]


def _zlib(array: Array, rounds: int) -> list[Any]:
    packed = zlib.compress(array.tobytes(), 1)
    took = _milliseconds(lambda: zlib.compress(array.tobytes(), 1), rounds), _milliseconds(lambda: zlib.decompress(packed), rounds)
    return ["raw through zlib, level 1", *took, len(packed), f"{len(packed) / array.nbytes:.3f}", 0.0]


def _error(array: Array, back: Array) -> float:
    """Root of the mean squared error, of the standard deviation."""
    return float(np.sqrt(np.mean((array - back) ** 2)) / array.std())


def _milliseconds(work: Callable[[], Any], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        before = time.perf_counter()
        work()
        took.append((time.perf_counter() - before) * 1e3)
    return median(took)


if __name__ == "__main__":
    sys.exit(main())
