"""What tests of every kind share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def clip() -> Callable[[str], Path]:
    """`clip("ball.mp4")` is the path of a real clip; without it the test is skipped, and in CI it fails."""
    folder = Path(os.environ.get("SPILLWAY_CLIPS") or REPO.parent / "shared" / "data")

    def find(name: str) -> Path:
        if (folder / name).is_file():
            return folder / name
        reason = f"no {name} in {folder}; SPILLWAY_CLIPS names the folder of real clips"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return find
