"""What a session tells its policy, and what a peer can do to it by that."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import Device, served
from tests.unit.moving import WAYS

from iot_client.events import Capture, Decided, HostSampled, RunStages
from iot_client.host_watch import HostWatch
from iot_client.session import Session
from iot_client.splitting.goal import Goal
from iot_client.splitting.policy import SteerConfig
from iot_client.splitting.steering import Auto
from wire.protocol import Plan, Welcome


def moving(goal: Goal | None = None, **options: Any) -> Device:
    """A device of four stages whose split moves, with a server since 0.0 s."""
    steer = SteerConfig(goal=goal or Goal(fps=20), ways=WAYS, available=1.0, cores=1.0)
    return served(4, 1, limit=10**6, steer=steer, **options)


def auto_of(device: Device) -> Auto:
    """The policy behind it."""
    guide = device.session.guide
    assert guide is not None and guide.auto is not None
    return guide.auto


def begun(commands: list[Any]) -> RunStages:
    """The run of a frame's first stages."""
    return next(command for command in commands if isinstance(command, RunStages))


def learn(device: Device, frames: int = 12) -> list[Decided]:
    """Let frames pass, each the way it is told to; 10 ms a stage here, 5 there. What was decided."""
    told: list[Decided] = []
    for seq in range(frames):
        now = 0.01 + seq * 0.1
        run = begun(device.capture(now))
        sizes = tuple((k, codec, 400 >> k, 1e-4) for k, codec in run.study or ())
        cpus = (0.01,) * run.stop if run.study is not None else ()
        spent = {"times": (0.01,) * run.stop, "cpu_s": 0.01 * run.stop, "cpus": cpus, "sizes": sizes, "nbytes": 400 >> run.stop}
        if run.stop == 4:
            spent.pop("nbytes")
        out = device.ran(seq, 0, run.stop, now + 0.04, **spent)
        if run.stop < 4:
            out += device.answered(seq, now + 0.06, start=run.stop, times_us=(5_000,) * (4 - run.stop))
        out += device.handle(HostSampled(1.0, 0.4, 1.0, 0.1), now + 0.07)
        told += [command for command in out if isinstance(command, Decided)]
    return told


def test_everything_has_a_price_within_the_first_dozen_frames() -> None:
    """Each stage here and there, and each cut's size; then the first decision is told as a command."""
    device = moving()
    told = learn(device)
    profile = auto_of(device).profile
    assert min(profile.cpu_s) >= 0.0 and min(profile.server_s[1:]) >= 0.0
    assert {k for k, codec in profile.sizes.measured if codec == "raw"} == {1, 2, 3}
    assert told and "starts with" in told[0].text


def test_it_looks_at_most_four_times_a_second() -> None:
    """However many events come, choices are a quarter of a second apart."""
    device = moving()
    learn(device)
    auto, dues = auto_of(device), set()
    for step in range(2000):
        device.handle(HostSampled(1.0, 0.4, 1.0, 0.001), 2.0 + step / 1000)
        dues.add(auto.due)
    assert len(dues) <= 2 * 4 + 2


def test_a_tick_nobody_asked_for_decides_nothing() -> None:
    """Choices follow from what is heard; time alone changes nothing."""
    device = moving()
    learn(device)
    auto = auto_of(device)
    due, decision = auto.due, auto.decision
    for step in range(3):
        assert not [command for command in device.tick(5.0 + step / 100) if isinstance(command, Decided)]
    assert (auto.due, auto.decision) == (due, decision)


def test_a_fixed_split_gives_the_commands_it_always_gave() -> None:
    """Without a goal there is no policy to guide, no study, and host samples change nothing."""
    device = served(4, 2)
    assert device.session.guide is None
    out = device.capture(1.0)
    assert begun(out) == RunStages(0, 0, 2, True, False, "raw", None)
    assert device.handle(HostSampled(1.0, 0.4, 1.0, 0.25), 1.1) == []
    assert Session(device.config).policy.heading(0.0).study is None


def test_a_server_that_names_no_workers_is_one_of_one() -> None:
    """Zero in a WELCOME is nothing to divide by."""
    device = moving()
    auto_of(device)
    device.hears(Welcome(1, "server", 10**9, 10**9, 500_000, 5_000_000, ("raw",), workers=0), 0.5)
    learn(device)
    assert auto_of(device).profile.costs(2.0).server_cpu > 0.0


@pytest.mark.parametrize(
    "odd", [{"start": 3, "times_us": (5_000,) * 9}, {"start": 900, "stop": 901, "times_us": (1,)}, {"start": 0, "times_us": (1,) * 1000}]
)
def test_times_of_stages_that_there_are_not_teach_nothing(odd: dict[str, Any]) -> None:
    """A RESULT with more times than stages breaks no loop and no price."""
    device = moving()
    learn(device)
    auto = auto_of(device)
    before = list(auto.profile.server_s)
    device.answered(77, 3.0, **odd)
    assert auto.profile.server_s == before


def test_codecs_the_server_cannot_read_are_no_ways() -> None:
    """What a WELCOME does not name is not sent; all local stays."""
    steer = SteerConfig(goal=Goal(fps=20), ways=(*WAYS, (1, "jpeg:80", 80), (1, "png", 100)))
    device = Device(4, 1, steer=steer)
    device.connect(0.0, codecs=("raw", "png"))
    assert {codec for _, codec, _ in auto_of(device).profile.keys} == {"raw", "png", ""}


def test_cuts_the_server_cannot_run_are_no_ways() -> None:
    """A stage it lacks bounds the cuts from below."""
    steer = SteerConfig(goal=Goal(fps=20), ways=WAYS)
    device = Device(4, 3, steer=steer)
    device.connect(0.0, lacks=(2,))
    assert {k for k, _, _ in auto_of(device).profile.keys} == {3, 4}


def test_setting_a_moving_split_by_hand_is_refused_in_words() -> None:
    """Two hands on one wheel: the user is told to give no goal."""
    device = moving()
    (note,) = [command.text for command in device.split(2, 1.0) if hasattr(command, "text")]
    assert "moves by itself" in note


def test_a_threshold_policy_counts_answers_and_tells_its_moves() -> None:
    """Four frames in three seconds are less than 10 fps: the split moves from 4 to 3, once, and says so."""
    steer = SteerConfig(policy="threshold", goal=Goal(fps=10), ways=WAYS)
    device = Device(4, 4, steer=steer, pivot=4)
    device.connect(0.0)
    told: list[Any] = []
    for seq in range(6):
        out = device.capture(float(seq))
        run = begun(out)
        told += out
        told += device.ran(seq, 0, run.stop, seq + 0.5)
        told += device.tick(seq + 0.6)
        told += device.pong(seq + 0.6, seq + 0.61)
        if run.stop < 4:
            break
    moves = [command for command in told if isinstance(command, Decided)]
    assert [(each.k2, each.moved) for each in moves] == [(3, True)]
    assert device.session.split == 3


# -- pace ------------------------------------------------------------------------------------------


def captures(device: Device, pace: float, start: float, seconds: float) -> list[float]:
    """When frames may enter while a loop turns every 5 ms and each is done at once."""
    stream, times = device.session.stream, []
    stream.pace, stream._permits = pace, 0
    for step in range(round(seconds / 0.005)):
        now = start + step * 0.005
        stream.permit(now)
        if any(type(command) is Capture for command in stream.out):
            times.append(now)
            stream._permits = 0
        stream.out.clear()
    return times


def test_frames_enter_at_the_pace() -> None:
    """At 20 a second and turns of 5 ms: 20 in each second, evenly."""
    times = captures(served(3), 20.0, 10.0, 3.0)
    assert len(times) == pytest.approx(60, abs=1)
    assert all(0.03 <= b - a <= 0.07 for a, b in zip(times[1:], times[2:]))


def test_a_pause_is_not_made_up_for() -> None:
    """After five seconds in which nothing entered there is no burst."""
    device = served(3)
    captures(device, 20.0, 10.0, 1.0)
    times = captures(device, 20.0, 16.0, 1.0)
    assert len(times) <= 22 and times[3] - times[0] >= 0.09


def test_a_higher_pace_counts_at_once() -> None:
    """Who waited for a frame in ten seconds does not go on waiting when ten a second may enter."""
    device = served(3)
    captures(device, 0.1, 10.0, 1.0)
    times = captures(device, 10.0, 11.0, 1.0)
    assert len(times) >= 9


def test_a_loop_wakes_for_the_next_frame_that_may_enter() -> None:
    """With a pace, the session asks to be woken; without one it does not."""
    device = served(3)
    captures(device, 20.0, 10.0, 0.1)
    due = device.session.stream.next_wakeup()
    assert due is not None and 10.05 < due < 10.2
    device.session.stream.pace = 0.0
    assert device.session.stream.next_wakeup() is None


# -- the host --------------------------------------------------------------------------------------


def test_a_watch_that_is_not_wanted_does_nothing() -> None:
    """A fixed split pays for no sampling thread, and nothing bounds it."""
    watch = HostWatch(False)
    watch.start(lambda event: pytest.fail("sampled"))
    watch.stop()
    assert watch.available == float("inf") and watch.cores >= 1.0
    assert 0.0 < HostWatch(True).available < float("inf")


def test_an_allowance_moves_the_split_at_once() -> None:
    """At 40 fps the device needs the server; told that it may use nothing of it, it keeps its frames, and told otherwise it sends again."""
    device = moving(Goal(fps=40))
    learn(device, 16)
    auto = auto_of(device)
    decided = [auto.decision]
    for now, allowance in ((2.0, 0.0), (4.0, 1e9)):
        for step in range(8):
            device.hears(Plan("", allowance), now + step / 4)
        decided.append(auto.decision)
    assert [each is not None and each.prediction.server_s > 0.0 for each in decided] == [True, False, True]
    assert decided[1] is not None and not decided[1].met
