"""What this host gives to worker processes: cores, threads and GPUs."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata

from metrics.capacity import cpu_quota

__all__ = ["ON_GPUS", "auto_workers", "gpus", "usable_cores", "worker_environment"]

ON_GPUS = frozenset({"torch", "onnxruntime", "tensorflow", "jax", "cupy"})
"""Packages in a stage's `requires` that compute on a GPU where there is one."""
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
"""What libraries read when they are imported: OpenMP (torch, too), OpenBLAS and MKL (numpy), numexpr, Accelerate, OpenCV."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = "/proc/driver/nvidia/gpus"
_SMI_S = 5.0


def usable_cores(quota: float | None = None) -> int:
    """Cores' worth of CPU this process may have, whole ones: of those it may run on, as many as its control groups allow.

    Args:
        quota: what they allow, if it is known; infinity for any.
    """
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota() if quota is None else quota
    return max(1, may if quota == math.inf else min(may, math.floor(quota)))


def gpus(environ: Mapping[str, str] = os.environ, driver: str = _DRIVER) -> tuple[str, ...]:
    """The CUDA devices this process may use, as CUDA_VISIBLE_DEVICES names them; () if there are none, or no driver."""
    if _VISIBLE in environ:
        names = [name.strip() for name in environ[_VISIBLE].split(",")]
        gone = next((index for index, name in enumerate(names) if name in ("", "-1")), len(names))
        return tuple(names[:gone])  # as CUDA reads it: what follows an invalid one does not count
    try:
        count = len(os.listdir(driver))
    except OSError:
        count = _counted_by_smi()
    return tuple(map(str, range(count)))


def auto_workers(packages: Iterable[str], found: tuple[str, ...], cores: int, torch: str | None = None) -> int:
    """`--workers auto`: one for each GPU of those `found` if stages that run here need `packages` that compute on one, else for each core.

    Args:
        torch: the version of torch installed here, if it is known: one that ends in "+cpu" knows no GPU.
    """
    needed = {package.partition(".")[0] for package in packages} & ON_GPUS
    if found and (torch or _torch_version()).endswith("+cpu"):
        needed.discard("torch")
    if found and needed:
        return len(found)
    return cores


def worker_environment(
    place: int, workers: int, found: tuple[str, ...] = (), environ: Mapping[str, str] = os.environ, cores: int = 0
) -> dict[str, str]:
    """The environment of the worker process at `place` of `workers`: its part of the cores as threads, and one GPU.

    Without it each worker's libraries start a thread for each core of the host, and N workers N times as many as can
    run. What the server's own environment says of threads holds.
    """
    threads = str(max(1, (cores or usable_cores()) // max(1, workers)))
    made = {**dict.fromkeys(_THREADS, threads), **environ}
    if found:
        made[_VISIBLE] = found[place % len(found)]
    return made


def _torch_version() -> str:
    """Asked of its metadata, for importing it takes seconds; "" if it is not installed."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def _counted_by_smi() -> int:
    """GPUs that nvidia-smi lists, where the driver does not show in /proc; 0 where there is none."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_SMI_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
