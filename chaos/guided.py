"""Row 22, the decoder, by coverage: libFuzzer (through atheris) looks for messages that reach code no other one did.

    python -m chaos.guided CORPUS INPUTS SEED         one fuzzer, until INPUTS are tried or one raises

An input is a few messages, heard one after another by a fresh scheduler and a fresh session. What raises anything but the errors
that messages may raise is left by libFuzzer as CORPUS/crash-*, and `python -m chaos.guided CORPUS/crash-...` repeats it.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from chaos.registry import Broken, Run, Seen, Skipped, promise

__all__ = ["guided_messages", "joined", "parted"]

_LONGEST = 8192
_MOST = 4
"""Messages in one input."""
_SUM, _HEAD = 20, 24
"""Where part 0 holds its checksum, and where what that covers goes on."""


def joined(messages: list[list[bytes]], repair: bool = True) -> bytes:
    """Messages as one input: for each a byte (1: its checksum is made to hold), how many parts it has, and each behind its length."""
    out = bytearray()
    for parts in messages:
        out += bytes((repair, len(parts)))
        for part in parts:
            out += len(part).to_bytes(2, "little") + part
    return bytes(out)


def parted(data: bytes) -> Iterator[list[bytes]]:
    """The messages of an input; any bytes are one."""
    at = 0
    for _ in range(_MOST):
        if at + 2 > len(data):
            return
        repair, count = data[at] & 1, data[at + 1] % 8
        at += 2
        parts = []
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "little")
            parts.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if parts and repair and len(parts[0]) >= _HEAD:
            first = parts[0]
            checksum = zlib.crc32(first[_HEAD:], zlib.crc32(first[:_SUM]))
            parts[0] = first[:_SUM] + checksum.to_bytes(4, "little") + first[_HEAD:]
        yield parts


def _main(argv: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["wire", "iot_client", "cloud_server"]):
        from chaos.hostile import corpus, hear

    folder = Path(argv[0])
    if folder.is_file():
        hear(parted(folder.read_bytes()))
        return
    for number, parts in enumerate(corpus()):
        (folder / f"seed-{number}").write_bytes(joined([parts]))
    options = [f"-runs={argv[1]}", f"-seed={argv[2]}", f"-max_len={_LONGEST}", "-timeout=600", "-rss_limit_mb=2048"]
    options.append(f"-artifact_prefix={folder}/")
    atheris.Setup([sys.argv[0], str(folder), *options], lambda data: hear(parted(data)))
    atheris.Fuzz()


@promise(22, "messages found by coverage: none brings down a decoder or a machine", quick=5_000, full=1_000_000)
def guided_messages(run: Run) -> Seen:
    """What a fuzzer that sees which lines run can find; the rest of the code must refuse it in words."""
    if importlib.util.find_spec("atheris") is None:
        raise Skipped("needs atheris, which has wheels for CPython 3.11 to 3.13 on Linux: pip install spillway[fuzz]")
    folder = run.folder / "corpus"
    folder.mkdir()
    begun = time.monotonic()
    command = [sys.executable, "-m", "chaos.guided", str(folder), str(run.count), str(run.seed)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    crashes = sorted(folder.glob("crash-*")) + sorted(folder.glob("timeout-*")) + sorted(folder.glob("oom-*"))
    if ended.returncode or crashes:
        shown = crashes[0].read_bytes().hex()[:2000] if crashes else "no input was kept"
        raise Broken(f"exit code {ended.returncode}; {ended.stderr[-1500:]}; the input: {shown}")
    found = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", ended.stderr)
    if not found:
        raise Broken(f"libFuzzer told no coverage: {ended.stderr[-500:]}")
    first, last = (dict(zip(("edges", "features", "inputs kept"), map(int, each))) for each in (found[0], found[-1]))
    seconds = time.monotonic() - begun
    figures = {"edges at first": first["edges"], **last, "per s": round(run.count / seconds)}
    return Seen(good=run.count, tried=run.count, figures=figures)


if __name__ == "__main__":
    _main(sys.argv[1:])
