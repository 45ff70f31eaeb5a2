"""One worker: its own instances of every app's stages, and the way of a batch through them.

    payload -> unpack -> stages [start, stop) -> the wanted fields -> pack -> payload

Of a job with state the state comes with it and goes back with its answer, so that any worker can run the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from cloud_server.events import BatchDone, JobDone, JobKey, RunBatch, state_key
from cloud_server.executors.seam import ExecutorError, Want, stages_here
from tasks import App, Residency, SetupFailed, TaskError
from tasks.run import DONE, FAILED, RESIDENT, Ran, Runner
from tasks.crossing import Crossing, applies, returned
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import MAX_JOB, Payload

__all__ = ["Worker"]

_TOO_LATE = Ran("dropped", None, (), -1, "late at a worker")
_Answer = tuple[BatchDone, dict[JobKey, Payload]]


class Worker:
    """Runs one batch at a time; used by one thread.

    Args:
        apps: by name.
        resident: variants of each that are kept loaded.

    Raises:
        ExecutorError: a stage cannot be copied for this worker; the text says what to do.
    """

    def __init__(self, apps: Mapping[str, App], resident: int = RESIDENT) -> None:
        self._seats = {name: _Seat(app, resident) for name, app in apps.items()}
        self._resident = resident

    def setup(self) -> None:
        """Set up every stage a server may run, and load the first variant; of a race only what is asked for later.

        Raises:
            ExecutorError: naming app, stage and error. What was set up before is closed again.
        """
        for name, seat in self._seats.items():
            try:
                for index in stages_here(seat.app):
                    seat.runner.setup(index, index + 1)
                if seat.app.variants and seat.app.speculation is None:
                    seat.runner.preload(seat.app.variant().name)
            except BaseException as error:  # whatever user code throws, the words reach whoever waits for this worker
                self.close()
                raise ExecutorError(f"app {name!r}: {_setup_words(error)}") from error

    def run(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want], submitted: float) -> _Answer:
        """Run a batch; never raises for what stages or payloads do.

        Args:
            inputs: payloads of its jobs, then, if there is one, the state its only job starts from.
            submitted: `perf_counter()` of when the batch was given to the executor.
        """
        waited = perf_counter() - submitted
        seat = self._seats[command.app]
        runs, decodes = [], []
        for place, (payload, slack) in enumerate(zip(inputs, command.slack or (None,) * len(command.jobs))):
            began = perf_counter()
            runs.append(seat.unpack(command.starts_at(place), payload) if slack is None or waited <= slack else _TOO_LATE)
            decodes.append(perf_counter() - began)
        folds = len(inputs) > len(command.jobs) and seat.restore(command, inputs[-1], runs)
        crossings = [seat.crossing(command, place, ran) for place, ran in enumerate(runs)]
        times = seat.run(command, runs)
        done: list[JobDone] = []
        results: dict[JobKey, Payload] = {}
        for key, ran, crossing, want, decode in zip(command.jobs, runs, crossings, wants, decodes):
            job, result = seat.finish(command, key, ran, crossing, want)
            done.append(replace(job, decode=decode))
            if result is not None:
                results[key] = result
        if folds:
            done[0] = seat.keep_state(command, done[0], results)
        return BatchDone(command.batch, tuple(done), times, waited), results

    def preload(self, app: str, variants: Sequence[str], wanted: Callable[[], bool]) -> str:
        """Load variants of an app, the most wanted first, as many as are kept, as long as they are `wanted`; on another thread.

        Returns:
            What cannot be loaded, in words; "" if all can.
        """
        seat, problems = self._seats.get(app), []
        ready = list(dict.fromkeys(variants))[: self._resident]
        for name in [*ready, *reversed(ready)]:  # a second time, at no cost: so the most wanted is the last to leave
            try:
                if seat is not None and wanted():
                    seat.runner.preload(name)
            except TaskError as error:
                problems.append(f"app {app!r}: {error}")
        return "; ".join(dict.fromkeys(problems))

    def residency(self) -> dict[str, Residency]:
        """What is loaded of each app that has variants; from any thread."""
        return {name: seat.runner.residency() for name, seat in self._seats.items() if seat.app.variants}

    def close(self) -> list[str]:
        """Close every stage that was set up; returns what went wrong, in words."""
        problems = []
        for name, seat in self._seats.items():
            try:
                seat.runner.close()
            except BaseException as error:  # a stage that does not close must not keep the others open
                problems.append(f"app {name!r}: close() of a stage raised {type(error).__name__}: {error}")
        return problems


class _Seat:
    """One app at one worker."""

    def __init__(self, app: App, resident: int) -> None:
        self.app = app
        self._batched = tuple(stage.run_batch is not None for stage in app.chain)
        try:
            self.packer = Packer(app.types)
            self.runner = Runner(app, perf_counter, app.instances(), resident=resident)
        except (TaskError, UnsupportedValue) as error:
            raise ExecutorError(str(error)) from error

    def unpack(self, start: int, payload: Payload) -> Ran:
        """The value a job starts from, as a run of no stages."""
        try:
            return Ran(DONE, self.packer.unpack(payload), ())
        except RemoteProtocolError as error:
            return Ran(FAILED, None, (), start, f"the value received cannot be read: {error}")

    def restore(self, command: RunBatch, state: Payload, runs: list[Ran]) -> bool:
        """Give the stages the state their job starts from; False if the job has failed, in `runs` too."""
        if runs[0].kind == DONE:
            try:
                self.runner.restore(command.start, command.stop, self.packer.unpack(state))
            except (RemoteProtocolError, ValueError) as error:
                runs[0] = Ran(FAILED, None, (), command.start, f"the state received cannot be read: {error}")
        return runs[0].kind == DONE

    def keep_state(self, command: RunBatch, job: JobDone, results: dict[JobKey, Payload]) -> JobDone:
        """Put the state after a job among the results; a job whose state cannot travel has failed, and left it as it was."""
        try:
            state = self.packer.pack(self.runner.states(command.start, command.stop))
            if state.nbytes > MAX_JOB:
                raise UnsupportedValue(f"{state.nbytes} bytes; one message carries at most {MAX_JOB}")
        except BaseException as error:  # user classes are read here, so user code runs
            results.clear()
            last = command.stop - 1
            words = str(error) if isinstance(error, UnsupportedValue) else self.runner.explain(last, error)
            return JobDone(job.session, job.seq, FAILED, last, f"the state cannot travel: {words}", decode=job.decode)
        results[state_key(job.session, job.seq)] = state
        return replace(job, state=1)

    def run(self, command: RunBatch, runs: list[Ran]) -> tuple[float, ...]:
        """Replace each run in `runs` by what came of it; returns seconds per stage for all of them."""
        alive = [at for at, ran in enumerate(runs) if ran.kind == DONE]
        if len(alive) > 1 and any(self._batched[command.start : command.stop]):
            ends = self._run_batch(command, alive, [runs[at].value for at in alive])
            times = _longest(_aligned(command, alive, ends)) if command.starts else max((ran.times for ran in ends), key=len)
        else:
            ends = [self._run_one(command, command.starts_at(at), runs[at].value) for at in alive]
            times = _sums(_aligned(command, alive, ends))
        for at, ran in zip(alive, ends):
            runs[at] = ran
        return times

    def _run_one(self, command: RunBatch, start: int, value: Any) -> Ran:
        try:
            return self.runner.run(start, command.stop, value, variant=command.variant)
        except BaseException as error:  # a KeyboardInterrupt a stage raised: it costs the job, not the worker
            return Ran(FAILED, None, (), start, self.runner.explain(start, error))

    def _run_batch(self, command: RunBatch, alive: list[int], values: list[Any]) -> list[Ran]:
        starts = [command.starts[at] for at in alive] if command.starts else ()
        try:
            return self.runner.run_batch(command.start, command.stop, values, variant=command.variant, starts=starts)
        except BaseException as error:  # not an Exception, those are dealt with by the Runner
            if any(stage.once for stage in self.app.chain[command.start : command.stop]):
                return [Ran(FAILED, None, (), command.start, self.runner.explain(command.start, error))] * len(values)
            return [self._run_one(command, command.starts_at(at), value) for at, value in zip(alive, values)]

    def crossing(self, command: RunBatch, place: int, received: Ran) -> Crossing:
        """What goes back of this job, given the value it starts from."""
        return applies(received.value, self.app.crossing(command.starts_at(place), command.stop))

    def finish(self, command: RunBatch, key: JobKey, ran: Ran, crossing: Crossing, want: Want) -> tuple[JobDone, Payload | None]:
        """What is told of a job, and its result if it is done."""
        session, seq = key
        if ran.kind != DONE:
            return JobDone(session, seq, ran.kind, ran.stage, ran.error), None
        try:
            payload = self.packer.pack(returned(ran.value, crossing, want, command.stop < self.app.n))
            nbytes = payload.nbytes
            if nbytes > MAX_JOB:
                raise UnsupportedValue(f"{nbytes} bytes; one message carries at most {MAX_JOB}")
        except BaseException as error:  # user classes are read here, so user code runs
            last = command.stop - 1
            words = str(error) if isinstance(error, UnsupportedValue) else self.runner.explain(last, error)
            text = f"stage {self.app.names[last]!r} returned what cannot travel: {words}"
            return JobDone(session, seq, FAILED, last, text), None
        return JobDone(session, seq, DONE, nbytes=nbytes, signature=payload.signature), payload


def _aligned(command: RunBatch, alive: Sequence[int], ends: Sequence[Ran]) -> list[tuple[float, ...]]:
    """The times of each run from the batch's first stage on."""
    if not command.starts:
        return [ran.times for ran in ends]
    return [(0.0,) * (command.starts[at] - command.start) + ran.times for at, ran in zip(alive, ends)]


def _longest(times: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Seconds per stage, which are the same for all that reached it, and 0 for those that joined later."""
    return tuple(max(each[stage] for each in times if stage < len(each)) for stage in range(max(map(len, times), default=0)))


def _sums(times: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Seconds per stage over all jobs; a job that ended early counts in the stages it reached."""
    if len(times) == 1:
        return times[0]
    longest = max(map(len, times), default=0)
    return tuple(sum(each[stage] for each in times if stage < len(each)) for stage in range(longest))


def _setup_words(error: BaseException) -> str:
    if not isinstance(error, SetupFailed):
        return f"setup of a stage failed: {type(error).__name__}: {error}"
    cause = error.__cause__
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        package = cause.name.partition(".")[0]
        return f"{error}; declare requires=({package!r},) on the stage if servers without it shall offer the other stages"
    return str(error)
