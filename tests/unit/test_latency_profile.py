"""What stages take on this host is measured as a worker counts it, and kept where a server finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud_server.batches.latency import Latency
from cloud_server.events import Profiled
from cloud_server.profiling.foreknown import foretell
from cloud_server.profiling.latency_profile import Cell, LatencyProfile, hardware_words, load_profile, path_of, samples, save_profile
from cloud_server.profiling.measuring import Plan, ProfileError, measure, plan, sizes_up_to
from cloud_server.scheduler import Scheduler, SchedulerConfig
from tasks import DROP, App, Input, Speculative, Task, Variant, task
from tests.unit.races import Named

SECONDS = 0.001


class Halve(Task):
    """Notes the sizes of the batches it is given, by variant."""

    varies = True

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {}

    def load(self, variant: Variant) -> str:
        return variant.name

    def run(self, item: int) -> int:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[int]) -> list[int]:  # type: ignore[override]
        self.seen.setdefault(self.loaded, set()).add(len(items))
        return [item // 2 for item in items]


@task(placement="device")
def double(item: int) -> int:
    return 2 * item


@task
def odd_only(item: int) -> Any:
    return item if item % 2 else DROP


@task
def add_one(item: int) -> int:
    return item + 1


@task
def fail(item: int) -> int:
    raise ValueError("no such thing")


def profile_of(app: App, cells: list[Cell]) -> LatencyProfile:
    return LatencyProfile(app.name, app.version, app.fingerprint(), app.names, "a host", 1, tuple(cells))


def test_each_stage_is_measured_with_each_variant_and_batch_size() -> None:
    """Device stages are passed untimed; one without run_batch is measured alone; items of earlier stages reach later ones."""
    halve = Halve()
    app = App("half", [Input(), double, halve, add_one], variants=[Variant("small", 0.4), Variant("large", 0.6)])
    told: list[str] = []
    what = plan(app, 6)
    assert what == Plan(("small", "large"), {2: (1, 2, 4, 6), 3: (1,)}) and what.cells == 10
    cells = measure(app, [1, 2, 3], what, seconds=SECONDS, progress=told.append)
    assert [(cell.variant, cell.stage, cell.batch) for cell in cells] == [
        (variant, stage, size) for variant in ("small", "large") for stage, size in ((2, 1), (2, 2), (2, 4), (2, 6), (3, 1))
    ]
    assert all(cell.runs >= 3 and 0.0 < cell.seconds <= cell.tail for cell in cells)
    assert halve.seen == {"small": {1, 2, 4, 6}, "large": {1, 2, 4, 6}}
    assert told[0] == "halve, variant small, batch 1" and len(told) == what.cells


@pytest.mark.parametrize(("most", "sizes"), [(1, (1,)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))])
def test_sizes_double_up_to_the_largest(most: int, sizes: tuple[int, ...]) -> None:
    """The largest batch is among them, whatever it is."""
    assert sizes_up_to(most) == sizes


def test_a_stage_that_filters_everything_says_so() -> None:
    """Nothing can be measured behind it; what some items pass is measured with these."""
    app = App("odd", [Input(), odd_only, add_one])
    assert len(measure(app, [2, 3], plan(app, 4), seconds=SECONDS, progress=str)) == 2
    with pytest.raises(ProfileError, match="stage 'odd_only' filtered all 2 items: give --source"):
        measure(app, [2, 4], plan(app, 4), seconds=SECONDS, progress=str)


def test_a_stage_that_fails_is_named() -> None:
    """With its error, and what may help."""
    app = App("broken", [Input(), add_one, fail])
    with pytest.raises(ProfileError, match="stage 'fail' failed: ValueError: no such thing.*another input"):
        measure(app, [1], plan(app, 1), seconds=SECONDS, progress=str)


def test_an_app_of_the_device_alone_has_nothing_to_measure() -> None:
    """It is told in words."""
    with pytest.raises(ProfileError, match="'local' has no stage that a server can run"):
        plan(App("local", [Input(), double]), 4)


def test_a_profile_is_found_again_by_app_and_hardware(tmp_path: Path) -> None:
    """On other hardware, for another app, damaged or half written it is as if there were none."""
    app = App("half", [Input(), double, add_one])
    kept = profile_of(app, [Cell(2, "", 1, 0.002, 0.003, 10)])
    path = path_of(tmp_path / "new", kept.fingerprint, kept.host)
    save_profile(path, kept)
    assert load_profile(tmp_path / "new", app, "a host") == kept
    assert load_profile(tmp_path / "new", app, "another host") is None
    assert load_profile(tmp_path / "new", App("half", [Input(), double, add_one, odd_only]), "a host") is None
    save_profile(path, msgspec.structs.replace(kept, cells=(Cell(7, "", 1, 0.002, 0.003, 10),)))
    assert load_profile(tmp_path / "new", app, "a host") is None
    path.write_text('{"app": "half"')
    assert load_profile(tmp_path / "new", app, "a host") is None


def test_stretches_take_the_sum_of_their_stages() -> None:
    """A stage that runs one job after the other takes as many times its own; a size that one stage lacks is left out."""
    cells = [Cell(1, "", 1, 0.010, 0.01, 5), Cell(1, "", 4, 0.022, 0.03, 5), Cell(2, "", 1, 0.001, 0.01, 5), Cell(4, "", 1, 0.5, 0.5, 3)]
    found = {(start, stop, size): seconds for start, stop, _, size, seconds, _ in samples(profile_of(App("a", [Input(), add_one]), cells))}
    assert found == pytest.approx({
        (1, 2, 1): 0.010, (1, 2, 4): 0.022, (1, 3, 1): 0.011, (1, 3, 4): 0.026, (2, 3, 1): 0.001, (2, 3, 4): 0.004, (4, 5, 1): 0.5,
        (4, 5, 4): 2.0,
    })


def test_hardware_is_told_by_model_not_by_name(tmp_path: Path) -> None:
    """A container that starts anew has another name and the same processor."""
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Fast CPU 9000\n")
    assert hardware_words((), str(tmp_path / "cpuinfo")) == "Fast CPU 9000"
    assert hardware_words(("0", "1"), str(tmp_path / "cpuinfo")) == "Fast CPU 9000, 2 GPUs"
    assert hardware_words((), str(tmp_path / "nothing"))


def test_a_server_begins_with_what_was_measured() -> None:
    """Sizes between and beyond those measured follow the line through them; what batches showed already is kept."""
    latency = Latency()
    latency.learn(("a", 1, 2, "large"), 1, 0.5)
    measured = tuple((1, 2, variant, size, 0.010 + 0.002 * size, 0.0) for variant in ("small", "large") for size in (1, 2, 4, 8))
    foretell(latency, Profiled("a", measured))
    assert [latency.seconds(("a", 1, 2, "small"), size) for size in (1, 6, 16)] == pytest.approx([0.012, 0.022, 0.042], rel=0.02)
    assert latency.seconds(("a", 1, 2, "large"), 1) == pytest.approx(0.5)
    assert not latency.knows(("a", 1, 3, "small"))


def test_a_server_begins_with_the_slow_end_that_was_measured() -> None:
    """The margin is that of the profile, no less than a twentieth; of few runs nobody knows, and it is that for strangers."""
    cells = [
        Cell(1, variant, size, 0.010 * size, 0.010 * size * (1 + slow), runs)
        for variant, slow, runs in (("even", 0.0, 50), ("rough", 0.4, 50), ("few", 0.0, 3)) for size in (1, 2, 4)
    ]  # fmt: skip
    latency = Latency()
    foretell(latency, Profiled("a", tuple(samples(profile_of(App("a", [Input(), add_one]), cells)))))
    margins = {name: latency.tail(("a", 1, 2, name), 2) / latency.seconds(("a", 1, 2, name), 2) for name in ("even", "rough", "few")}
    assert margins == pytest.approx({"even": 1.05, "rough": 1.5, "few": 1.2}, abs=0.02)


def test_the_machine_takes_what_was_measured() -> None:
    """It asks for nothing in return, and the first jobs are judged by it."""
    machine = Scheduler(SchedulerConfig(server="s", epoch=1, apps={}))
    assert machine.handle(Profiled("a", ((1, 2, "", 1, 0.05, 0.0),)), 0.0) == []
    assert machine._dispatcher.latency.seconds(("a", 1, 2, ""), 1) == pytest.approx(0.05)


def test_of_a_race_the_clouds_are_measured() -> None:
    """Each of them that runs here, in batches where it takes several at once; not local, and nothing behind the race."""
    large, log = Halve(), list[str]()
    large.varies = False
    large.loaded = "large"
    clouds = (large, Named("slow", log), Named("lacking", log, requires=("gone",)))
    app = App("raced", [Input(), Speculative(Named("small", log), clouds), Named("draw", log)])
    what = plan(app, 4)
    assert what == Plan(("cloud", "cloud2"), {1: (1, 2, 4)})
    cells = measure(app, [8, 9], what, seconds=SECONDS, progress=log.append)
    assert [(cell.variant, cell.stage, cell.batch) for cell in cells] == [
        ("cloud", 1, 1), ("cloud", 1, 2), ("cloud", 1, 4), ("cloud2", 1, 1)
    ]
    assert large.seen == {"large": {1, 2, 4}}
    assert [line for line in log if "setup" in line or "close" in line] == ["setup slow", "close slow"]
