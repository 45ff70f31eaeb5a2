"""The documents speak of things that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
FOLDERS = "tasks|wire|metrics|iot_client|cloud_server|examples|experiments|benchmarks|chaos|scripts|docs|tests"

FOREIGN_FLAGS = frozenset({"--upgrade", "--extra-index-url", "--no-deps", "--editable", "--variant", "--durations"})
"""Options of other people's programs."""


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def sources() -> str:
    """All code and all scripts, as one text."""
    code = [path for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.py")]
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    return "\n".join(path.read_text(encoding="utf-8") for path in (*code, *scripts))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_a_document_exist(document: str) -> None:
    """Every path below one of our folders is a file or a folder of the checkout."""
    paths = re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*\w)", text(document))
    assert not sorted({path for path in paths if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_somewhere(document: str) -> None:
    """Every relative link resolves from the document's own folder."""
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text(document))
    assert not [link for link in links if not ((ROOT / document).parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_named_in_a_document_exist(document: str) -> None:
    """Every `python -m module` and `import module` of ours can be found."""
    named = re.findall(rf"(?:python3? -m |from |import )((?:{FOLDERS})(?:\.\w+)*)\b", text(document))
    assert not sorted({module for module in named if importlib.util.find_spec(module) is None})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_named_in_a_document_exist(document: str) -> None:
    """Every long option is spelled in some program or script of ours."""
    everything = sources()
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text(document))) - FOREIGN_FLAGS
    assert not sorted(flag for flag in flags if not re.search(rf"{flag}\b(?!-)", everything))
