"""A user's hooks: with what they are called, what comes of what they return, and what it costs when they raise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from iot_client.events import Combine, Combined, Extrapolate, HookFailed, OfferLate, RunStages, Sending, StagesDone
from iot_client.executor import Executor
from iot_client.racing.config import RaceConfig
from iot_client.racing.hooks import Hooks
from tasks import DROP, END, App, LateFrame, Send, Task
from tests.unit.races import Count, Named, raced
from tests.unit.workers import PATIENCE
from wire.payload import Packer
from wire.protocol import Payload


def bad(*arguments: Any) -> Any:
    raise ValueError("not this one")


class Bench:
    """An executor and its hooks, with what they answered; the race is stage 2."""

    def __init__(self, app: App, *, final: bool = False) -> None:
        spec, stage = app.speculation, app.race
        assert spec is not None and stage is not None
        self.answers: SimpleQueue[tuple[Any, Any, Payload | None]] = SimpleQueue()
        race = RaceConfig(
            clouds=spec.clouds, local=spec.local, deadline=spec.deadline, merges=spec.merges, extrapolates=spec.extrapolates,
            tells_late=spec.tells_late,
        )
        put = lambda event, value, payload: self.answers.put((event, value, payload))  # noqa: E731
        self.hooks = Hooks(stage, race, corrects=spec.corrects, final=final, answer=put)
        self.executor = Executor(app, Packer(), workers=1, want=None, answer=put, variant="local", hooks=self.hooks)
        self.executor.start(app.n)
        self.hooks.start()

    def answer(self) -> tuple[Any, Any, Payload | None]:
        return self.answers.get(timeout=PATIENCE)

    def head(self, item: Any = "x") -> tuple[StagesDone, Any, Payload | None]:
        """The answer to the stages before the race."""
        self.executor.run(RunStages(0, 0, 2, True, gate=True), item)
        done, value, payload = self.answer()
        assert isinstance(done, StagesDone)
        return done, value, payload

    def late(self, value: Any) -> None:
        """A cloud's answer after the verdict on frame 7."""
        self.executor.offer_late(OfferLate(7, 3, 0), LateFrame(7, "item", 1.5, "stood", "local", "cloud"), value)

    def close(self) -> None:
        assert self.hooks.close(PATIENCE) and self.executor.close(PATIENCE)


@pytest.fixture
def bench() -> Iterator[Any]:
    """`bench(app)` is started, and closed at the end."""
    made: list[Bench] = []

    def start(app: App, **options: Any) -> Bench:
        made.append(Bench(app, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


# -- send_when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "send"), [
    (True, Sending()), (Send(), Sending()), (Send(deadline=0.2, codec="bits", clouds=(1,)), Sending(0.2, None, "bits", (1,))),
    (Send(until=9.5), Sending(None, 9.5)),
])
def test_what_send_when_says_goes_with_the_encoded_value(bench: Any, said: Any, send: Sending) -> None:
    """Deadline, codec and clouds are the machine's to follow; the value is encoded as it says."""
    done, value, payload = bench(raced(send_when=lambda value: said)).head(np.zeros(9000, np.uint8))
    assert (done.kind, done.send) == ("done", send)
    assert payload is not None and done.nbytes == payload.nbytes
    assert np.array_equal(Packer().unpack(payload), value) if isinstance(value, np.ndarray) else Packer().unpack(payload) == value


@pytest.mark.parametrize("said", [False, None])
def test_a_frame_that_is_not_sent_is_not_encoded(bench: Any, said: Any) -> None:
    """What stays here costs no encoding, and its value is kept for the local entrant."""
    done, value, payload = bench(raced(send_when=lambda value: said)).head()
    assert (done.kind, done.send, done.nbytes, payload, value) == ("done", Sending(clouds=()), 0, None, "x resize")


@pytest.mark.parametrize(("hook", "words"), [
    (bad, "send_when: ValueError: not this one"), (lambda value: 3, "send_when: TypeError: send_when must return"),
    (lambda value: Send(codec="mp3"), "send_when: ValueError"), (lambda value: Send(clouds=(2,)), "legal: ranks from 0 to 1"),
])
def test_send_when_that_raises_fails_its_frame_at_the_race(bench: Any, hook: Any, words: str) -> None:
    """The outcome names the hook; the next frame is another matter."""
    done, value, payload = bench(raced(send_when=lambda value: hook(value) if value == "x resize" else True)).head()
    assert (done.kind, done.stage, value, payload) == ("failed", 2, None, None) and words in done.error
    assert done.error.startswith("send_when: ")


def test_send_when_never_runs_on_the_loop(bench: Any) -> None:
    """Also where the stages before it are none but the input, which the loop runs itself."""
    threads: list[str] = []
    app = raced(send_when=lambda value: threads.append(threading.current_thread().name) or True)
    one = bench(app)
    one.executor.run(RunStages(0, 0, 1, True, gate=True), "x")
    assert one.answer()[0].kind == "done" and threads == ["stages-0"]


# -- merge and extrapolate -----------------------------------------------------------------------------


def test_merge_gets_the_local_answer_first(bench: Any) -> None:
    """On a thread of its own; its value is read-only, as a stage's is."""
    threads: list[str] = []

    def merge(local: Any, cloud: Any) -> Any:
        threads.append(threading.current_thread().name)
        return np.array([local, cloud])

    one = bench(raced(merge=merge))
    one.hooks.put(Combine(4, 3, 0), 1, 2)
    event, value, _ = one.answer()
    assert event == Combined(4, "done") and value.tolist() == [1, 2] and not value.flags.writeable and threads == ["hooks"]


def test_extrapolate_gets_the_last_value_and_the_seconds_since(bench: Any) -> None:
    """The two captures' distance."""
    one = bench(raced(on_miss="extrapolate", extrapolate=lambda last, seconds: last + seconds))
    one.hooks.put(Extrapolate(5, 3, 0.25, 4), 1.0, 0.25)
    assert one.answer()[:2] == (Combined(5, "done"), 1.25)


def test_a_hook_may_filter_and_may_not_end_the_stream(bench: Any) -> None:
    """DROP is an answer, END an error."""
    one = bench(raced(merge=lambda local, cloud: local))
    one.hooks.put(Combine(1, 3, 0), DROP, 2)
    one.hooks.put(Combine(2, 3, 0), END, 2)
    assert one.answer()[:2] == (Combined(1, "filtered"), None)
    assert one.answer()[0].error.startswith("merge: TypeError: returned END; only the source may (use DROP to filter)")


def test_a_hook_that_raises_is_named_and_the_next_one_is_called(bench: Any) -> None:
    """Also by sys.exit: the thread goes on."""
    def merge(local: Any, cloud: Any) -> Any:
        return local if cloud else exit(local)

    one = bench(raced(merge=merge))
    one.hooks.put(Combine(1, 3, 0), 1, 0)
    one.hooks.put(Combine(2, 3, 0), "well", 1)
    event = one.answer()[0]
    assert (event.seq, event.kind) == (1, "failed") and event.error.startswith("merge: SystemExit: 1 [")
    assert one.answer()[:2] == (Combined(2, "done"), "well")


def test_what_stands_behind_the_last_stage_keeps_what_is_wanted(bench: Any) -> None:
    """As a stage's final value would."""
    image = np.zeros((64, 64, 3), np.uint8)
    one = bench(raced(merge=lambda local, cloud: {"found": 3, "frame": image}), final=True)
    one.hooks.put(Combine(1, 3, 0), 1, 2)
    assert one.answer()[1] == {"found": 3}


# -- on_late -------------------------------------------------------------------------------------------


def test_a_late_answer_is_offered_with_its_frame(bench: Any) -> None:
    """Beside the stages, where none keeps state."""
    heard: SimpleQueue[Any] = SimpleQueue()
    bench(raced(on_late=lambda frame, value: heard.put((frame, value, threading.current_thread().name)))).late("better")
    assert heard.get(timeout=PATIENCE) == (LateFrame(7, "item", 1.5, "stood", "local", "cloud"), "better", "hooks")


class Corrected(Count):
    """Takes a late answer for another count."""

    def on_late(self, frame: LateFrame, value: Any, state: int) -> int:  # type: ignore[override]
        if value == "bad":
            raise ValueError("no such track")
        return state + frame.seq


def test_it_is_offered_between_two_runs_of_the_stages_with_state(bench: Any) -> None:
    """To the app's hook and to the stage's own, with its state, on the lane."""
    threads: list[str] = []
    one = bench(raced(Corrected(), on_late=lambda frame, value: threads.append(threading.current_thread().name)))
    one.executor.run(RunStages(0, 3, 4, ordered=True), "a")
    one.late("better")
    one.executor.run(RunStages(1, 3, 4, ordered=True), "b")
    assert [one.answer()[1] for _ in range(2)] == [("a", 1), ("b", 9)] and threads == ["stages-1"]


def test_on_late_that_raises_is_told_by_name(bench: Any) -> None:
    """Whoever raised: the app's hook or a stage; the state is as it was, and the stream goes on."""
    one = bench(raced(Corrected(), on_late=bad))
    one.late("bad")
    events = [one.answer()[0] for _ in range(2)]
    assert all(isinstance(event, HookFailed) and event.hook == "on_late" for event in events)
    assert "not this one" in events[0].error and "stage 'corrected': ValueError: no such track" in events[1].error
    one.executor.run(RunStages(1, 3, 4, ordered=True), "b")
    assert one.answer()[1] == ("b", 1)


# -- twins ---------------------------------------------------------------------------------------------


class Gate(Task):
    """Opens when told."""

    name = "gate"

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __deepcopy__(self, memo: Any) -> Gate:
        return self

    def run(self, item: Any) -> Any:
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        return item


def test_a_twin_that_is_wanted_no_more_ends_between_the_tasks_of_its_alternative() -> None:
    """The verdict fell while its first task ran: the second is not begun, and the answer says whose run it was."""
    gate, wanted, answers = Gate(), [True], SimpleQueue[Any]()
    app = raced(local=[gate, Named("never")])
    executor = Executor(
        app, Packer(), workers=1, want=None, answer=lambda *answer: answers.put(answer), variant="local",
        wanted=lambda seq, stop: wanted[0],
    )
    executor.start(app.n)
    executor.run(RunStages(3, 2, 3, urgent=True, variant="local", answers=2), "x")
    assert gate.entered.wait(PATIENCE)
    wanted[0] = False
    gate.opened.set()
    done, value, _ = answers.get(timeout=PATIENCE)
    assert (done.kind, done.answers, value) == ("cancelled", 2, None)
    assert executor.close(PATIENCE)
