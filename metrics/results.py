"""The rows of a results file, and what they say about each stage. Pure, but for reading the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Literal, Union

import msgspec

__all__ = ["KINDS", "ResultsError", "Row", "StageTime", "quantile", "read_results", "stage_times"]

KINDS = ("done on device", "done in cloud", "filtered", "dropped", "failed")
"""How a frame may have ended, as people read it."""


class ResultsError(ValueError):
    """A results file cannot be reported on; the text names the file and the line."""


class Row(msgspec.Struct, frozen=True):
    """One line of a results file, without its value."""

    seq: int
    outcome: Literal["done", "filtered", "dropped", "failed"]
    stream: Union[int, str, None] = None
    where: Union[str, None] = None
    split: Union[int, None] = None
    reason: Union[str, None] = None
    latency_ms: Union[float, None] = None
    device_ms: tuple[float, ...] = ()
    cloud_ms: tuple[float, ...] = ()
    sent_bytes: int = 0

    @property
    def kind(self) -> str:
        """The outcome with its place, as the legend has it."""
        if self.outcome != "done":
            return self.outcome
        return "done in cloud" if self.where == "cloud" else "done on device"

    @property
    def answered(self) -> bool:
        """Whether the frame went its way: only then its latency means something."""
        return self.outcome in ("done", "filtered")


class StageTime(msgspec.Struct, frozen=True):
    """The times of one stage on one side, in ms."""

    stage: int
    where: str
    runs: int
    mean: float
    p50: float
    p95: float


def read_results(path: str | PathLike[str]) -> list[Row]:
    """The rows of a results file, in its order; a last line that was cut off is left out.

    Raises:
        ResultsError: a line is no result, or there is none.
        OSError: the file cannot be read.
    """
    decode, rows = msgspec.json.Decoder(Row).decode, []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(decode(line))
            except msgspec.MsgspecError as error:
                if line.endswith(b"\n"):
                    raise ResultsError(f"{path}:{number}: not a result: {error}") from error
    if not rows:
        raise ResultsError(f"{path}: no results in it")
    return rows


def stage_times(rows: Iterable[Row]) -> list[StageTime]:
    """Times per stage and side, by stage, device first.

    `device_ms` holds stages [0, split) and then those that came after the cloud's, of which there may be none.
    """
    samples: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        split = len(row.device_ms) if row.split is None else row.split
        head, tail = row.device_ms[:split], row.device_ms[split:]
        for start, where, times in ((0, "device", head), (split, "cloud", row.cloud_ms), (split + len(row.cloud_ms), "device", tail)):
            for stage, taken in enumerate(times, start):
                samples.setdefault((stage, where), []).append(taken)
    order = sorted(samples, key=lambda key: (key[0], key[1] != "device"))
    return [_stage_time(stage, where, samples[stage, where]) for stage, where in order]


def quantile(ordered: Sequence[float], q: float) -> float:
    """The sample at rank floor(q * (n - 1)) of sorted ones; 0.0 of none."""
    return ordered[int(q * (len(ordered) - 1))] if ordered else 0.0


def _stage_time(stage: int, where: str, samples: list[float]) -> StageTime:
    ordered = sorted(samples)
    return StageTime(stage, where, len(ordered), sum(ordered) / len(ordered), quantile(ordered, 0.5), quantile(ordered, 0.95))
