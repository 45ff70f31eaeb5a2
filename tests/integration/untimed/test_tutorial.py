"""The whole tutorial, commands included: real server and client processes, over loopback."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tutorial import listings, run_python

REPO = Path(__file__).resolve().parents[3]
PROGRAMS = {"iot-client": "iot_client", "cloud-server": "cloud_server"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def argv(line: str, port: int) -> list[str]:
    """The command of one line, run from this checkout, on a port that is free."""
    words = shlex.split(line)
    if words[0] in PROGRAMS:
        words = ["python", "-m", PROGRAMS[words[0]], *words[1:]]
        if "--host" in words or "cloud_server" in words:
            words += ["--port", str(port)]
    assert words[0] == "python"
    return [sys.executable, *words[1:]]


@contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """The server of the tutorial, from its ready line until the end."""
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert server.stdout.readline().startswith("ready:")
        yield
    finally:
        server.terminate()
        server.communicate(timeout=20)
    assert server.returncode == 0


def test_tutorial_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command exits with 0 and every Python listing prints what is shown, the split ones too."""
    port = free_port()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    names: dict[str, Any] = {}
    with ExitStack() as servers:
        for listing in listings():
            if listing.language == "python":
                here = listing.text.replace('host="127.0.0.1"', f'host="127.0.0.1", port={port}')
                run_python(listing._replace(text=here), names)
                continue
            for line in listing.text.splitlines():
                command = argv(line, port)
                if "cloud_server" in command:
                    servers.enter_context(serving(command, environment))
                else:
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
                    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for module in ("spots", "sharp_spots"):
        sys.modules.pop(module)
