"""A command line sorted by topic, with a short page for -h and all of it for --help; both programs' options are made of it."""

from __future__ import annotations

import argparse
import configparser
import difflib
import importlib.metadata
import shutil
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Parser", "layout", "version"]

_WIDEST = 120
_COLUMN = 28
"""Where the explanations begin."""


def version() -> str:
    """The version installed, or that of the checkout this file is in."""
    try:
        return importlib.metadata.version("spillway")
    except importlib.metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
        return setup.get("metadata", "version", fallback="unknown") + " (checkout)"


def layout() -> Any:
    """A formatter for help that keeps the lines of texts and uses the width there is."""
    columns = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    return partial(argparse.RawDescriptionHelpFormatter, max_help_position=_COLUMN, width=columns)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose options stand in topics; those named in `everyday` are all that -h shows.

    Args:
        prog, usage, about: the program, how it is called in short, and what it does.
        examples, epilog: on both pages, and on the long one only.
        commands: words that are commands of their own, for whoever mistypes one.
    """

    def __init__(
        self, prog: str, usage: str, about: str, *, examples: str, epilog: str, everyday: Collection[str], commands: Collection[str],
    ) -> None:
        super().__init__(
            prog, f"{prog} {usage}", about, f"{examples}\n{epilog}", formatter_class=layout(), allow_abbrev=False, add_help=False,
        )
        self._everyday, self._examples, self._commands = frozenset(everyday), examples, sorted(commands)

    def topic(self, title: str, about: str | None = None) -> Any:
        """What adds an option to this topic; as `add_argument`."""
        return self.add_argument_group(title, about).add_argument

    def add_pages(self, add: Any) -> None:
        """-h, --help and --version."""
        add("-h", action=_Page, short=True, help="this program in short")
        add("--help", action=_Page, short=False, help="all options, and the exit codes")
        add("--version", action="version", version=f"spillway {version()}", help="the version, and exit")

    def short_help(self) -> str:
        """The page of -h."""
        page = self._get_formatter()
        page.add_usage(self.usage, [], [])
        page.add_text(self.description)
        for group in self._action_groups:
            shown = [action for action in group._group_actions if self._everyday & {action.dest, *action.option_strings}]
            page.start_section(group.title)
            page.add_arguments(shown)
            page.end_section()
        page.add_text(f"{self._examples}\nall options, and the exit codes: {self.prog} --help")
        return page.format_help()

    def format_help(self) -> str:
        """The page of --help; it ends with a line's end, which argparse forgets."""
        return super().format_help().rstrip("\n") + "\n"

    def error(self, message: str) -> NoReturn:
        """One line on what is wrong, and where to look; not a screen of options."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}{self._meant(message)}; {self.prog} -h and --help show what there is\n")

    def _meant(self, message: str) -> str:
        """What an unknown word may stand for."""
        words = message.partition("unrecognized arguments: ")[2].split()
        if not words:
            return ""
        legal = self._option_string_actions if words[0].startswith("-") else self._commands
        close = difflib.get_close_matches(words[0].partition("=")[0], legal, 1)
        return f" (did you mean {close[0]}?)" if close else ""


class _Page(argparse.Action):
    """Prints one of the two pages and exits."""

    def __init__(self, option_strings: Any, dest: str, *, short: bool, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)
        self._short = short

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        assert isinstance(parser, Parser)
        sys.stdout.write(parser.short_help() if self._short else parser.format_help())
        parser.exit()
