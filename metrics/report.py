"""The command that plots the results of a run and prints their times per stage.

    python -m metrics.report RESULTS.jsonl -o OUT.png [--stages decode,blur,...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from metrics.plot import plot_run
from metrics.results import ResultsError, read_results, stage_times
from metrics.tables import stage_table, summary_table

__all__ = ["main", "plot_run", "stage_table", "summary_table"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m metrics.report", description="Plot the results of a run.")
    parser.add_argument("results", metavar="RESULTS.jsonl")
    parser.add_argument("-o", "--output", metavar="OUT.png", required=True)
    parser.add_argument("--stages", metavar="A,B,C", default="", help="stage names, in order")
    options = parser.parse_args(arguments)
    names = tuple(name.strip() for name in options.stages.split(",")) if options.stages else ()
    try:
        plot_run(options.results, options.output, names)
        times = stage_times(read_results(options.results))
    except (ResultsError, OSError) as error:
        print(f"metrics.report: {error}", file=sys.stderr)
        return 1
    from rich.console import Console

    Console().print(stage_table(times, names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
