"""The server process of a contender: `python -m benchmarks.peers CLASS PORT SHAPE`."""

from __future__ import annotations

import sys

from benchmarks.peers import CONTENDERS


def main() -> None:
    """Serve until ended."""
    name, port, shape = sys.argv[1:]
    CONTENDERS[name](tuple(int(side) for side in shape.split("x"))).serve(int(port))


if __name__ == "__main__":
    main()
