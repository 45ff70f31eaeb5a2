"""One run of stages looked at closely: the CPU time of each, and the size of the value at some cuts in some codecs."""

from __future__ import annotations

from time import thread_time
from typing import Any

from msgspec.structs import replace

from iot_client.cuts import Crossings
from tasks.run import DONE, Ran, Runner
from wire.errors import UnsupportedValue
from wire.payload import Packer

__all__ = ["Study"]


class Study:
    """Runs stages one by one.

    Args:
        ways: the (k, codec) to be encoded, if the frame comes to that cut.

    Attributes:
        cpus: CPU seconds of each stage run; sizes: (k, codec, bytes, CPU seconds) of each way.
        encoding_s: CPU seconds all that encoding took.
    """

    def __init__(self, packer: Packer, crossings: Crossings, ways: tuple[tuple[int, str], ...]) -> None:
        self.cpus: tuple[float, ...] = ()
        self.sizes: list[tuple[int, str, int, float]] = []
        self.encoding_s = 0.0
        self._packer = packer
        self._crossings = crossings
        self._ways = ways

    def run(self, runner: Runner, start: int, stop: int, value: Any, variant: str = "") -> Ran:
        """As `runner.run(start, stop, value, variant=variant)`."""
        times: tuple[float, ...] = ()
        ran = Ran(DONE, value, ())
        for stage in range(start, stop):
            before = thread_time()
            ran = runner.run(stage, stage + 1, ran.value, variant=variant)
            self.cpus += (thread_time() - before,)
            times += ran.times
            if ran.kind != DONE:
                break
            self._encode(stage + 1, ran.value)
        return replace(ran, times=times)

    def _encode(self, k: int, value: Any) -> None:
        for at, codec in self._ways:
            if at != k:
                continue
            before = thread_time()
            try:
                nbytes = self._crossings.pack(self._packer, k, value, codec).nbytes
            except UnsupportedValue:
                continue  # the run that sends it says so
            took = thread_time() - before
            self.encoding_s += took
            self.sizes.append((k, codec, nbytes, took))
