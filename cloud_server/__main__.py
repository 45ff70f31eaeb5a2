"""`python -m cloud_server` and `cloud-server`: see cli/command.py. First of all it is made sure that the packages are ours."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path

__all__ = ["main"]

_PATIENCE_S = 0.5
"""How long threads that an app started may keep the process after its end."""


def main() -> int:
    """The command line; returns its exit code (cloud-server --help lists them)."""
    home = Path(__file__).resolve().parents[1]
    shadowed = runpy.run_path(str(home / "wire" / "origin.py"))["shadowed"]
    own_app = any(word.startswith("--app") or word == "profile" for word in sys.argv)  # it may well live in a package called examples
    problem = shadowed(("tasks", "wire", "metrics", *(() if own_app else ("examples",))), home)
    if problem:
        print(f"cloud-server: {problem}", file=sys.stderr)
        return 1
    try:
        from cloud_server.profiling.command import COMMAND
        from cloud_server.profiling.command import main as profile

        if sys.argv[1:2] == [COMMAND]:
            return profile(sys.argv[1:])
        from cloud_server.cli.keys import COMMANDS
        from cloud_server.cli.keys import main as keys

        if sys.argv[1:2] and sys.argv[1] in COMMANDS:
            return keys(sys.argv[1:])
        from cloud_server.cli.command import main as command

        code = command()
    except KeyboardInterrupt:  # while the imports ran; later ones are the command's to answer
        print("cloud-server: stopped before it was ready", file=sys.stderr)
        return 130
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        threading.Thread(target=_end, args=(code,), daemon=True).start()
    return code


def _end(code: int) -> None:
    time.sleep(_PATIENCE_S)
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
