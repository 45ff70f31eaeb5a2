"""The tutorial as a script: its listings in order, each with the output it shows.

    ```python       the first line `# NAME.py` makes it a file; else it is run, and what it prints is compared
                    with the ```text that follows, where "..." stands for anything
    ```sh           one command per line
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Listing", "listings", "run_python"]

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


class Listing(NamedTuple):
    """One listing; `line` is where it begins, `shown` the output printed below it."""

    line: int
    language: str
    text: str
    shown: str


def listings() -> list[Listing]:
    """All listings of the tutorial."""
    text = TUTORIAL.read_text(encoding="utf-8")
    return [
        Listing(text.count("\n", 0, found.start()) + 2, found[1], found[2], found[3] or "") for found in _FENCE.finditer(text)
    ]


def run_python(listing: Listing, names: dict[str, Any]) -> None:
    """Write the file or run the code; its output must be what the tutorial shows."""
    file = re.match(r"# (\w+\.py)\n", listing.text)
    if file:
        Path(file[1]).write_text(listing.text, encoding="utf-8")
        return
    code = compile("\n" * (listing.line - 1) + listing.text, str(TUTORIAL), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    same = doctest.OutputChecker().check_output(listing.shown, out.getvalue(), doctest.ELLIPSIS)
    assert same, f"tutorial, line {listing.line}: shown\n{listing.shown}\nprinted\n{out.getvalue()}"
