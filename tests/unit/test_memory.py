"""Credit to the byte, for one device and for all: shares, who is next, what is taken back, and what is left for the first in line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud_server.shares.memory import Account, Memory

CREDIT, LARGEST = 1000, 500
FIRST = 2**20


def make(cap: int = 10_000, most: int = CREDIT, largest: int = LARGEST) -> Account:
    """The account of a session just welcomed, in a memory of its own."""
    account = Account(7, Memory(cap, most, largest))
    account.link()
    return account


def arrive(account: Account, nbytes: int) -> None:
    """A SUBMIT arrives within credit and its job begins."""
    assert not account.receive(nbytes)
    account.keep(nbytes)


def crowd(memory: Memory, count: int) -> list[Account]:
    """So many sessions, linked one after the other."""
    accounts = [Account(number, memory) for number in range(count)]
    for account in accounts:
        account.link()
    return accounts


def hoard(account: Account, nbytes: int) -> None:
    """It was granted so much more, and all it has is here."""
    account.raise_limit(nbytes)
    arrive(account, account.unused)


# -- one device ----------------------------------------------------------------------------------------


def test_a_payload_up_to_the_limit_is_within_credit_and_a_byte_more_is_not() -> None:
    """The limit counts all bytes since WELCOME."""
    account = make()
    assert account.limit == CREDIT
    assert account.receive(600) == 0
    assert account.receive(400) == 0
    assert account.receive(1) == 1


def test_a_limit_that_was_not_told_does_not_count() -> None:
    """A device can only keep to what it knows: freed bytes are credit once they are announced."""
    account = make()
    arrive(account, 1000)
    account.keep(-1000)
    assert account.receive(1) == 1
    account = make()
    arrive(account, 1000)
    account.keep(-1000)
    assert account.announce() == 2000
    assert account.receive(1000) == 0


def test_a_new_limit_is_told_when_half_the_window_is_free_or_the_next_job_would_not_fit() -> None:
    """At 400 bytes freed it is not worth a message, at 500 it is; so is any byte for which a job waits."""
    account = make()
    for nbytes in (400, 100, 300, 1):
        arrive(account, nbytes)
    grants = []
    for nbytes in (400, 100, 300):
        account.keep(-nbytes)
        grants.append(account.grant())
    assert grants == [0, 1500, 0]
    account.need = 700 + 1
    account.keep(-1)
    assert account.grant() == 0, "a job is at most the largest"
    arrive(account, 400)
    account.need = 500
    assert account.missing == 201
    account.keep(-400)
    assert account.grant() == 2201


def test_bytes_the_link_lost_are_given_back() -> None:
    """The device says it sent 700, 300 came: the 400 lost hold nothing here, so the limit grows by 400, once."""
    account = make()
    arrive(account, 300)
    account.reconcile(700)
    assert account.announce() == 1400
    account.reconcile(700)
    account.reconcile(0)
    assert account.announce() == 1400


def test_a_new_link_counts_anew_and_takes_off_what_is_still_here() -> None:
    """Two jobs of 300 bytes run on: the first limit of the new link is 400, and 1,000 when they are done."""
    account = make()
    arrive(account, 300)
    arrive(account, 300)
    assert account.link() == 400
    account.keep(-600)
    assert account.announce() == 1000


def test_answers_nobody_acks_stop_the_credit_but_never_the_next_job() -> None:
    """900 bytes of results held leave 100; all of it held, a job of 500 still gets through, alone."""
    account = make()
    for _ in range(2):
        arrive(account, 500)
        account.keep(-500)
        account.hold(450)
    assert account.announce() - account.received == 500, "the size of its next job"
    arrive(account, 500)
    assert account.announce() == account.received, "one at a time"
    account.keep(-500)
    account.hold(-900)
    assert account.announce() - account.received == CREDIT


@given(st.lists(st.tuples(st.sampled_from(["send", "lose", "finish", "ping", "rebind"]), st.integers(1, 400)), max_size=60))
def test_an_honest_device_never_fills_more_than_its_credit_and_never_runs_dry(steps: list[tuple[str, int]]) -> None:
    """Whatever is sent, lost, finished and reconnected: the bytes here stay within the credit, all that an honest device
    sends is within its limit, and once all is done and settled the whole credit is free again."""
    account = make()
    sent, limit = 0, CREDIT
    jobs: list[int] = []
    for what, nbytes in steps:
        if what in ("send", "lose") and sent + nbytes <= limit:
            sent += nbytes
            if what == "send":
                arrive(account, nbytes)
                jobs.append(nbytes)
        elif what == "finish" and jobs:
            account.keep(-jobs.pop())
            limit = account.grant() or limit
        elif what == "ping":
            account.reconcile(sent)
            limit = account.announce()
        elif what == "rebind":
            sent, limit = 0, account.link()
        assert account.kept == sum(jobs) <= CREDIT
    account.keep(-sum(jobs))
    account.reconcile(sent)
    assert account.announce() - sent == CREDIT


# -- all together --------------------------------------------------------------------------------------


def test_what_is_free_is_shared_among_the_live() -> None:
    """4,000 bytes and 500 kept back: 3,500 for one, at most 2,000; 875 each for four; a link that breaks counts no more."""
    memory = Memory(4000, 2000, 500)
    accounts = crowd(memory, 4)
    assert memory.share == 875
    for account in accounts[1:]:
        account.unlink()
    assert (memory.live, memory.share) == (1, 2000)


def test_newcomers_get_what_is_left_and_the_rest_when_others_have_used_theirs() -> None:
    """The first took all it may have; as its jobs end its limit stays until it is down to its share."""
    memory = Memory(2500, 2000, 500)
    early, late = Account(0, memory), Account(1, memory)
    assert early.link() == 500
    hoard(early, 1500)
    assert late.link() == 0
    late.reconcile(0, wants=400)
    assert late.announce() == 400, "what is kept back serves who has nothing here"
    arrive(late, 400)
    early.keep(-400)
    assert early.grant() == 0, "at 1,600 it is above its share of 1,000"
    late.keep(-400)
    assert memory.grant(late) == 400
    assert memory.used == 2000


def test_the_first_to_ask_is_the_first_to_get() -> None:
    """Two wait; what becomes free goes to the first, even if the second needs less."""
    memory = Memory(3000, 2000, 1000)
    hog, other, large, small = crowd(memory, 4)
    hoard(hog, 2000 - memory.used)
    for account, need in ((other, 1000), (large, 1000), (small, 300)):
        account.need = need
        account.announce()
    arrive(other, 1000)
    assert list(memory.waiting) == [2, 3]
    assert memory.serve() == []
    hog.keep(-359)
    assert memory.serve() == []
    other.keep(-1000)
    assert memory.serve() == [large], "from what is kept back, which is for one at a time"
    arrive(large, 1000)
    assert memory.serve() == []
    large.keep(-1000)
    assert memory.serve() == [small]


def test_who_comes_later_does_not_pass_though_there_is_room_for_it() -> None:
    """The first in line needs 750 bytes more and 700 are free: the second, which needs 113, waits behind it."""
    memory = Memory(4000, 4000, 1000)
    hog, other, large, small = crowd(memory, 4)
    hoard(hog, 3000 - memory.used)
    for account, need in ((other, 1000), (large, 1000), (small, 300)):
        account.need = need
        account.announce()
    arrive(other, 1000)
    hog.keep(-1325)
    assert memory.cap - memory.largest - memory.used == 700
    assert list(memory.waiting) == [2, 3]
    assert (large.missing, small.missing) == (750, 113)
    assert memory.serve() == []
    assert memory.grant(small) == 0


def test_what_idle_sessions_do_not_use_is_taken_back_for_who_waits() -> None:
    """Three sessions hold limits they do not use; only as many are asked for as the first in line needs, the richest first,
    and none that was fed in the last second."""
    memory = Memory(9 * FIRST, 8 * FIRST, FIRST)
    accounts = crowd(memory, 3)
    for account, more in zip(accounts, (FIRST, 3 * FIRST, FIRST // 2)):
        account.raise_limit(more)
    late = Account(3, memory)
    late.link()
    hoard(late, 0)
    late.reconcile(late.received, wants=FIRST)
    late.announce()
    assert list(memory.waiting) == [3]
    fed = [(0.0, account) for account in [*accounts, late]]
    assert memory.recalled(fed, 0.9) == []
    recalled = memory.recalled(fed, 1.0)
    assert recalled == [accounts[1]]
    for account in recalled:
        account.unlink()
    assert memory.serve() == [late]
    assert memory.recalled(fed, 1.0) == []


def test_who_holds_more_than_it_sends_in_four_seconds_is_no_better_than_idle() -> None:
    """One was granted four times a first limit and sends a hundredth of one a second; it loses that once others wait."""
    memory = Memory(9 * FIRST, 8 * FIRST, FIRST)
    trickle, other = crowd(memory, 2)
    trickle.raise_limit(3 * FIRST)
    other.raise_limit(4 * FIRST)
    for _ in range(2):
        arrive(trickle, FIRST // 100)
        arrive(other, FIRST)
        for account in (trickle, other):
            account.follow()
    late = Account(3, memory)
    late.link()
    arrive(late, late.unused)
    late.reconcile(late.received, wants=FIRST)
    late.announce()
    assert list(memory.waiting) == [3]
    assert memory.recalled([(1.0, account) for account in (trickle, other, late)], 1.0) == [trickle]


def test_a_session_that_ends_leaves_nothing() -> None:
    """Its charges and its place in line are gone."""
    memory = Memory(3000, 2000, 1000)
    accounts = crowd(memory, 3)
    for account in accounts:
        arrive(account, account.unused)
        account.hold(10)
        account.need = 500
        account.announce()
        account.end()
    assert (memory.used, memory.live, memory.waiting) == (0, 0, {})


STEPS = st.tuples(st.sampled_from(["link", "break", "send", "finish", "ack", "ask"]), st.integers(0, 5), st.integers(1, 500))


@example([("link", 0, 1), ("link", 2, 1), ("link", 3, 1), ("link", 1, 1), ("ask", 1, 1), ("link", 2, 1), ("link", 1, 1), ("ask", 2, 376)])
@given(st.lists(STEPS, max_size=120))
def test_all_together_stay_under_the_cap_and_somebody_can_always_go_on(steps: list[tuple[str, int, int]]) -> None:
    """Six devices come, go, send within their limits, and ack late: the sum of all charges stays under the cap, no limit
    shrinks; and once no job is here any more, whoever is first in line gets what it needs."""
    memory = Memory(2000, 1000, 500)
    accounts = [Account(number, memory) for number in range(6)]
    jobs: dict[int, list[int]] = {number: [] for number in range(6)}
    for what, number, nbytes in steps:
        account, limit = accounts[number], accounts[number].limit
        if what == "link":
            account.link()
        elif what == "break":
            account.unlink()
        elif what == "send" and nbytes <= account.unused:
            arrive(account, nbytes)
            jobs[number].append(nbytes)
        elif what == "finish" and jobs[number]:
            done = jobs[number].pop()
            account.keep(-done)
            account.hold(done)
        elif what == "ack":
            account.hold(-account.held)
        elif what == "ask" and account.linked:
            account.need = nbytes
            account.announce()
        memory.serve()
        assert memory.used == sum(each.charge for each in accounts) <= memory.cap
        assert what == "link" or account.limit >= limit
    for account in accounts:
        account.keep(-account.kept)
    first = next(iter(memory.waiting.values()), None)
    if first is not None and memory.used <= memory.cap - memory.largest:
        assert first in memory.serve()


@pytest.mark.parametrize("count", [1, 8, 40])
def test_who_always_wants_more_gets_at_least_half_a_fair_share(count: int) -> None:
    """Devices with frames of a sixteenth of the cap fill whatever they get, and one job ends at a time in turns."""
    cap, frame = 2**20, 2**16
    memory = Memory(cap, cap, frame)
    accounts = crowd(memory, count)
    served = [0] * count
    jobs: list[tuple[int, int]] = []
    for _ in range(40 * count):
        for number, account in enumerate(accounts):
            account.need = frame
            account.announce()
            while account.unused >= frame:
                arrive(account, frame)
                jobs.append((number, frame))
        number, nbytes = jobs.pop(0)
        served[number] += nbytes
        accounts[number].keep(-nbytes)
        memory.serve()
        assert memory.used <= cap
    assert min(served) >= 0.5 * sum(served) / count


def test_answers_larger_than_the_cap_cannot_stop_everybody() -> None:
    """One device lost the link with 6,000 bytes of answers held, where 2,000 are the cap: nobody has room, but it gets
    credit for the job that lets it go on, past the first in line; when it has acked, the first is served."""
    memory = Memory(2000, 1000, 500)
    rich, poor = crowd(memory, 2)
    arrive(rich, rich.unused)
    rich.keep(-rich.kept)
    rich.hold(6000)
    rich.link()
    poor.link()
    for account in (poor, rich):
        account.need = 100
        account.announce()
    assert list(memory.waiting) == [1]
    assert rich.unused == 100
    assert memory.serve() == []
    arrive(rich, 100)
    rich.keep(-100)
    rich.hold(-6000)
    assert memory.serve() == [poor]
