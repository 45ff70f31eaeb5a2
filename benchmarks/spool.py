"""Pictures through a spool: how many a second, and what each costs.   python -m benchmarks.spool [COUNT]"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from iot_client import Client
from tasks import App, Input, task

__all__ = ["main"]


@task
def corner(image: np.ndarray) -> int:
    """Next to nothing."""
    return int(image[0, 0, 0])


app = App("spool_bench", [Input(), corner])


class _Pictures:
    """640x480 pictures, as fast as they are asked for."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._picture = np.zeros((480, 640, 3), np.uint8)

    def read(self) -> object:
        from tasks import END

        self._left -= 1
        return self._picture if self._left >= 0 else END

    def skip(self, count: int) -> None:
        """As a file, it could be read from any place."""

    def close(self) -> None:
        """Nothing to give back."""


def _run(count: int, folder: Path | None, *, submit: bool) -> tuple[float, float]:
    """(pictures a second, CPU milliseconds each)."""
    source = None if submit else _Pictures(count)
    begun, cpu = time.perf_counter(), time.process_time()
    with Client(app, spool=folder, source=source) as client:
        if submit:
            threading.Thread(target=lambda: _submit(client, count), daemon=True).start()
        done = sum(1 for _ in client.results())
        seconds = time.perf_counter() - begun
    assert done == count
    return count / seconds, (time.process_time() - cpu) / count * 1e3


def _submit(client: Client, count: int) -> None:
    pictures = _Pictures(count)
    for _ in range(count):
        client.submit(pictures.read())
    client.end()


def main() -> int:
    """Print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    for name, spooled, submit in (("no spool", False, False), ("spool, source", True, False), ("spool, submit()", True, True)):
        folder = Path(tempfile.mkdtemp(prefix="spillway-spool-"))
        try:
            rate, cost = _run(count, folder if spooled else None, submit=submit)
        finally:
            shutil.rmtree(folder)
        print(f"{name:16} {rate:8.0f} pictures/s {cost:6.2f} ms CPU each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
