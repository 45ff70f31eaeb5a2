"""A Speculative stage as it is declared and run: what is legal, what an app says of it, what its alternatives do."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tasks import (
    DROP, END, App, AppError, Input, LateFrame, Runner, Send, SetupFailed, Source, Speculation, Speculative, StatefulTask, Task, Variant,
    task,
)
from tasks.alternative import Alternative
from tests.runners import Counter
from tests.unit.races import Count, Named, raced


class Late(Count):
    """Corrects its state by what comes late."""

    def on_late(self, frame: LateFrame, value: Any, state: int) -> int:  # type: ignore[override]
        if value == "bad":
            raise ValueError("no such track")
        return state + 100 * frame.seq


class Torn(StatefulTask):
    """Raises with its state half changed."""

    def initial(self) -> list[int]:
        return [0]

    def run(self, value: Any, state: list[int]) -> tuple[Any, list[int]]:  # type: ignore[override]
        return value, state

    def on_late(self, frame: LateFrame, value: Any, state: list[int]) -> list[int]:  # type: ignore[override]
        state.append(frame.seq)
        raise ValueError("half done")


class Pairs(Task):
    """Takes several at once; what is negative is filtered."""

    def run(self, item: int) -> Any:
        return DROP if item < 0 else item + 1

    def run_batch(self, items: list[int]) -> list[Any]:  # type: ignore[override]
        return [self.run(item) for item in items] if len(items) > 1 else ["alone"]


class Paint(Task):
    """Writes into its input."""

    mutates = True

    def run(self, item: Any) -> Any:
        item[0] = 7
        return item


def runner_of(app: App) -> Runner:
    made = Runner(app, Counter(), app.instances())
    made.setup(0, app.n)
    return made


def hook(*values: Any) -> Any:
    return values[0]


@pytest.mark.parametrize(("arguments", "words"), [
    ({}, "cloud=None; give the alternative that servers run"),
    ({"cloud": ()}, r"cloud=\(\); give the alternative"),
    ({"cloud": []}, "cloud is an empty list; give a Task, or a list of Tasks"),
    ({"cloud": (Named("a"), [])}, "cloud2 is an empty list"),
    ({"local": [], "cloud": Named("a")}, "local is an empty list"),
    ({"local": (Named("a"),), "cloud": Named("a")}, "local: tuple is not a Task; legal: a Task, or a list of Tasks"),
    ({"cloud": Named}, r"cloud: Named is a class; write Named\(\)"),
    ({"cloud": hook}, "cloud: function is not a Task; mark it with @task"),
    ({"cloud": Count()}, "cloud: 'count' keeps state, and alternatives see only some frames"),
    ({"cloud": Input()}, "cloud: 'input' is a source"),
    ({"cloud": Named("a", once=True)}, "cloud: 'a' runs at most once"),
    ({"cloud": Named("a", varies=True)}, "cloud: 'a' varies"),
    ({"cloud": Speculative(cloud=Named("a"))}, "cloud: 'speculative' is a race itself"),
    ({"cloud": Named("a", accepts=("jpeg:500",))}, "cloud: 'a': accepts: 'jpeg:500'; legal are"),
    ({"cloud": Named("a", placement="device")}, r"cloud: 'a' may only run on the device \(.*, and this alternative runs on a server"),
    ({"local": Named("a", placement="cloud"), "cloud": Named("b")}, "local: 'a' may only run on the cloud .* runs on the device"),
    ({"cloud": Named("a"), "prefer": "best"}, "prefer='best'; legal are accuracy, cloud, first"),
    ({"cloud": Named("a"), "on_miss": "wait"}, "on_miss='wait'; legal are late, drop, extrapolate"),
    ({"cloud": Named("a"), "deadline": 0}, "deadline=0; legal: seconds after capture, above 0, at most 3600"),
    ({"cloud": Named("a"), "deadline": float("nan")}, "deadline=nan; legal"),
    ({"cloud": Named("a"), "deadline": None}, "deadline=None; legal"),
    ({"cloud": Named("a"), "deadline": 3601}, "deadline=3601; legal"),
    ({"cloud": Named("a"), "merge": hook}, "merge joins a local answer with a cloud's, and there is no local alternative"),
    ({"cloud": Named("a"), "on_miss": "extrapolate"}, "on_miss='extrapolate' needs extrapolate=f"),
    ({"cloud": Named("a"), "extrapolate": hook}, "extrapolate is only asked with on_miss='extrapolate', and on_miss='late'"),
    ({"cloud": Named("a"), "on_late": 3}, "on_late=3 is no function"),
])
def test_a_race_that_makes_no_sense_is_refused(arguments: dict[str, Any], words: str) -> None:
    """Each rule of alternatives and arguments has an error that names the argument, its value and what is legal."""
    with pytest.raises(AppError, match=f"Speculative.*: {words}"):
        Speculative(**arguments)


def test_a_race_stands_alone_in_its_app() -> None:
    """No second race, no variants and nothing that varies beside it, and behind it nothing that only a server runs."""
    race = Speculative(Named("a"), Named("b"))
    with pytest.raises(AppError, match="app 't': 'speculative' and 'again' are both Speculative; a frame has one race"):
        App("t", [Input(), race, Speculative(cloud=Named("c"), name="again")])
    with pytest.raises(AppError, match="variants beside 'speculative'"):
        App("t", [Input(), race], variants=[Variant("x", 0.5)])
    with pytest.raises(AppError, match="stage 'c': it varies, and the variants are the alternatives of 'speculative'"):
        App("t", [Input(), Named("c", varies=True), race])
    with pytest.raises(AppError, match="'speculative' races on servers, but 'count' before it keeps state on the device, after 'c'"):
        App("t", [Input(), Named("c", placement="cloud"), Count(), race])
    with pytest.raises(AppError, match="stage 'c': it may only run in the cloud, and what stands behind 'speculative' runs on the device"):
        App("t", [Input(), race, Named("c", placement="cloud")])


def test_what_an_app_says_of_its_race() -> None:
    """Its entrants are its variants, local first and the clouds by rank; the hooks are told as what there is, with who corrects."""
    app = raced(Count(), Late(), on_miss="drop", prefer="first", deadline=1)
    assert app.speculation == Speculation(
        stage=2, entrants=("local", "cloud", "cloud2"), deadline=1.0, prefer="first", on_miss="drop", tells_late=True, corrects=(4,)
    )
    assert list(app.variants) == ["local", "cloud", "cloud2"] and app.variant().name == "local"
    assert (app.speculation.local, app.speculation.clouds) == ("local", ("cloud", "cloud2"))
    assert app.race is app.chain[2] and Count.on_late is None
    hooks = {"send_when": hook, "merge": hook, "extrapolate": hook, "on_late": hook, "on_miss": "extrapolate"}
    told = raced(**hooks).speculation
    assert told is not None and told.sends_when and told.merges and told.extrapolates and told.tells_late and not told.corrects
    alone = App("t", [Input(), Speculative(cloud=Named("a"))]).speculation
    assert alone is not None and (alone.entrants, alone.local) == (("cloud",), None)
    plain = App("t", [Input(), Named("a")])
    assert plain.speculation is None and plain.race is None


def test_frames_leave_at_the_race_or_before_it_and_come_back_behind_it() -> None:
    """Legal are cuts up to the race and all stages here; a stage with state before the race, or one that runs once, is before the cut."""
    app = raced(Named("draw"), Count())
    assert app.legal_cuts() == (1, 2, 5) and [app.cut(k).stop for k in (1, 2, 5)] == [3, 3, 5]
    assert app.stops(2) == (3,) and app.stops(3) == () and app.cut(1, state_moves=True).stop == 3
    assert "frames leave at stage 'speculative', which is raced, or before it; or all 5 stages run on the device" in app.why_not(3)
    assert app.legal_cuts(device_lacks=[2]) == (1, 2)
    folded = App("t", [Input(), Count(), Named("a"), Speculative(Named("b"), Named("c"))])
    assert folded.legal_cuts() == (2, 3, 4)
    behind = App("t", [Input(), Named("a"), Count(), Speculative(Named("b"), Named("c"))])
    assert behind.legal_cuts() == (3, 4) and "stage 'count' keeps state before the race of 'speculative'" in behind.why_not(1)
    once = App("t", [Input(), Named("a", once=True), Speculative(Named("b"), Named("c"))])
    assert once.legal_cuts() == (2, 3) and "every server of a race would run it" in once.why_not(1)
    assert App("t", [Input(), Speculative(cloud=Named("c")), Named("draw", placement="device")]).legal_cuts() == (1,)


def test_each_side_needs_what_its_alternatives_need() -> None:
    """A device without the packages of the clouds runs the app, a server without those of local too; one cloud that runs is enough."""
    app = raced(local=Named("a", requires=("gone_l",)), cloud=(Named("b", requires=("gone_c",)), Named("c")))
    assert app.missing() == {2: ("gone_l",)} and app.missing("cloud") == {}
    assert (app.lacking("cloud"), app.lacking("cloud2"), app.lacking("local")) == (("gone_c",), (), ("gone_l",))
    assert app.legal_cuts(app.missing()) == (1, 2)
    with pytest.raises(Exception, match="stage 'speculative' needs gone_l, missing on the device"):
        app.cut(3, app.missing())
    both = raced(cloud=(Named("b", requires=("gone_1",)), Named("c", requires=("gone_2",), install="pip install c")))
    assert both.missing() == {} and both.missing("cloud") == {2: ("gone_1",)}
    assert both.chain[2].needs("cloud") == ("gone_1", "gone_2") and both.chain[2].install == "pip install c"


def test_both_sides_compare_the_alternatives_and_not_the_hooks() -> None:
    """The fingerprint covers what runs where, parameters, losses and the rule, not functions, deadlines or packages."""
    base = raced().fingerprint()
    assert raced(send_when=hook, merge=hook, on_late=hook, deadline=0.3).fingerprint() == base
    assert raced(local=Named("small", requires=("torch",))).fingerprint() == base
    assert raced(prefer="first").fingerprint() != base != raced(on_miss="drop").fingerprint()
    assert raced(cloud=(Named("large"), Named("huge"))).fingerprint() != base
    sized = [raced(local=Named("small", size=size, parameters=("size",))).fingerprint() for size in (1, 2, 2)]
    assert sized[0] != sized[1] == sized[2]
    assert raced(local=Named("small", accepts=("jpeg:50",))).fingerprint() != base
    assert raced().source_hash() and raced(local=hook_task()).source_hash() != raced().source_hash()


def hook_task() -> Task:
    return task(hook)


def test_a_run_is_made_with_its_alternative() -> None:
    """Each run has the alternative it asks for, and only what is asked for is set up; what leaves is closed, the last first."""
    log: list[str] = []
    app = App("t", [Input(), Speculative(Named("s", log), (Named("l", log), [Named("c", log), Named("h", log)]))])
    runner = Runner(app, Counter(), resident=2)
    runner.setup(0, 2)
    assert log == []
    assert [runner.run(0, 2, "x", variant=name).value for name in ("cloud2", "cloud", "cloud2")] == ["x c h", "x l", "x c h"]
    assert log == ["setup c", "setup h", "setup l"] and runner.residency().loaded == ("cloud", "cloud2")
    assert runner.run(0, 2, "x").value == "x s"
    assert log[3:] == ["close l", "setup s"]
    runner.close()
    assert log[5:] == ["close h", "close c", "close s"]


def test_a_setup_that_fails_leaves_nothing_open() -> None:
    """What was set up of an alternative is closed again, and the error names the task and its cause."""

    class NoModel(Named):
        def setup(self) -> None:
            raise FileNotFoundError("model.pt")

    log: list[str] = []
    runner = Runner(App("t", [Input(), Speculative(cloud=[Named("c", log), NoModel("n")])]), Counter())
    runner.setup(0, 2)
    with pytest.raises(SetupFailed, match="'speculative' cannot load variant 'cloud': .*setup of stage 'n' failed: FileNotFound"):
        runner.preload("cloud")
    assert "setup of stage 'n' failed" in runner.run(0, 2, 1).error
    assert log == ["setup c", "close c"] * 2


def test_values_inside_an_alternative_are_those_between_stages() -> None:
    """Inner tasks get read-only values, those that mutate a copy; the error names the task, and DROP and END end the frame."""
    first = np.zeros(2)
    runner = runner_of(App("t", [Input(), Speculative([Paint(), task(_writes)], [Paint(), Paint()])]))
    assert runner.run(1, 2, first, variant="cloud").value.tolist() == [7, 0] and first.tolist() == [0, 0]
    assert "(stage '_writes' writes into its input" in runner.run(1, 2, first).error
    signals = runner_of(App("t", [Input(), Speculative([task(_drops), Paint()], [task(_ends), Paint()])]))
    assert (signals.run(1, 2, 1).kind, signals.run(1, 2, 1).stage) == ("filtered", 1)
    assert "returned END; only the source may" in signals.run(1, 2, 1, variant="cloud").error


def _writes(item: Any) -> Any:
    item[0] = 1
    return item


def _drops(item: Any) -> Any:
    return DROP


def _ends(item: Any) -> Any:
    return END


def test_a_batch_goes_through_an_alternative_task_by_task() -> None:
    """run_batch where a task has one, else one by one; what is filtered leaves; a wrong count names the task; one bad value fails alone."""
    app = App("t", [Input(), Speculative([_double(), Pairs(), _double()], [_double(), _double()])])
    runner = runner_of(app)
    assert [ran.value for ran in runner.run_batch(1, 2, [1, -1, 2])] == [6, None, 10]
    assert runner.run_batch(1, 2, [-1, -1])[0].kind == "filtered"
    assert [ran.value for ran in runner.run_batch(1, 2, [1, 2], variant="cloud")] == [4, 8]
    assert [ran.kind for ran in runner.run_batch(1, 2, [1, None, 2])] == ["done", "failed", "done"]
    assert Alternative("cloud", [_double(), Pairs(), _double()]).run_batch([1, -1, 2]) == [6, DROP, 10]
    stage = runner.stages[1]
    assert stage.run_batch is not None and app.chain[1].run_batch is not None
    runner.run(1, 2, 1, variant="cloud")
    assert stage.run_batch is None
    with pytest.raises(ValueError, match="run_batch of 'double' got 2 items and returned 0"):
        Alternative("cloud", [_double(run_batch=lambda items: [])]).run_batch([1, 2])


def _double(**options: Any) -> Task:
    return task(name="double", **options)(lambda item: 2 * item)


def test_a_run_that_is_wanted_no_more_ends_between_two_tasks() -> None:
    """The device cancels between the tasks of an alternative; what it did not finish is in no stage's time."""
    seen: list[str] = []
    app = App("t", [Input(), Speculative([_sees("a", seen), _sees("b", seen)], Named("c"))])
    runner = Runner(app, Counter())
    runner.setup(0, 2)
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    ran = runner.run(0, 2, 1, wanted)
    assert (ran.kind, len(ran.times), seen, len(asked)) == ("cancelled", 1, ["a"], 2)
    assert runner.run(0, 2, 1).kind == "done" and seen == ["a", "a", "b"]


def _sees(name: str, seen: list[str]) -> Task:
    def run(item: Any) -> Any:
        seen.append(name)
        return item

    return task(name=name)(run)


def test_each_worker_has_alternatives_of_its_own_and_all_the_same_hooks() -> None:
    """Copies share tasks that are shared and whatever the hooks are bound to, and nothing that is set up."""
    corrections: list[Any] = []
    shared, own = Named("s", shared=True), Named("o")
    race = Speculative(shared, own, on_late=_Bound(corrections).hear)
    twin = copy.deepcopy(race)
    assert twin.alternatives["local"].tasks[0] is shared and twin.alternatives["cloud"].tasks[0] is not own
    assert twin.on_late is race.on_late and race.bare().on_late is None and race.on_late is not None
    race.use(Variant("local", 0.0), race.load(Variant("local", 0.0)))
    assert copy.deepcopy(race).loaded is None


class _Bound:
    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def hear(self, frame: int, value: Any) -> None:
        self.heard.append((frame, value))


def test_tasks_shared_by_workers_are_set_up_once() -> None:
    """A shared task of an alternative is set up by the first worker that loads it and closed by the last."""
    log: list[str] = []
    app = App("t", [Input(), Speculative(Named("s", log, shared=True), Named("c"))])
    first, second = runner_of(app), runner_of(app)
    assert [each.run(1, 2, "x").value for each in (first, second)] == ["x s", "x s"] and log == ["setup s"]
    first.close()
    assert log == ["setup s"]
    second.close()
    assert log == ["setup s", "close s"]


def test_what_send_when_may_say() -> None:
    """True is as usual, False and None are not sent, a Send is itself; anything else is named."""
    said: list[Any] = [True, False, None, Send(codec="jpeg:50")]
    race = Speculative(cloud=Named("a"), send_when=lambda value: said[value])
    assert [race.send(value) for value in range(4)] == [Send(), None, None, Send(codec="jpeg:50")]
    assert Speculative(cloud=Named("a")).send(1) == Send()
    said.append("yes")
    with pytest.raises(TypeError, match="send_when must return a bool, a Send or None, not str"):
        race.send(4)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"deadline": 0.1, "until": 5.0}, "deadline=0.1 and until=5.0; give one of them"),
    ({"deadline": -1}, "deadline=-1; legal: seconds after capture"),
    ({"deadline": "1"}, "deadline='1'; legal"),
    ({"until": float("inf")}, "until=inf; legal: an instant"),
    ({"codec": 3}, "codec=3; legal"),
    ({"clouds": 0}, "clouds=0; legal: a tuple of ranks"),
    ({"clouds": (-1,)}, r"clouds=\(-1,\); legal"),
])
def test_a_send_that_makes_no_sense_is_refused(arguments: dict[str, Any], words: str) -> None:
    """Each rule of Send has an error that names the argument, its value and what is legal."""
    with pytest.raises(ValueError, match=f"Send: {words}"):
        Send(**arguments)


def test_a_late_answer_corrects_the_state() -> None:
    """on_late of a stage with state gets a copy of it, between runs; one that raises is told, and leaves it as it was."""
    app = raced(Late(), Named("draw"))
    runner = runner_of(app)
    assert runner.run(3, 4, "x").value == ("x", 1)
    assert runner.correct(3, LateFrame(2), "late") == "" and runner.run(3, 4, "y").value == ("y", 202)
    assert "ValueError: no such track" in runner.correct(3, LateFrame(2), "bad") and runner.correct(4, LateFrame(2), "bad") == ""
    assert runner.states(3, 4) == [202]
    torn = runner_of(raced(Torn()))
    torn.run(3, 4, "x")
    assert "half done" in torn.correct(3, LateFrame(2), "late") and torn.states(3, 4) == [[0]]


def test_sources_and_other_stages_know_nothing_of_races() -> None:
    """What a stage that is no race needs is the same on both sides."""
    assert Named("a", requires=("x",)).needs("cloud") == Named("a", requires=("x",)).needs("device") == ("x",)
    assert isinstance(Input(), Source) and StatefulTask.on_late is None
