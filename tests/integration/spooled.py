"""A device with a spool as a process of its own that is killed, for tests and for scripts/chaos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["REPO", "device", "killed_runs", "rows_of", "submitter"]

REPO = Path(__file__).resolve().parents[2]


def device(folder: Path, app: str, *arguments: object, **environment: object) -> subprocess.Popen[str]:
    """iot-client with `app` of tests/spool_apps.py, its spool and its results in `folder`."""
    command = [sys.executable, "-m", "iot_client", *map(str, arguments), "--app", f"tests.spool_apps:{app}", "--spool", folder / "spool"]
    return _start([*map(str, command), "--results", str(folder / "results.jsonl"), "--quiet"], environment)


def submitter(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """A program that submits numbers to a Client and writes down each result it has done with."""
    return _start([sys.executable, "-m", "tests.spool_submitter", str(folder), *map(str, arguments)], {})


def _start(command: list[str], environment: dict[str, Any]) -> subprocess.Popen[str]:
    options = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        command, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO), **options}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a results file."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def killed_runs(start: Any, results: Path, kills: list[int], patience: float = 20.0) -> list[int]:
    """Start a device and kill it -9 each time its results have grown by so many lines; then let it end by itself.

    Returns:
        lines in the results file at each kill.
    """
    lines = []
    for growth in kills:
        before, process, until = len(rows_of(results)), start(), time.monotonic() + patience
        while len(rows_of(results)) < before + growth and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        lines.append(len(rows_of(results)))
    process = start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return lines
