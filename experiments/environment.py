"""The machine an experiment ran on, as far as figures depend on it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["environment"]

_PACKAGES = ("spillway", "pyzmq", "numpy", "opencv-python", "opencv-python-headless", "msgspec")
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def environment() -> dict[str, str]:
    """Name -> value, in the order in which a report lists them."""
    found = {
        "CPU": _cpu_model(), "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}", "TCP congestion control": _first_line(_CONGESTION),
        "Python": platform.python_version(),
    }  # fmt: skip
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
