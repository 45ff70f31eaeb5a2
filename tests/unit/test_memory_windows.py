"""How far a session's credit reaches before it asks: windows grow with use, so that those who come later find room."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.unit.memory_crowd import Camera, Crowd
from tests.unit.test_memory import FIRST, arrive, crowd, hoard, make

from cloud_server.shares.memory import Account, Memory


def test_a_window_grows_twofold_each_time_all_of_it_was_used() -> None:
    """A mebibyte, two, four: but not at a second ask of a device that has not yet used what the first one gave."""
    memory = Memory(512 * FIRST, 32 * FIRST, 16 * FIRST)
    for account in crowd(memory, 4):
        account.raise_limit(31 * FIRST)
    late = Account(9, memory)
    late.link()
    assert late.window == late.limit == FIRST
    late.reconcile(0, wants=FIRST)
    assert (late.window, late.announce()) == (2 * FIRST, 2 * FIRST)
    late.reconcile(FIRST // 2, wants=FIRST)
    assert late.window == 2 * FIRST
    late.reconcile(2 * FIRST, wants=FIRST)
    assert late.window == 4 * FIRST


def test_what_a_window_is_wider_than_its_share_does_not_grow() -> None:
    """Of ten devices each may have six mebibytes: who always has them here is given at most twice that once others have gone."""
    memory = Memory(64 * FIRST, 32 * FIRST, 4 * FIRST)
    accounts = crowd(memory, 10)
    hoard(accounts[0], 16 * FIRST)
    device = accounts[1]
    for _ in range(8):
        arrive(device, device.unused)
        device.keep(-device.kept)
        device.reconcile(device.received, wants=FIRST)
    assert (memory.share, device.unused, device.window) == (6 * FIRST, 6 * FIRST, 12 * FIRST)


def test_where_little_is_in_use_who_sends_has_its_share_at_once() -> None:
    """One device of few: after the first mebibyte its limit rises to its share, and it is told at every half of that."""
    account = make(512 * FIRST, 32 * FIRST, 16 * FIRST)
    assert account.limit == FIRST
    for _ in range(3):  # the next one fits as well: its share is told because half of what it has is used
        arrive(account, FIRST // 4)
        account.keep(-FIRST // 4)
    assert account.grant() == 32.75 * FIRST


def test_a_window_follows_what_comes_in_a_second() -> None:
    """It is what came or is here, at most twice that, and never less than a first limit; of less than a second nothing is said."""
    memory = Memory(512 * FIRST, 32 * FIRST, 16 * FIRST)
    account = crowd(memory, 1)[0]
    account.raise_limit(32 * FIRST)
    account.window = 32 * FIRST
    windows = []
    for came, stays in ((1, 0), (4, 0), (12, 0), (0, 0), (5, 5), (0, 5), (0, 0)):
        if came:
            arrive(account, came * FIRST)
        account.keep(stays * FIRST - account.kept)
        account.follow()
        windows.append(account.window // FIRST)
    assert windows == [32, 8, 12, 1, 10, 10, 1]


def test_who_cannot_ask_keeps_the_window_he_has() -> None:
    """It is as wide as any may be, whatever came in a second: nobody would widen it again."""
    memory = Memory(512 * FIRST, 32 * FIRST, 16 * FIRST)
    account = Account(0, memory)
    account.link(asks=False)
    for _ in range(3):
        account.follow()
    assert account.window == 32 * FIRST


def test_the_last_eighth_is_for_next_jobs_and_first_limits() -> None:
    """Of 800 bytes one device has 700: its window may be wider, but no more is granted until its next job needs it."""
    memory = Memory(900, 800, 100)
    account = Account(0, memory)
    account.link()
    account.raise_limit(700 - account.limit)
    account.window = 800
    assert memory.grant(account) == 0
    arrive(account, 700)
    account.need = 60
    assert memory.grant(account) == 60


def test_while_several_wait_each_gets_no_more_than_its_next_job() -> None:
    """Two wait for 50 bytes, and have wide windows, which asking again makes no wider: the first gets 50, the second, who is alone in
    line then, what is free."""
    memory = Memory(1700, 1600, 100)
    hog, one, two = crowd(memory, 3)
    hoard(hog, 1600 - memory.used)
    for account in (one, two):
        arrive(account, account.unused)
        account.window, account.need = 400, 50
        account.announce()
        account.reconcile(account.received, wants=50)
    assert (one.window, two.window) == (400, 400)
    hog.keep(-400)
    assert memory.serve() == [one, two]
    assert (one.unused, two.unused) == (50, 150)


# -- on virtual time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [300, 1000])
def test_hundreds_that_come_later_all_have_an_answer_within_a_second(count: int) -> None:
    """Under the default cap, 100 ms away: 15 that came first and had all they could use, then all others in 0.3 s; nobody waits for
    memory then, and nobody is without an answer for longer than between two of its frames and twice the way."""
    memory = Memory(512 * 2**20, 32 * 2**20, 16 * 2**20)
    cameras = [
        Camera(number, 0.01 * number if number < 15 else 1.5 + 0.3 * number / count, 50_000, fps=2.5, rate=3e6, trip=0.1)
        for number in range(count)
    ]
    devices = Crowd(memory, cameras, speed=400e6)
    devices.run(2.5)
    assert max(camera.done[0] - camera.starts for camera in cameras) < 0.3
    assert max(after - before for camera in cameras for before, after in pairwise(camera.done)) < 0.6
    assert not memory.waiting and devices.most_used < memory.cap - memory.largest


def test_who_sends_as_fast_as_it_can_makes_room_for_hundreds() -> None:
    """15 devices keep the server and its memory full; 285 that come then have each an answer in a second."""
    memory = Memory(512 * 2**20, 32 * 2**20, 16 * 2**20)
    cameras = [Camera(number, 0.01 * number, 10**6, rate=125e6) for number in range(15)]
    cameras += [Camera(number, 1.0 + 0.001 * number, 100_000, fps=5.0, rate=3e6) for number in range(15, 300)]
    devices = Crowd(memory, cameras, speed=400e6)
    devices.run(1.0)
    assert memory.used > 0.8 * memory.cap
    devices.run(2.3)
    assert max(camera.done[0] - camera.starts for camera in cameras[15:]) < 1.0


@pytest.mark.parametrize(("nbytes", "rate", "trip"), [(10**6, 125e6, 0.001), (10**6, 125e6, 0.2), (50_000, 12.5e6, 0.05)])
def test_one_alone_is_as_fast_as_with_all_credit_at_once(nbytes: int, rate: float, trip: float) -> None:
    """After the first round trip; large frames on a fast link, also far away, and small ones on a slow link."""
    done = []
    for window in (0, 32 * 2**20):
        memory = Memory(512 * 2**20, 32 * 2**20, 16 * 2**20)
        camera = Camera(0, 0.0, nbytes, rate=rate, trip=trip)
        devices = Crowd(memory, [camera], speed=500e6)
        if window:
            memory.first = window
        devices.run(3.0)
        done.append(sum(time > 0.5 for time in camera.done))
    assert done[0] >= 0.99 * done[1] > 0
