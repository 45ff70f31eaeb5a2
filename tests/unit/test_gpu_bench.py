"""The GPU benchmark runs where there is no GPU, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")


def test_without_a_gpu_the_table_is_of_the_cpu(tmp_path: Path) -> None:
    """Each batch size has a row with its throughput; a note says what it is worth."""
    from benchmarks.gpu import main

    path = tmp_path / "gpu.json"
    tiny = ("--alone", "--side", "16", "--width", "2", "--max-batch", "2", "--seconds", "0.02")
    assert main([*tiny, "--json", str(path)]) == 0
    kept = json.loads(path.read_text())
    (rows,) = kept["tables"].values()
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["frames/s"] > 0 and row["p99 ms"] >= row["ms"] for row in rows)
    import torch

    assert torch.cuda.is_available() or "No CUDA device" in kept["notes"][0]
