"""The documents speak of things that exist."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md"))
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in PAGES)
FOLDERS = "tasks|wire|metrics|iot_client|cloud_server|examples|experiments|benchmarks|chaos|scripts|docs|tests"

FOREIGN_FLAGS = frozenset({
    "--upgrade", "--extra-index-url", "--no-deps", "--editable", "--variant", "--durations", "--home-dir",
    "--shell", "--now", "--system", "--entrypoint", "--rm",
})
"""Options of other people's programs."""

PROGRAMS = {"iot-client": "iot_client", "cloud-server": "cloud_server"}
COMMANDS = {
    "iot-client": ("iot_client.cli.enroll", "iot_client.services.command", "iot_client.cli.ship_key"),
    "cloud-server": ("cloud_server.cli.keys", "cloud_server.profiling.command"),
}


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


def options_of(program: str, *, commands: bool = True) -> set[str]:
    """The long options of a program, and of the commands that begin with its name."""
    module = PROGRAMS[program]
    parsers = [importlib.import_module(f"{module}.cli.options").parser(importlib.import_module(f"{module}.cli.config").Config)]
    if commands:
        parsers += [importlib.import_module(name)._parser() for name in COMMANDS[program]]
    found = set()
    while parsers:
        for action in parsers.pop()._actions:
            found.update(word for word in action.option_strings if word.startswith("--"))
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_command_line_in_a_document_has_options_of_its_program(document: str) -> None:
    """Where a document shows `iot-client ...` or `cloud-server ...`, that very program knows each option."""
    lines = re.findall(r"(?<![\w/.-])(iot-client|cloud-server)((?: [^\n`|]*)?)", text(document).replace("\\\n", " "))
    wrong = []
    for program, rest in lines:
        own = re.split(r" +# | -- |[.;] |, and |\biot-client\b|\bcloud-server\b", rest)[0]
        wrong += [f"{program} {flag}" for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", own) if flag not in options_of(program)]
    assert not wrong


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_option_is_in_a_document(program: str) -> None:
    """No option is known to --help alone; --port, --quiet and those that print and exit need no words."""
    everything = "\n".join(text(document) for document in DOCUMENTS)
    plain = {"--help", "--version", "--port", "--quiet"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", everything))
    assert not sorted(options_of(program, commands=False) - named - plain)


@pytest.mark.parametrize("room", ["tasks", "wire", "metrics", "iot_client", "cloud_server"])
def test_the_design_lists_every_module(room: str) -> None:
    """The table of rooms in docs/design.md names each module of a package, in its own room, and no other; seams may be named by folder."""
    table = text("docs/design.md").partition("| room | file | one noun |")[2].partition("\n\n")[0]
    listed: set[str] = set()
    of = ""
    for _, first, files, *_ in (line.split("|") for line in table.splitlines() if line.startswith("| ")):
        of = first.strip() or of
        listed |= set(re.findall(r"`([^`]+)`", files)) if of == room else set()
    folders = tuple(name for name in listed if name.endswith("/"))
    there = {path.relative_to(ROOT / room).as_posix() for path in (ROOT / room).rglob("*.py")}
    there = {name for name in there if name.rpartition("/")[2] not in ("__init__.py", "__main__.py")}
    assert sorted(name for name in there - listed if not name.startswith(folders or ("/",))) == []
    assert sorted(listed - there - set(folders)) == []
