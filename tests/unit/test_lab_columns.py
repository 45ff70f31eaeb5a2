"""Systems side by side: what has no figure shows none, and the best stand out."""

from __future__ import annotations

from experiments.reporting.columns import Column, best, grid, heads, lines

COLUMNS = (Column("missed", "missed %", 100.0, 1, -1), Column("gain", "gain", better=+1), Column("size", "size", 1e-3, 0))
ROWS = {"ours": {"missed": 0.01, "gain": 2.0, "size": 1500.0}, "<theirs>": {"missed": 0.02, "gain": 2.0, "size": float("nan")}}


def test_figures_stand_in_their_unit_and_the_best_stand_out() -> None:
    """Fewer misses and more gain are better, a tie is both's, and of sizes none is the best."""
    assert heads(COLUMNS) == ["system", "missed %", "gain", "size"]
    assert lines(COLUMNS, ROWS) == [["ours", "1.0", "2.0", "2"], ["<theirs>", "2.0", "2.0", "-"]]
    assert best(COLUMNS, ROWS) == {(0, 1), (0, 2), (1, 2)}


def test_a_page_shows_text_as_it_is() -> None:
    """Names of systems are no markup; what is marked is."""
    text = grid(["system", "gain"], [["<theirs>", "2.0"]], {(0, 1)})
    assert "<td>&lt;theirs&gt;</td><td class=best>2.0</td>" in text
