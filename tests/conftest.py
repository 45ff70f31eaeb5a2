"""What tests of every kind share."""

from __future__ import annotations

import os
import signal
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


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heeded() -> None:
    """A shell starts its background jobs with SIGINT ignored, and ignored it would be by every process a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
