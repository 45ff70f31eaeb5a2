"""Several servers on one thread: what each link holds back, and what ends the one sleep for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from iot_client.servers.links import Links
from wire.inbox import Inbox
from wire.zmq_channel import ZmqChannel, ZmqListener

SOON = 20.0


class Hosts:
    """Two listeners, and the links to them; all on this thread."""

    def __init__(self) -> None:
        self.inbox: Inbox[str] = Inbox()
        self.links = Links()
        self.listeners = [ZmqListener("127.0.0.1", 0, 2**20) for _ in range(2)]
        for listener in self.listeners:
            self.links.add(ZmqChannel(f"tcp://127.0.0.1:{listener.port}", 2**20))
        self.up: set[int] = set()

    def rest(self, timeout: float) -> float:
        """One sleep of the loop; how long it took."""
        before = time.monotonic()
        if self.inbox.arm():
            self.links.wait(self.inbox, timeout)
        for link in self.links.all:
            self.up |= {link.index for change in link.channel.changes() if change.up}
        return time.monotonic() - before

    def meet(self) -> None:
        """Until both links stand and both listeners have heard from theirs."""
        until = time.monotonic() + SOON
        while self.up != {0, 1}:
            assert time.monotonic() < until, self.up
            self.rest(0.5)
        self.peers = [self.hear(index, b"hello from %d" % index) for index in (0, 1)]

    def hear(self, index: int, text: bytes) -> bytes:
        """Send this on one link; who it was, as its listener sees it."""
        self.links.all[index].outbox.append([text])
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            self.links.flush()
            came = self.listeners[index].receive()
            if came is not None:
                assert list(came[1]) == [text]
                return came[0]
        raise AssertionError(f"{text!r} did not arrive")

    def close(self) -> None:
        self.links.close()
        self.inbox.close()
        for listener in self.listeners:
            listener.close()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    made.close()


def test_every_link_comes_to_stand_in_one_sleep_for_all(hosts: Hosts) -> None:
    """Each server hears what is sent to its index, and no other's."""
    hosts.meet()
    assert hosts.hear(1, b"only you") == hosts.peers[1]
    assert hosts.listeners[0].receive() is None


@pytest.mark.parametrize("index", [0, 1])
def test_a_message_of_any_server_ends_the_sleep(hosts: Hosts, index: int) -> None:
    """Of the second as of the first, long before the time is up."""
    hosts.meet()
    assert hosts.listeners[index].send(hosts.peers[index], [b"wake up"])
    until, came = time.monotonic() + SOON, None
    while came is None and time.monotonic() < until:
        hosts.rest(SOON)
        came = hosts.links.all[index].channel.receive()
    assert came is not None and list(came) == [b"wake up"] and time.monotonic() < until
    assert hosts.links.all[1 - index].channel.receive() is None


def test_the_inbox_ends_the_sleep(hosts: Hosts) -> None:
    """What other threads put there wakes the loop however many servers it listens to."""
    hosts.meet()
    assert hosts.inbox.arm()
    hosts.inbox.put("something")
    before = time.monotonic()
    hosts.links.wait(hosts.inbox, SOON)
    assert time.monotonic() - before < SOON / 2 and list(hosts.inbox.items) == ["something"]


def test_a_server_that_is_not_there_holds_back_its_own_messages_only(hosts: Hosts) -> None:
    """Its outbox waits; what is for the other one leaves, and a link that begins anew begins empty."""
    hosts.links.add(ZmqChannel("tcp://127.0.0.1:9", 2**20))
    hosts.meet()
    hosts.links.all[2].outbox.append([b"for nobody"])
    assert hosts.hear(1, b"as ever") == hosts.peers[1]
    assert [len(link.outbox) for link in hosts.links.all] == [0, 0, 1]
    hosts.links.all[2].reopen(0.0)
    assert not hosts.links.all[2].outbox


def test_without_servers_there_is_only_the_inbox() -> None:
    """A device that runs alone sleeps until somebody puts something, or its time is up."""
    inbox: Inbox[str] = Inbox()
    assert inbox.arm()
    before = time.monotonic()
    Links().wait(inbox, 0.01)
    assert time.monotonic() - before >= 0.009
    inbox.close()
