"""The table of docs/promises.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chaos.page import BEGIN, END, into, main
from chaos.rows import ROWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "promises.md"


def results(path: Path, *verdicts: dict[str, object], quick: bool = False) -> str:
    """A file as scripts/chaos --json writes it."""
    path.write_text(json.dumps({"facts": {}, "seed": 1, "quick": quick, "verdicts": verdicts}))
    return str(path)


def verdict(**fields: object) -> dict[str, object]:
    """One that was kept."""
    return {"row": 1, "title": "kills", "status": "kept", "name": "a.kills", "good": 3, "tried": 3, "figures": {"p99 s": 0.4}} | fields


def test_later_files_count_and_rows_without_a_test_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is there; n of n, figures, and whether it is a small run."""
    first = results(tmp_path / "1", verdict(good=1), verdict(name="a.more", status="BROKEN", good=2))
    assert main([first, results(tmp_path / "2", verdict(), quick=True)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| 1 | kills | 3 of 3 (quick) | p99 s 0.4 | `a.kills` |" in lines
    assert "| 1 | kills | **BROKEN**: 2 of 3 | p99 s 0.4 | `a.more` |" in lines
    assert len(lines) == 2 + 2 + len(ROWS) - 1


def test_the_table_goes_between_its_marks() -> None:
    """And nothing else changes; without marks it is an error."""
    assert into(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="marks"):
        into("a", "new")


def test_the_page_has_every_row() -> None:
    """One line with the promise in words for each row of chaos/rows.py, and the two marks."""
    text = PAGE.read_text(encoding="utf-8")
    promised = text[text.index("## The promises") : text.index("## What was found")]
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", promised, re.MULTILINE)] == list(ROWS)
    assert BEGIN in text and END in text
