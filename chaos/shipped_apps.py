"""Apps for the rows about replays and shipped code: one that counts its executions, one that looks around."""

from __future__ import annotations

import os
import resource
import socket
from typing import Any

from tasks import App, Input, Task

__all__ = ["confined_app", "counted", "counted_app"]


class Count(Task):
    """Notes each execution; a second one of the same frame would be one too many."""

    name = "count"
    once = True
    shared = True

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def run(self, item: Any) -> Any:
        self.calls.append(item)
        return item


def counted_app(name: str = "counted") -> tuple[App, list[Any]]:
    """An app with one stage, and the list of its executions."""
    stage = Count()
    return App(name, [Input(), stage]), stage.calls


counted, _ = counted_app()


def _tried(act: Any, *arguments: Any) -> Any:
    """What came of it: its value, or the name of the error."""
    try:
        return act(*arguments)
    except OSError as error:
        return "PermissionError" if isinstance(error, PermissionError) else "OSError"
    except Exception as error:
        return type(error).__name__


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _connect(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 2.0):
        return "connected"


def _grab() -> str:
    kept = bytearray(resource.getrlimit(resource.RLIMIT_AS)[0])
    return f"{len(kept)} bytes"


def _write() -> str:
    with open("/spillway-was-here", "w") as file:
        return str(file.write("x"))


class LookAround(Task):
    """Tries what a shipped app must not be able to do."""

    name = "look_around"

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        """What it found, by what it tried."""
        status = dict(line.split(":", 1) for line in _read("/proc/self/status").splitlines())
        secrets = [name for name in os.environ if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASS", "XDG", "SPILLWAY"))]
        return {
            "uid": list(os.getresuid()), "groups": [group for group in os.getgroups() if group != os.getgid()],
            "root again": _tried(os.setuid, 0), "secret": _tried(_read, item["secret"]), "key": _tried(_read, item["key"]),
            "shadow": _tried(_read, item["shadow"]), "kill": _tried(os.kill, item["parent"], 0), "network": _tried(_connect, item["port"]),
            "memory": _tried(_grab), "write": _tried(_write), "environment": secrets, "descriptors": len(_open_files()),
            "new rights": status["NoNewPrivs"].strip(), "folder": os.getcwd(),
        }


def _open_files() -> list[str]:
    """Files open beyond the standard three: the line to the server and shared memory do not count."""
    found = []
    for descriptor in range(3, 64):
        try:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if not name.startswith(("socket:", "/memfd:spillway", "pipe:", "anon_inode:")):
            found.append(name)
    return found


def confined_app() -> App:
    """An app that is to be shipped."""
    return App("confined", [Input(), LookAround()])
