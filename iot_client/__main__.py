"""`python -m iot_client` and `iot-client`: see cli/command.py. First of all it is made sure that the packages are ours."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """The command line; returns its exit code (iot-client --help lists them)."""
    home = Path(__file__).resolve().parents[1]
    shadowed = runpy.run_path(str(home / "wire" / "origin.py"))["shadowed"]
    own_app = any(argument.startswith("--app") for argument in sys.argv)  # it may well live in a package called examples
    problem = shadowed(("tasks", "wire", "metrics", *(() if own_app else ("examples",))), home)
    if problem:
        print(f"iot-client: {problem}", file=sys.stderr)
        return 1
    try:
        return _run()
    except KeyboardInterrupt:  # while the imports ran; later ones are the command's to answer
        print("iot-client: interrupted before it began", file=sys.stderr)
        return 130


def _run() -> int:
    from iot_client.cli.enroll import COMMAND
    from iot_client.cli.enroll import main as enroll

    if sys.argv[1:2] == [COMMAND]:
        return enroll(sys.argv[2:])
    if sys.argv[1:2] == ["ship-key"]:
        from iot_client.cli.ship_key import main as ship_key

        return ship_key(sys.argv[2:])
    from iot_client.media.opencv import quiet_opencv

    quiet_opencv()
    if sys.argv[1:2] == ["services"]:
        from iot_client.services.command import main as services

        return services(sys.argv[2:])
    from iot_client.cli.command import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
