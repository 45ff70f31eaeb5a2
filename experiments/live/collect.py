"""From what the devices, the link and the quotas wrote down to the rows of a Run."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import msgspec
import numpy as np

from experiments.links import LinkTrace, LoadTrace
from experiments.live.recording import Recording, SampleNote
from experiments.live.scores import Judge
from experiments.reporting.runs import DecisionRow, FrameRow, SampleRow

__all__ = ["LinkLog", "frame_rows", "sample_rows", "shifted"]


class LinkLog:
    """Bytes carried by the link over time, from its log; times by time.monotonic()."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(float(row["time"]), int(row["up_bytes"]), int(row["down_bytes"])) for row in csv.DictReader(file)]
        self._table = np.array(rows or [(0.0, 0, 0)], float)

    def carried(self, at: float) -> tuple[float, float]:
        """Bytes up and down until then."""
        times = self._table[:, 0]
        return float(np.interp(at, times, self._table[:, 1])), float(np.interp(at, times, self._table[:, 2]))


def frame_rows(device: int, recording: Recording, began: float, judge: Judge | None) -> list[FrameRow]:
    """One row for each captured frame."""
    return [
        FrameRow(
            device, note.seq, note.captured - began, note.latency, note.outcome, note.where, note.k, note.codec, note.nbytes,
            note.server_s, judge.score(note) if judge else -1.0,
        )
        for note in recording.frames
    ]  # fmt: skip


def sample_rows(
    device: int, recording: Recording, began: float, *, trace: LinkTrace, load: LoadTrace | None, link: LinkLog | None
) -> list[SampleRow]:
    """Rates between neighbouring samples. Without a link's log, up and down are what the device says it has sent and got."""
    rows = []
    for before, now in itertools.pairwise(recording.samples):
        seconds = max(now.at - before.at, 1e-6)
        up, down = _carried(before, now, link)
        at = now.at - began
        point = trace.at(at)
        rows.append(SampleRow(
            device, at, now.k, now.codec, (now.cpu_s - before.cpu_s) / seconds, up / seconds, down / seconds,
            0.0 if point.cut else point.up_mbit * 1e6 / 8, load.at(at) if load else 0.0, now.rate, now.p50, now.p95, now.server_s,
            now.estimate,
        ))  # fmt: skip
    return rows


def _carried(before: SampleNote, now: SampleNote, link: LinkLog | None) -> tuple[float, float]:
    if link is None:
        return now.sent - before.sent, now.received - before.received
    (up0, down0), (up1, down1) = link.carried(before.at), link.carried(now.at)
    return up1 - up0, down1 - down0


def shifted(decisions: tuple[DecisionRow, ...], began: float) -> list[DecisionRow]:
    """The decisions with times since the run began."""
    return [msgspec.structs.replace(row, at=row.at - began) for row in decisions]
