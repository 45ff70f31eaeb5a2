"""One service of `iot-client services`: its results are read on a thread, written down, and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from iot_client.client import Client, Result
from iot_client.media.sinks import JsonlSink, OutputError
from iot_client.outcome import Done, Dropped, Failed
from iot_client.uplink.sharing import Stake

__all__ = ["Counts", "ServiceRun"]


class Counts(msgspec.Struct, gc=False):
    """Frames of one service: answered by a cloud or here, late, dropped, failed; bytes sent; `worth` the sum of accuracies."""

    frames: int = 0
    cloud: int = 0
    local: int = 0
    late: int = 0
    dropped: int = 0
    failed: int = 0
    nbytes: int = 0
    worth: float = 0.0

    @property
    def accuracy(self) -> float:
        """Expected, of all frames: what is declared for whoever answered each; 0 for those without an answer."""
        return self.worth / self.frames if self.frames else 0.0


class ServiceRun:
    """Reads the results of one client until they end.

    Args:
        sink: takes each result, if any; it is closed at the end.
        on_note: called with (level, text).

    Attributes:
        counts: so far; problem: why the reading ended, if that was not by itself.
    """

    def __init__(self, client: Client, stake: Stake, sink: JsonlSink | None, on_note: Callable[[str, str], None]) -> None:
        self.client, self.stake = client, stake
        self.counts = Counts()
        self.problem: Exception | None = None
        self._sink = sink
        self._on_note = on_note
        self._accuracy = {(_name(rung.cloud), rung.codec): rung.accuracy for rung in stake.rungs}
        self._thread = threading.Thread(target=self._run, name=f"results-{stake.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """True until the last result was read."""
        return self._thread.is_alive()

    def close(self, patience: float = 5.0) -> None:
        """Wait for the last result, and close the sink."""
        if self._thread.is_alive():
            self._thread.join(patience)
        if self._sink is not None:
            try:
                self._sink.close()
            except OutputError as error:
                self.problem = self.problem or error

    def _run(self) -> None:
        try:
            for result in self.client.results():
                self._count(result)
                if self._sink is not None:
                    self._sink.add(result)
        except Exception as error:
            self.problem = error
            self._on_note("error", f"{self.stake.name}: {error}")
            self.client.stop(0.0)

    def _count(self, result: Result) -> None:
        counts, outcome = self.counts, result.outcome
        counts.frames += 1
        counts.nbytes += result.sent_bytes
        counts.late += result.late
        counts.dropped += isinstance(outcome, Dropped)
        counts.failed += isinstance(outcome, Failed)
        if isinstance(outcome, Done):
            by_cloud = outcome.where == "cloud"
            counts.cloud += by_cloud
            counts.local += not by_cloud
            counts.worth += self._accuracy.get((result.entrant, result.codec), self.stake.local) if by_cloud else self.stake.local


def _name(cloud: int) -> str:
    return f"cloud{cloud + 1}" if cloud else "cloud"
