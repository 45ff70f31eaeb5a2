"""How many workers a host can carry, and what each of them may use."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

import pytest

from cloud_server.cli.config import parse
from cloud_server.hardware import auto_workers, gpus, usable_cores, worker_environment
from metrics.capacity import cpu_quota


@pytest.mark.parametrize(("quota", "most"), [(inf, inf), (1.0, 1), (1.9, 1), (0.25, 1), (512.0, inf)])
def test_a_container_counts_the_cores_it_may_use(quota: float, most: float) -> None:
    """Of the cores a process may run on, its control groups may leave it less, whole ones; one is always there."""
    assert usable_cores(quota) == min(most, len(os.sched_getaffinity(0)))


def test_auto_is_one_worker_for_each_usable_core() -> None:
    """Without --workers, and with auto, there are as many as this very process may keep busy."""
    most = min(len(os.sched_getaffinity(0)), max(1.0, cpu_quota()))
    for words in ((), ("--workers", "auto")):
        config = parse(words)
        assert config.workers == int(most) and config.auto
    assert parse(("--workers", "3")).workers == 3 and not parse(("--workers", "3")).auto
    assert parse(("--executor", "inline")).workers == 1 and not parse(("--executor", "inline")).auto


@pytest.mark.parametrize(("visible", "names"), [
    ("0,1,2", ("0", "1", "2")), ("3", ("3",)), ("", ()), ("-1", ()), ("1,-1,2", ("1",)), ("GPU-8f, MIG-2c", ("GPU-8f", "MIG-2c")),
])
def test_gpus_are_those_that_were_left_visible(visible: str, names: tuple[str, ...]) -> None:
    """CUDA_VISIBLE_DEVICES is read as CUDA reads it: names in order, up to the first that is none."""
    assert gpus({"CUDA_VISIBLE_DEVICES": visible}) == names


def test_gpus_are_counted_where_the_driver_shows_them(tmp_path: Path) -> None:
    """A folder for each GPU, or none where there is no driver and no nvidia-smi."""
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:02:00.0").mkdir()
    assert gpus({}, str(tmp_path)) == ("0", "1")


def test_nvidia_smi_is_asked_where_the_driver_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it lists counts; without it, or if it fails, there is no GPU."""
    smi = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus({}, str(tmp_path / "none")) == ()
    smi.write_text("#!/bin/sh\necho 'GPU 0: one (UUID: GPU-1)'\necho 'GPU 1: two (UUID: GPU-2)'\n")
    smi.chmod(0o755)
    assert gpus({}, str(tmp_path / "none")) == ("0", "1")
    smi.write_text("#!/bin/sh\nexit 9\n")
    assert gpus({}, str(tmp_path / "none")) == ()


@pytest.mark.parametrize(("packages", "found", "torch", "workers"), [
    (["cv2", "torch"], ("0", "1"), "2.13.0+cu126", 2),
    (["cv2"], ("0", "1"), "2.13.0+cu126", 16),
    (["torch"], (), "2.13.0+cu126", 16),
    (["torch"], ("0", "1"), "2.13.0+cpu", 16),
    (["torch", "cupy.cuda"], ("0", "1"), "2.13.0+cpu", 2),
])
def test_workers_are_one_for_each_gpu_only_where_stages_can_use_one(
    packages: list[str], found: tuple[str, ...], torch: str, workers: int
) -> None:
    """A GPU beside an app of OpenCV alone, or beside a torch that knows none, leaves one worker for each core."""
    assert auto_workers(packages, found, 16, torch) == workers


def test_workers_share_the_cores_and_take_gpus_in_turns() -> None:
    """Eight cores are two threads for each of four workers; the third process has the first of two GPUs again."""
    third = worker_environment(2, 4, ("0", "GPU-8f"), {"PATH": "/bin"}, 8)
    assert third["OMP_NUM_THREADS"] == third["OPENCV_FOR_THREADS_NUM"] == "2"
    assert third["CUDA_VISIBLE_DEVICES"] == "0" and third["PATH"] == "/bin"
    assert worker_environment(1, 4, ("0", "GPU-8f"), {})["CUDA_VISIBLE_DEVICES"] == "GPU-8f"
    assert worker_environment(0, 16, (), {}, 8)["MKL_NUM_THREADS"] == "1"


def test_what_the_operator_set_holds() -> None:
    """Threads named in the server's own environment are those of its workers."""
    made = worker_environment(0, 1, (), {"OMP_NUM_THREADS": "7"})
    assert made["OMP_NUM_THREADS"] == "7" and "CUDA_VISIBLE_DEVICES" not in made
