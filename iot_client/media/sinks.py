"""Results as lines of a JSONL file (clips and windows are in pictures.py). A line is one object,

    {"stream","seq","outcome","where","split","value","reason","latency_ms","device_ms":[..],"cloud_ms":[..],"sent_bytes","codec"}

and "variant", if the app has variants, "entrant" and "late" where answers race,
with `outcome` done, filtered, dropped or failed; `where` device or cloud if done, else null; `reason` the
filtering stage, why it was dropped, or "stage: error"; and `value` as tasks/plain.py writes values.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from iot_client.errors import ClientError
from iot_client.outcome import Done, Dropped, Failed, Filtered
from iot_client.spooling.results_tail import cut_off
from tasks.plain import to_plain

if TYPE_CHECKING:
    from iot_client.client import Result

__all__ = ["JsonlSink", "OutputError", "ReaderGone", "results_row"]

_ENCODE = msgspec.json.Encoder().encode


class OutputError(ClientError):
    """Results cannot be written; the text names the file and the system's reason."""


class ReaderGone(OutputError):
    """Whoever read our output has closed it (`| head`): a reason to end, not a failure."""


def results_row(result: Result, names: Sequence[str]) -> dict[str, Any]:
    """One results line; `names` are the app's stage names."""
    where, reason = _where_and_reason(result.outcome, names)
    row = {
        "stream": result.stream,
        "seq": result.seq,
        "outcome": type(result.outcome).__name__.lower(),
        "where": where,
        "split": result.split,
        "value": to_plain(result.value),
        "reason": reason,
        "latency_ms": _ms(result.latency),
        "device_ms": [_ms(seconds) for seconds in result.device_s],
        "cloud_ms": [_ms(seconds) for seconds in result.cloud_s],
        "sent_bytes": result.sent_bytes,
        "codec": result.codec,
    }
    row = {**row, "variant": result.variant} if result.variant else row
    return {**row, "entrant": result.entrant, "late": result.late} if result.entrant else row


class JsonlSink:
    """Writes a line for each result, at once, so that a killed run has lost none. An existing file is replaced, or appended to.

    Args:
        path: a file, or "-" for standard output.
        names: the app's stage names.
        append: keep the whole lines that are there.

    Raises:
        OutputError: the file cannot be opened, or (from `add`) written; whole lines are left in it.
        ReaderGone: from `add`: standard output or the pipe at `path` was closed by its reader.
    """

    closed = False

    def __init__(self, path: str, names: Sequence[str], append: bool = False) -> None:
        self.name = "standard output" if path == "-" else path
        self.rows = 0
        self._names = names
        try:
            if append:
                cut_off(path)
            self._file = open(sys.stdout.fileno() if path == "-" else path, "ab" if append else "wb", buffering=0, closefd=path != "-")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise OutputError(f"cannot write results to {self.name}: {error.strerror or error}") from None

    def add(self, result: Result) -> None:
        """Write one line."""
        line = _ENCODE(results_row(result, self._names)) + b"\n"
        try:
            self._write(line)
        except BrokenPipeError:
            raise ReaderGone(f"the reader of {self.name} closed it after {self.rows} results") from None
        except OSError as error:
            raise OutputError(f"cannot write results to {self.name} after {self.rows} lines: {error.strerror or error}") from None
        self.rows += 1

    def close(self) -> None:
        """Every line is written already."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                written = self._file.write(rest)
                if written is None:  # standard output was made non-blocking by whoever shares it
                    time.sleep(0.01)
                else:
                    rest = rest[written:]
        except OSError:
            self._cut_off(len(line) - len(rest))
            raise

    def _cut_off(self, partial: int) -> None:
        """Leave no half line behind, where the file is one that can be shortened."""
        if partial and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.truncate(self._file.tell() - partial)


def _where_and_reason(outcome: Any, names: Sequence[str]) -> tuple[str | None, str]:
    if isinstance(outcome, Done):
        return outcome.where, ""
    if isinstance(outcome, Filtered):
        return None, names[outcome.stage]
    if isinstance(outcome, Failed):
        return None, f"{names[outcome.stage]}: {outcome.error}" if outcome.stage >= 0 else outcome.error
    assert isinstance(outcome, Dropped)
    return None, outcome.reason


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
