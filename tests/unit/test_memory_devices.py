"""Memory by device: the sessions of one, each with an account, have one share together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_server.shares.memory import Account, Memory


def arrive(account: Account, nbytes: int) -> None:
    """A SUBMIT arrives within credit and its job begins."""
    assert not account.receive(nbytes)
    account.keep(nbytes)


def test_the_sessions_of_one_device_have_one_share() -> None:
    """Two of one beside two others: a third of the memory for each device; together the two have no more than that, evenly."""
    memory = Memory(3500, 10_000, 500)
    first, second, *others = (Account(number, memory) for number in range(4))
    second.join((first,))
    for account in (first, second, *others):
        account.link()
    assert (memory.live, memory.share) == (3, 1000)
    first.need = second.need = 10
    for _ in range(20):
        for account in (first, second):
            account.receive(account.unused)
            account.announce()
    assert (first.charge, second.charge) == (500, 500) and all(other.share == 1000 for other in others)


def test_what_one_session_leaves_of_its_devices_share_the_other_may_have() -> None:
    """And gives it back as its jobs end, once the other has use for it."""
    memory = Memory(10_000, 1000, 500)
    first, second = (Account(number, memory) for number in range(2))
    second.join((first,))
    first.link()
    arrive(first, 1000)
    assert first.share == memory.share == 1000
    second.link()
    assert (memory.share, first.share, second.share, second.limit) == (1000, 500, 500, 500)
    arrive(second, 400)
    first.keep(-1000)
    assert (first.announce(), first.charge, second.share) == (1500, 500, 500)


LINKS = st.lists(st.tuples(st.sampled_from(["link", "unlink", "join", "part"]), st.integers(0, 5)), max_size=60)


@given(LINKS)
def test_devices_with_a_link_are_counted_whatever_joins_and_parts(steps: list[tuple[str, int]]) -> None:
    """Accounts 0 to 2 may be one device's, 3 to 5 another's; `live` is how many devices have a link."""
    memory = Memory(10_000, 1000, 500)
    accounts = [Account(number, memory) for number in range(6)]
    devices: list[set[int]] = [{number} for number in range(6)]
    for what, number in steps:
        account, mine = accounts[number], next(device for device in devices if number in device)
        if what == "link":
            account.link()
        elif what == "unlink":
            account.unlink()
        elif what == "part":
            account.part()
            mine.discard(number)
            devices.append({number})
        elif len(mine) == 1:
            other = next(device for device in devices if 3 * (number // 3) in device)
            if other is not mine:
                account.join(tuple(accounts[each] for each in other))
                other.add(number)
                devices.remove(mine)
        assert memory.live == sum(any(accounts[each].linked for each in device) for device in devices)
