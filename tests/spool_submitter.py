"""`python -m tests.spool_submitter FOLDER COUNT`: submits the numbers that are not in the stream yet; a line for each result."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np

from iot_client import Client
from tasks import App, Input
from tests.spool_apps import Half, Twice

app = App("submitted", [Input(), Half(), Twice()])


def main(folder: Path, count: int) -> None:
    """Run until all results are there."""
    with Client(app, spool=folder / "spool", device="tester") as client, open(folder / "results.jsonl", "a", buffering=1) as file:
        assert client.spooler is not None
        first = client.spooler.position

        def feed() -> None:
            for number in range(first, count):
                seq = client.submit(np.full(1000, number))
                assert seq == number
            client.end()

        threading.Thread(target=feed, daemon=True).start()
        for result in client.results():
            file.write(json.dumps({"seq": result.seq, "value": result.value}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
