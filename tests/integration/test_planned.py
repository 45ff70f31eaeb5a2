"""A server process plans for real devices: who joins with little time costs the other accuracy, who leaves gives it back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from iot_client import Client, Result
from tests.integration.bodies import assert_conserved
from tests.integration.server_process import Run
from tests.variant_apps import slow

FPS = 5.0


class Camera:
    """A device that sends five frames a second until it leaves, and what became of them with the time it did."""

    def __init__(self, port: int, name: str, deadline: float) -> None:
        self.client = Client(slow, host="127.0.0.1", port=port, split=1, mode="live", deadline=deadline, device=name)
        self.results: list[tuple[float, Result]] = []
        self._leaves = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._feed, self._take)]

    @contextmanager
    def present(self) -> Iterator[Camera]:
        with self.client:
            for thread in self._threads:
                thread.start()
            yield self
            self._leaves.set()
            for thread in self._threads:
                thread.join(10)

    def _feed(self) -> None:
        while not self._leaves.wait(1 / FPS):
            self.client.submit(1)
        self.client.end()

    def _take(self) -> None:
        for result in self.client.results(timeout=20):
            self.results.append((time.monotonic(), result))

    def gets(self, variant: str, patience: float) -> float:
        """Seconds until a frame that was made with this variant comes."""
        begun = time.monotonic()
        while time.monotonic() < begun + patience:
            if any(at > begun and result.variant == variant for at, result in self.results[-3:]):
                return time.monotonic() - begun
            time.sleep(0.02)
        pytest.fail(f"no {variant} in {patience} s: {[result.variant for _, result in self.results[-10:]]}")


def test_a_join_costs_accuracy_and_a_leave_gives_it_back() -> None:
    """Alone a device has the large variant. One whose deadline the large one would break joins the same worker: both have the small
    one, in time. It leaves, and the first is raised again; all frames are accounted for."""
    run = Run("--app", "tests.variant_apps:slow", "--port", 0, "--workers", 1, "--planner", "greedy")
    try:
        run.ready()
        with Camera(run.port, "loose", 2.0).present() as loose:
            loose.gets("large", 10.0)
            with Camera(run.port, "tight", 0.2).present() as tight:
                loose.gets("small", 10.0)
                tight.gets("small", 5.0)
            took = loose.gets("large", 10.0)
        for camera in (loose, tight):
            assert_conserved(camera.client, [result for _, result in camera.results])
        assert took < 1.5, "a plan, the frame that is under way, and one with the large variant"
        code, out, _ = run.end(signal.SIGTERM)
        assert code == 0 and "jobs" in out
    finally:
        run.kill()
