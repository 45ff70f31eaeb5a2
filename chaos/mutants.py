"""Row 29: is the suite worth anything? Each way to break the protocol must turn it red."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from chaos.mutations import MUTATIONS, Mutation
from chaos.registry import Broken, Run, Seen, promise

__all__ = ["Fate", "apply", "broken_protocols", "copy_tree", "try_one"]

ROOT = Path(__file__).resolve().parents[1]
_LEAST = 0.95
_QUICKEST = (
    "server_ownership", "session*", "peer*", "scheduler*", "sessions", "stream*", "memory*", "race",
    "races", "contest", "twins", "moment", "muster", "races_hedged", "siblings", "undeclared", "reports", "delivery", "admission",
    "batching", "handshake", "checksum", "wire_protocol", "wire_garbage", "wire_refusals", "wire_spec",
    "ceilings", "doubt", "knocks", "moment", "muster", "precedence",
)  # fmt: skip
"""Unit tests of the protocol and of what guards a server, which take seconds."""
_SEEDS, _RACES = 150, 100
_LIMIT = 240.0
"""Seconds a step may take before the mutant counts as caught: it made something hang."""


class Fate(NamedTuple):
    """What became of a mutant: `killer` is the test that noticed, "" if none did."""

    mutation: Mutation
    killer: str
    seconds: float


@promise(29, "tests notice a broken protocol", quick=6, full=len(MUTATIONS))
def broken_protocols(run: Run) -> Seen:
    """Breaks the protocol in one place at a time, in a copy, and runs the fast tests there."""
    chosen = _chosen(run)
    control = try_one(Mutation("nothing", "README.md", "nothing", "", ""), run.folder / "control")
    if control.killer:
        raise Broken(f"the tests are red without any mutant: {control.killer}")
    with ThreadPoolExecutor(max(1, min(2, os.cpu_count() or 1))) as pool:
        fates = []
        for fate in pool.map(lambda mutation: try_one(mutation, run.folder / mutation.name), chosen):
            fates.append(fate)
            run.note(f"{fate.mutation.name}: {fate.killer or 'SURVIVED'} ({fate.seconds:.0f} s)")
    survivors = [fate.mutation.name for fate in fates if not fate.killer]
    seen = Seen(good=len(fates) - len(survivors), tried=len(fates), least=_LEAST, figures={"survivors": ", ".join(survivors) or "none"})
    if not seen.kept:
        raise Broken(f"survived: {', '.join(survivors)}", seen)
    return seen


def _chosen(run: Run) -> list[Mutation]:
    if run.only:
        return [mutation for mutation in MUTATIONS if run.only in mutation.name]
    return random.Random(run.seed).sample(MUTATIONS, min(run.count, len(MUTATIONS)))


def try_one(mutation: Mutation, folder: Path) -> Fate:
    """Apply one mutation to a copy of this checkout in `folder` and run the fast tests there until one is red."""
    begun = time.monotonic()
    copy_tree(folder)
    try:
        if mutation.old:
            apply(mutation, folder)
        killer = next((found for step in (_unit, _hedging, _races, _faults, _seeds) if (found := step(folder))), "")
        return Fate(mutation, killer, time.monotonic() - begun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def apply(mutation: Mutation, folder: Path) -> None:
    """Make the edit.

    Raises:
        ValueError: its text does not stand there exactly once.
    """
    path = folder / mutation.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        found = f"its text stands {text.count(mutation.old)} times in {mutation.path}, 1 is right"
        raise ValueError(f"mutant {mutation.name}: {found}; change chaos/mutations.py with the code")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def copy_tree(folder: Path) -> None:
    """Packages and tests, without anything that was made from them."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "runs", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignored)


def _unit(folder: Path) -> str:
    patterns = [f"tests/unit/test_{name}.py" for name in _QUICKEST]
    files = sorted(str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern))
    return _pytest(folder, *files)


def _hedging(folder: Path) -> str:
    return _pytest(folder, "tests/unit/test_hedging.py")


def _faults(folder: Path) -> str:
    return _pytest(folder, "tests/simulation/test_faults.py", "tests/simulation/test_every_step.py")


def _races(folder: Path) -> str:
    return _simulated(folder, "--speculation", "--seeds", str(_RACES))


def _seeds(folder: Path) -> str:
    return _simulated(folder, "--seeds", str(_SEEDS), "--seed", "1")


def _simulated(folder: Path, *options: str) -> str:
    code, text = _run(folder, "-m", "experiments", "simulate", *options)
    broke = re.search(r"seed (\d+) broke .*\n +(.*)", text)
    return "" if code == 0 else f"simulation, {broke[0] if broke else text[-200:]}"


def _pytest(folder: Path, *files: str) -> str:
    code, text = _run(folder, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no", "--timeout=60", *files)
    if code == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
    return found[1] if found else text.strip()[-200:]


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "FAILED nothing-ended-in-time"
    return done.returncode, done.stdout + done.stderr
