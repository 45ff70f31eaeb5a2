"""A trimmed result and the report of the same frame: one row, the fuller one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloud_server.events import Fold
from cloud_server.results import recorder
from cloud_server.results.recorder import Recorder
from cloud_server.results.store import open_store
from examples.ball_tracking.app import positions
from wire.payload import Packer

WHOLE = {"x": 1.0, "y": 2.0, "radius": 9.0, "center": [1, 2], "place": [0.1, 0.2, 0.3]}
ANSWER = (True, {"place": (0.1, 0.2, 0.3)})


def rows(path: Path, *values: tuple[int, int, Any], twice: int = 0) -> list[tuple[int, str, Any]]:
    """What is written of values (seq, token, value); token 0 is a result computed here. `twice` are refused as known."""
    made, packer = Recorder({positions.name: positions}, open_store(path)), Packer(positions.types)
    made.start()
    for seq, token, value in values:
        made.fold(Fold(positions.name, "cam", 7, seq, token), packer.pack(value))
    made.close()
    assert made.statistics().duplicates == twice
    found = map(json.loads, path.read_text().splitlines())
    return sorted((row["seq"], row["source"], row["value"]) for row in found)


@pytest.mark.parametrize("late", [True, False])
def test_the_report_is_the_row_whichever_comes_first(tmp_path: Path, late: bool) -> None:
    """The result holds only what was computed on the server, the report all."""
    pair = [(1, 0, ANSWER), (1, 5, WHOLE)]
    assert rows(tmp_path / "r.jsonl", *(pair if late else reversed(pair)), twice=not late) == [(1, "report", WHOLE)]


def test_a_result_whose_report_never_comes_is_kept(tmp_path: Path) -> None:
    """As the record of what was computed here, never as a pair; also if too many wait."""
    assert rows(tmp_path / "r.jsonl", (1, 0, ANSWER)) == [(1, "result", {"place": [0.1, 0.2, 0.3]})]


def test_results_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest is written as it is; none is lost."""
    monkeypatch.setattr(recorder, "_MAX_TRIMMED", 2)
    found = rows(tmp_path / "r.jsonl", *((seq, 0, ANSWER) for seq in range(5)), (4, 9, WHOLE), (0, 9, WHOLE), twice=1)
    assert [(seq, source) for seq, source, _ in found] == [(0, "result"), (1, "result"), (2, "result"), (3, "result"), (4, "report")]


def test_an_untrimmed_answer_is_its_value(tmp_path: Path) -> None:
    """Where the job made another kind of value, that is the row, at once."""
    assert rows(tmp_path / "r.jsonl", (1, 0, (False, {"a": 1})), (1, 9, WHOLE), twice=1) == [(1, "result", {"a": 1})]
