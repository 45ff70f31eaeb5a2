"""Promise 15 of docs/promises.md, in small: who does not fit is told so, and who is one minor version behind is served."""

from __future__ import annotations

from pathlib import Path

from chaos.registry import Run
from chaos.versions import BAD, a_server_of_another_version, bad_hellos, the_minor_before


def run(count: int, folder: Path) -> Run:
    """So many tries."""
    return Run(seed=1, count=count, quick=True, folder=folder)


def test_each_misfit_is_told_what_differs(tmp_path: Path) -> None:
    """At least twelve kinds, each with its error code and words of both sides, within a second."""
    assert len(BAD) >= 12
    assert bad_hellos(run(1, tmp_path)).kept


def test_each_side_works_with_one_of_1_1(tmp_path: Path) -> None:
    """Through a relay that lets no field and no word of 1.2 pass."""
    assert the_minor_before(run(20, tmp_path)).kept


def test_a_device_goes_on_where_its_server_turns_into_another(tmp_path: Path) -> None:
    """It says what differs, and finishes frames by itself."""
    assert a_server_of_another_version(run(1, tmp_path)).kept
