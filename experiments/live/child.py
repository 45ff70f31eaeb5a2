"""A process of the lab: told and heard by lines, with its errors kept, ended with its owner."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from experiments.live.network import NETNS, LabError

__all__ = ["Child", "in_namespace"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 5.0
"""Seconds from SIGTERM to SIGKILL."""


def in_namespace(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs argv with that network and all else as it is here.

    `ip netns exec` would mount a /sys of its own, in which a program finds no control groups and thinks that it has the machine.

    Raises:
        LabError: this host has no nsenter.
    """
    if shutil.which("nsenter") is None:
        raise LabError("a live run needs the program `nsenter`: install the package util-linux")
    return ["nsenter", f"--net={NETNS / namespace}", *argv]


class Child:
    """One process, from its start to its end.

    Args:
        argv: the command line.
        errors: the file that takes its standard error; its last lines are in the text of what is raised.
        what: a word for it in such texts.
    """

    def __init__(self, argv: Sequence[str], *, errors: Path, what: str) -> None:
        # Ctrl-C is for the owner, who ends it in good order; should the owner be killed, it ends as well.
        leash = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.what = what
        self._errors = errors
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [*leash, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._heard = b""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, line: str) -> None:
        """One line to its standard input.

        Raises:
            LabError: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def expect(self, word: str, timeout: float) -> str:
        """The next line of its standard output that starts with the word; others are passed over.

        Raises:
            LabError: it ended, or said no such thing in time.
        """
        until = time.monotonic() + timeout
        while True:
            line, newline, rest = self._heard.partition(b"\n")
            if not newline:
                self._read(word, timeout, until - time.monotonic())
                continue
            self._heard = rest
            if line.startswith(word.encode()):
                return line.decode()

    def wait(self, timeout: float) -> None:
        """Let it end by itself.

        Raises:
            LabError: it did not in time, or with an error.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the {self.what} did not end within {timeout:g} s{self._last_words()}") from error
        if code:
            raise self._ended()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after PATIENCE; a second call does nothing."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # a line that it did not take any more
                pass

    def _read(self, word: str, timeout: float, left: float) -> None:
        assert self._process.stdout is not None
        if left <= 0 or not select.select([self._process.stdout], (), (), left)[0]:
            raise LabError(f"the {self.what} did not say {word!r} within {timeout:g} s{self._last_words()}")
        data = os.read(self._process.stdout.fileno(), 65536)
        if not data:
            raise self._ended()
        self._heard += data

    def _ended(self) -> LabError:
        return LabError(f"the {self.what} ended with {self._process.wait(PATIENCE)}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return ": " + " | ".join(line.strip() for line in lines) if lines else ""
