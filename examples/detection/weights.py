"""The weights of the networks on disk: one .npz for each width, half precision, batch normalisation folded in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FOLDER", "read_weights", "write_weights"]

FOLDER = Path(__file__).with_name("weights")
"""Where the weights lie that come with the example."""

_Array = np.ndarray[Any, Any]


def read_weights(path: Path) -> dict[str, _Array]:
    """`name.weight` and `name.bias` of each convolution, float32.

    Raises:
        FileNotFoundError: naming the file and the command that makes it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; train them: python -m examples.detection.train --width {path.stem} --out {path}")
    with np.load(path) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}


def write_weights(path: Path, arrays: Mapping[str, _Array]) -> None:
    """Write what `Learner.folded` gave."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: value.astype(np.float16) for name, value in arrays.items()})  # type: ignore[arg-type]
