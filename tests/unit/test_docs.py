"""The tutorial's Python listings do what the tutorial says, as far as they need no server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tutorial import listings, run_python


def test_tutorial_listings_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each listing runs, in order, and prints what stands below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    ran = 0
    for listing in listings():
        if listing.language == "python" and "host=" not in listing.text and ".jsonl" not in listing.text:
            run_python(listing, names)
            ran += 1
    sys.modules.pop("spots")
    assert ran >= 10


def test_every_listing_has_a_language_the_tests_know() -> None:
    """No listing escapes the tests."""
    assert {listing.language for listing in listings()} == {"python", "sh"}
