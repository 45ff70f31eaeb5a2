"""A busy neighbour: processes that together burn as many cores as a LoadTrace says.

    with Load(LoadSpec(steps=((5, 0.8),)).trace(), quota=quota) as load:
        load.play()

Each process wants its share of every SLICE anew, as a periodic job does; what it did not get, for the machine or
its quota was busy, is not made up for later. `python -m experiments.live.load` is one such process: its first line
of input is a LoadTrace as JSON, the next one starts it, and the end of the input ends it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import msgspec

from experiments.links import LoadPoint, LoadTrace
from experiments.live.cgroup import CpuQuota
from experiments.live.network import LabError

__all__ = ["Load"]

SLICE = 0.02


class Load:
    """Child processes, one for each core that the trace wants at most, idle until play().

    With a quota they run inside it, beside the device's processes.
    """

    def __init__(self, trace: LoadTrace, *, quota: CpuQuota | None = None) -> None:
        self._trace = trace
        self._quota = quota
        self._burners: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Load:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        argv = [sys.executable, "-m", "experiments.live.load"]
        try:
            for part in shares(self._trace):
                command = self._quota.command(argv) if self._quota else argv
                burner = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
                )
                self._burners.append(burner)
                self._tell(burner, msgspec.json.encode(part))
            for burner in self._burners:
                if not burner.stdout or burner.stdout.readline() != b"ready\n":
                    raise LabError("a process that makes load did not start; its error is above")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that make the load."""
        return tuple(burner.pid for burner in self._burners)

    def play(self) -> None:
        """Starts the trace."""
        for burner in self._burners:
            self._tell(burner, b"play")

    def close(self) -> None:
        """Ends the processes; a second call does nothing."""
        burners, self._burners = self._burners, []
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.communicate()

    def _tell(self, burner: subprocess.Popen[bytes], line: bytes) -> None:
        assert burner.stdin is not None
        try:
            burner.stdin.write(line + b"\n")
            burner.stdin.flush()
        except OSError as error:
            raise LabError(f"a process that makes load ended with {burner.wait()}; its error is above") from error


def shares(trace: LoadTrace) -> list[LoadTrace]:
    """The trace cut into layers of at most one core each, for one process each; none for a load of nothing."""
    layers: list[LoadTrace] = []
    while len(layers) < trace.most:
        below = len(layers)
        layers.append(LoadTrace(tuple(LoadPoint(at=point.at, busy=min(1.0, max(0.0, point.busy - below))) for point in trace.points)))
    return layers


def burn(trace: LoadTrace) -> None:
    """Follows the trace until the input ends."""
    began = slice_began = time.monotonic()
    while not select.select([0], (), (), max(0.0, slice_began - time.monotonic()))[0]:
        wanted = time.process_time() + SLICE * trace.at(slice_began - began)
        slice_began = max(slice_began + SLICE, time.monotonic())
        while time.process_time() < wanted and time.monotonic() < slice_began:
            pass


def main() -> None:
    """Waits for the trace and the start, then burns."""
    trace = msgspec.json.decode(sys.stdin.buffer.raw.readline(), type=LoadTrace)  # type: ignore[union-attr]
    os.write(1, b"ready\n")
    if os.read(0, 64):
        burn(trace)


if __name__ == "__main__":
    main()
