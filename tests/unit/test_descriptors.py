"""A server asks for all the descriptors it may have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """64 of 256 become 256, and a second call changes nothing."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256)); "
        "from cloud_server.descriptors import raise_limit; print(raise_limit(), raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "256 256 (256, 256)"
