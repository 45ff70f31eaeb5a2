"""`python -m chaos`: see chaos/command.py, or `scripts/chaos --help`."""

import sys

from chaos.command import main

if __name__ == "__main__":
    sys.exit(main())
