"""Carries results from a client to the sinks, the summary and the live line, until the stream has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from iot_client.cli.config import Exit
from iot_client.client import Client, Result, Statistics
from iot_client.figures import figures
from iot_client.media.display import Display
from iot_client.media.sinks import OutputError, ReaderGone
from iot_client.outcome import Done, Dropped, Failed, Filtered
from iot_client.signals import Signals
from iot_client.splitting.attainment import Attainment
from metrics.clock import Clock
from metrics.exposition import Distribution, Figure
from metrics.host import HostSample, HostSampler
from metrics.summary import Summary, SummarySnapshot

__all__ = ["Pump", "Sink"]

POLL_S = 0.1
"""How long a signal may wait while no result comes."""

PATIENCE_S, PATIENCE_SPOOLED_S = 4.0, 1.0
"""For frames in flight after the first signal, so that all is over within five seconds, half of what service managers usually grant
before they kill; with a spool less, since what is not finished then is not lost."""


class Sink(Protocol):
    """Where results go."""

    closed: bool

    def add(self, result: Result) -> None:
        """Take one result; raises OutputError."""

    def close(self) -> None:
        """Finish; raises OutputError."""


class Pump:
    """One run's loop, on the main thread.

    Attributes:
        sinks: may be filled until `run` is called.
        exit, reason: how the run ended and, if that was not by itself, why.
        first_failure: the first failed frame in words; "" if none failed.
        attainment: counts how well a goal is kept, if there is one.
        on_stop: called once when capture is told to end early.
        latest: the run as it was at most a second ago, if `watched`.
    """

    def __init__(
        self, client: Client, display: Display, signals: Signals, sampler: HostSampler, clock: Clock,
        attainment: Attainment | None = None,
    ) -> None:
        self.attainment = attainment
        self.sinks: list[Sink] = []
        self.exit = Exit.OK
        self.reason = ""
        self.first_failure = ""
        self.on_stop: Callable[[], None] = lambda: None
        self.watched = False
        self.latest: SummarySnapshot | None = None
        self._look_at = 0.0
        self._client, self._display, self._signals = client, display, signals
        self._sampler = sampler
        self._clock = clock
        self._summary = Summary()
        self._captured = self._seen_signals = 0
        self._sample: HostSample | None = None

    def run(self) -> None:
        """Until the stream has ended and every frame has its outcome."""
        results = self._client.results(POLL_S)
        while True:
            try:
                result = next(results, None)
            except TimeoutError:
                results = self._client.results(POLL_S)
            else:
                if result is None:
                    return
                self._take(result)
            self._attend()

    def end(self, exit_code: Exit, reason: str) -> None:
        """Note why the run ends; the first reason stands."""
        if self.exit is Exit.OK and not self.reason:
            self.exit, self.reason = exit_code, reason

    def close_sinks(self) -> None:
        """Finish every output; one that cannot be finished is the reason the run ended with."""
        for sink in self.sinks:
            try:
                sink.close()
            except OutputError as error:
                self.end(Exit.OUTPUT, str(error))
        self.sinks.clear()

    def snapshot(self, now: float, statistics: Statistics, in_flight: int | None = None) -> SummarySnapshot:
        """The run so far; `in_flight`, where given, makes its `conserved` a check."""
        self._summary.captured(now, statistics.captured - self._captured)
        self._captured = statistics.captured
        sample = self._sampler.latest
        if sample is not None and sample is not self._sample:
            self._sample = sample
            self._summary.host(sample)
        return self._summary.snapshot(now, in_flight=in_flight)

    def figures(self) -> Iterator[Figure | Distribution]:
        """The run as figures; from any thread, if `watched`."""
        latest = self.latest
        return iter(()) if latest is None else figures(self._client.statistics(), latest, self._summary.latencies)

    def _take(self, result: Result) -> None:
        self._fold(result)
        try:
            for sink in self.sinks:
                sink.add(result)
        except OutputError as error:
            self._give_up(error)
        if not self.reason and any(sink.closed for sink in self.sinks):
            self.end(Exit.OK, "the window was closed")
            self._client.stop(PATIENCE_S)

    def _fold(self, result: Result) -> None:
        """The result as the summary counts it."""
        outcome = result.outcome
        if self.attainment is not None:
            self.attainment.began(result.captured_at)
            if isinstance(outcome, (Done, Filtered)):
                self.attainment.answered(result.captured_at, result.latency)
        if self._captured == 0:
            self._summary.captured(result.captured_at, 0)
        if isinstance(outcome, Failed) and not self.first_failure:
            where = f", stage {self._client.app.names[outcome.stage]!r}" if outcome.stage >= 0 else ""
            self.first_failure = f"frame {result.seq}{where}: {outcome.error}"
        self._summary.add(
            type(outcome).__name__.lower(), outcome.where if isinstance(outcome, Done) else "", result.latency,
            result.device_s, result.cloud_s, now=self._clock.now(), split=result.split,
            sent_bytes=result.sent_bytes, reason=outcome.reason if isinstance(outcome, Dropped) else "",
        )

    def _attend(self) -> None:
        """To signals and the display."""
        if len(self._signals.received) > self._seen_signals:
            self._on_signal()
        now = self._clock.now()
        if self.watched and now >= self._look_at:
            self._look_at, self.latest = now + 1.0, self.snapshot(now, self._client.statistics())
        if self._display.due(now):
            statistics = self._client.statistics()
            try:
                self._display.refresh(now, self.snapshot(now, statistics), statistics)
            except OutputError as error:
                self._give_up(error)

    def _on_signal(self) -> None:
        again, self._seen_signals = self._seen_signals > 0, len(self._signals.received)
        number = self._signals.received[0]
        self.on_stop()
        name = {Exit.INTERRUPTED: "Ctrl-C", Exit.TERMINATED: "SIGTERM", Exit.HANGUP: "hangup"}[Exit(128 + number)]
        self.end(Exit(128 + number), f"{name}: no more frames were taken")
        self._display.note("info", "frames in flight are dropped" if again else f"{name}: finishing the frames in flight")
        self._client.stop(0.0 if again else PATIENCE_S if self._client.spooler is None else PATIENCE_SPOOLED_S)

    def _give_up(self, error: OutputError) -> None:
        """Results lead nowhere any more: capture ends, and what is in flight is not waited for."""
        self.end(Exit.OK if isinstance(error, ReaderGone) else Exit.OUTPUT, str(error))
        self._client.keep_spooled()
        self.close_sinks()
        self._client.stop(0.0)

