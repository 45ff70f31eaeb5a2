"""One promise put to the test, and what came of it."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from chaos.registry import Broken, Figure, Promise, Run, Seen, Skipped
from chaos.rows import ROWS

__all__ = ["Verdict", "judge", "untested"]

KEPT, BROKEN, SKIPPED, UNTESTED, INTERRUPTED = "kept", "BROKEN", "skipped", "not tested yet", "interrupted"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one test; `text` says why it is not kept."""

    row: int
    title: str
    status: str
    name: str = ""
    good: int = 0
    tried: int = 0
    figures: dict[str, Figure] = {}
    seconds: float = 0.0
    text: str = ""


def untested(rows: set[int]) -> list[Verdict]:
    """Rows without a test."""
    return [Verdict(row=row, title=ROWS[row], status=UNTESTED) for row in sorted(rows)]


def judge(promise: Promise, seed: int, quick: bool, note: Callable[[str], None], only: str = "") -> Verdict:
    """Run one test in a folder of its own, which goes afterwards.

    Raises:
        KeyboardInterrupt: after the test has cleaned up.
    """
    folder = Path(tempfile.mkdtemp(prefix="spillway-chaos-"))
    run = Run(seed=seed, count=promise.quick if quick else promise.full, quick=quick, folder=folder, note=note, only=only)
    begun = time.monotonic()
    seen, text, status = Seen(good=0, tried=0), "", BROKEN
    try:
        seen = promise.test(run)
        status = KEPT if seen.kept else BROKEN
        text = "" if seen.kept else f"{seen.good} of {seen.tried} went well, promised are {seen.least:.0%}"
    except Broken as error:
        seen, text = error.seen or seen, str(error)
    except Skipped as error:
        status, text = SKIPPED, str(error)
    except Exception:
        text = traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Verdict(
        row=promise.row, title=promise.title, status=status, name=promise.name, good=seen.good, tried=seen.tried,
        figures=dict(seen.figures), seconds=round(time.monotonic() - begun, 2), text=text,
    )
