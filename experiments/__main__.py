"""`python -m experiments`: see experiments/command.py, or `python -m experiments --help`."""

import sys

from experiments.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
