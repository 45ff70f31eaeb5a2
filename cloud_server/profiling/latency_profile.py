"""What the stages of an app take on this host, by variant and batch size, as `cloud-server profile` found it: one small file.

A server that finds one begins with it instead of learning from its first batches. The host is known by its hardware, not by
its name, so that a container that starts anew still finds what an earlier one measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from metrics.whole_file import write_whole

if TYPE_CHECKING:  # it brings in numpy, which reads its number of threads then
    from tasks import App

__all__ = ["Cell", "LatencyProfile", "Sample", "default_folder", "hardware_words", "load_profile", "path_of", "samples", "save_profile"]

Sample = tuple[int, int, str, int, float, float]
"""Stages [start, stop) with a variant, jobs in the batch, seconds it took, and within which 98 of 100 end, 0.0 where nobody knows."""

_ENOUGH = 20
"""Runs of a cell from which its slow end is known."""
_FURTHER = 1.25
"""Of normal values the 98th percentile lies so many times as far out as the 95th."""


class Cell(msgspec.Struct, frozen=True):
    """One stage with one variant and batch size: the median and the 95th percentile, in seconds, of so many runs."""

    stage: int
    variant: str
    batch: int
    seconds: float
    tail: float
    runs: int


class LatencyProfile(msgspec.Struct, frozen=True):
    """All cells of one app; `threads` are those of a worker, `host` is its hardware in words."""

    app: str
    version: str
    fingerprint: str
    stages: tuple[str, ...]
    host: str
    threads: int
    cells: tuple[Cell, ...]


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/spillway`, or `~/.cache/spillway`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "spillway"


def hardware_words(found: Sequence[str] = (), cpuinfo: str = "/proc/cpuinfo") -> str:
    """The CPU's model, and how many GPUs there are, if any: what decides how long a stage takes."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open(cpuinfo, encoding="utf-8", errors="replace") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    return model + (f", {len(found)} GPU{'s' * (len(found) > 1)}" if found else "")


def path_of(folder: Path, fingerprint: str, host: str) -> Path:
    """The file for this app on this hardware."""
    return folder / f"latency-{fingerprint}-{hashlib.sha256(host.encode()).hexdigest()[:16]}.json"


def load_profile(folder: Path, app: App, host: str) -> LatencyProfile | None:
    """What was measured of an app here; None if there is nothing that can be used."""
    try:
        found = msgspec.json.decode(path_of(folder, app.fingerprint(), host).read_bytes(), type=LatencyProfile)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    fits = found.fingerprint == app.fingerprint() and all(
        0 < cell.stage < app.n and cell.batch > 0 and cell.seconds >= 0.0 for cell in found.cells
    )
    return found if fits else None


def save_profile(path: Path, profile: LatencyProfile) -> None:
    """Replace the file; a reader sees the old or the new one.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, msgspec.json.format(msgspec.json.encode(profile), indent=1))


def samples(profile: LatencyProfile) -> Iterator[Sample]:
    """The times of every stretch of stages that was measured throughout, from the smallest batch on.

    A stage that was measured at batch 1 only runs a batch one job after the other.
    """
    times = {(cell.variant, cell.stage, cell.batch): cell.seconds for cell in profile.cells}
    slow = {(cell.variant, cell.stage, cell.batch): _slow(cell) for cell in profile.cells}
    sizes = sorted({cell.batch for cell in profile.cells})
    for variant in dict.fromkeys(cell.variant for cell in profile.cells):
        known = sorted({stage for name, stage, _ in times if name == variant})
        for first, start in enumerate(known):
            for last in range(first, len(known)):
                if known[last] - start != last - first:
                    break
                for size in sizes:
                    stages = [(variant, stage) for stage in known[first : last + 1]]
                    parts = [_seconds(times, of, size) for of in stages]
                    if None not in parts:
                        tail = sum(_seconds(slow, of, size) or 0.0 for of in stages)
                        yield start, known[last] + 1, variant, size, sum(part or 0.0 for part in parts), tail if tail < inf else 0.0


def _slow(cell: Cell) -> float:
    return cell.seconds + _FURTHER * (cell.tail - cell.seconds) if cell.runs >= _ENOUGH else inf


def _seconds(times: dict[tuple[str, int, int], float], of: tuple[str, int], size: int) -> float | None:
    """Of a stage's batch; None if this size was not measured, though others were."""
    if (*of, size) in times:
        return times[(*of, size)]
    alone = [batch for variant, stage, batch in times if (variant, stage) == of] == [1]
    return size * times[(*of, 1)] if alone else None
