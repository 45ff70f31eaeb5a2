"""The ways to break the protocol in chaos/mutations.py fit the code as it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from chaos.mutants import apply
from chaos.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutant_fits_the_code(mutation: Mutation, tmp_path: Path) -> None:
    """Its text stands there exactly once, and what comes of it is still Python, another one."""
    place = tmp_path / mutation.path
    place.parent.mkdir(parents=True)
    before = (ROOT / mutation.path).read_text(encoding="utf-8")
    place.write_text(before, encoding="utf-8")
    apply(mutation, tmp_path)
    after = place.read_text(encoding="utf-8")
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))


def test_there_are_enough_of_them() -> None:
    """At least 40, each with a name of its own."""
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 40


def test_a_text_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """So that mutants change with the code."""
    (tmp_path / "code.py").write_text("other\n")
    with pytest.raises(ValueError, match="stands 0 times"):
        apply(Mutation("gone", "code.py", "", "text", ""), tmp_path)
