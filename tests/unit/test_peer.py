"""One server as the device sees it: the table of docs/protocol.md, cell by cell."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.unit.device import EPOCH, HELLO, SESSION, Device, hello, welcome

from iot_client.events import Command, MessageReceived, Note, Refuse, Reopen, SendMessage
from iot_client.servers.peer import DOWN, PROBING, REFUSED, UP, Peer, PeerConfig
from wire.protocol import Bundle, Bye, Cancel, Credit, Error, Message, Ping, Plan, Pong, Result, Skip, State, Submit

STATES = (DOWN, PROBING, UP, REFUSED)

IGNORED_UNLESS_UP: dict[str, Message] = {
    "RESULT": Result(5, "done", 1, 3), "CREDIT": Credit(2000), "PONG": Pong(0, 0, 0.5, 2000), "PLAN": Plan("small", 0.1),
    "STATE": State(1, 1, 1), "BYE": Bye("stopping"), "HELLO": HELLO, "PING": Ping(0), "CANCEL": Cancel(0), "SKIP": Skip(0),
    "SUBMIT": Submit(0, 1, 2),
}


def device_in(state: str) -> Device:
    """A device without frames whose peer is in `state` since 0.0 s."""
    device = Device()
    if state != DOWN:
        device.link_up(0.0)
    if state == UP:
        device.hears(welcome(), 0.0)
        device.tick(0.0)  # the first PING
    if state == REFUSED:
        device.refused(0.0)
    return device


def outcome(state: str, event: Callable[[Device], list[Command]]) -> tuple[str, list[str]]:
    """The state after the event, and what kinds of commands it caused, permits left out."""
    device = device_in(state)
    commands = event(device)
    assert device.session.peer is not None
    names = [type(command.message if type(command) is SendMessage else command).__name__ for command in commands]
    return device.session.peer.state, [name for name in names if name != "Capture"]


def heard(message: Message, epoch: int = EPOCH, session: int = SESSION) -> Callable[[Device], list[Command]]:
    """The event that the server says something, 1 s after the state began."""
    return lambda device: device.handle(MessageReceived(message, session, epoch), 1.0)


@pytest.mark.parametrize(("state", "then"), [
    (DOWN, (PROBING, ["Hello"])), (PROBING, (PROBING, ["Hello"])), (UP, (PROBING, ["Hello"])), (REFUSED, (REFUSED, [])),
])
def test_a_link_that_comes_up_is_greeted(state: str, then: tuple[str, list[str]]) -> None:
    """HELLO comes first on every link; a server that was given up is left alone."""
    assert outcome(state, lambda device: device.link_up(1.0)) == then


@pytest.mark.parametrize(("state", "then"), [
    (DOWN, (DOWN, [])), (PROBING, (DOWN, [])), (UP, (DOWN, ["Note"])), (REFUSED, (REFUSED, [])),
])
def test_a_link_that_breaks_is_down(state: str, then: tuple[str, list[str]]) -> None:
    """Only the loss of a server that served is news."""
    assert outcome(state, lambda device: device.link_down(1.0)) == then


@pytest.mark.parametrize(("state", "then"), [
    (DOWN, (DOWN, [])), (PROBING, (UP, [])), (UP, (UP, [])), (REFUSED, (REFUSED, [])),
])
def test_a_welcome_makes_it_up(state: str, then: tuple[str, list[str]]) -> None:
    """WELCOME is taken when HELLO was said; without a link, or from a server given up, it means nothing."""
    assert outcome(state, heard(welcome())) == then


def test_of_two_answers_to_a_greeting_said_twice_the_second_grants() -> None:
    """The server counts from the second HELLO on: what it granted before is granted no more, and what was sent since counts."""
    device = device_in(UP)
    assert device.session.peer is not None
    granted = device.session.peer.limit
    device.session.peer.sent = 70
    device.hears(msgspec.structs.replace(welcome(), limit=50), 0.1)
    assert (device.session.peer.limit, device.session.peer.sent) == (50, 70) and granted > 50


@pytest.mark.parametrize("name", IGNORED_UNLESS_UP)
@pytest.mark.parametrize("state", [DOWN, PROBING, REFUSED])
def test_nothing_else_counts_before_the_welcome(state: str, name: str) -> None:
    """Whatever is not WELCOME or ERROR is ignored unless the session stands."""
    assert outcome(state, heard(IGNORED_UNLESS_UP[name])) == (state, [])


@pytest.mark.parametrize("name", [name for name in IGNORED_UNLESS_UP if name != "BYE"])
def test_no_message_of_a_server_that_is_up_asks_for_anything_when_no_frame_is_there(name: str) -> None:
    """Answers to nothing, kinds for later versions and messages only a device may send are ignored."""
    assert outcome(UP, heard(IGNORED_UNLESS_UP[name])) == (UP, [])


def test_a_bye_opens_another_link() -> None:
    """A server that ends the session is tried again later, on a new link."""
    assert outcome(UP, heard(Bye("stopping"))) == (DOWN, ["Note", "Reopen"])


@pytest.mark.parametrize(("reason", "told"), [("stopping", "stopping"), ("", "no reason given")])
def test_why_a_server_left_is_told(reason: str, told: str) -> None:
    """In its own words, if it has any."""
    assert device_in(UP).hears(Bye(reason), 1.0) == [Note("info", f"server said goodbye: {told}"), Reopen()]


@pytest.mark.parametrize(("state", "then"), [
    (DOWN, (DOWN, [])), (PROBING, (PROBING, ["Hello"])), (UP, (PROBING, ["Hello"])), (REFUSED, (REFUSED, [])),
])
def test_a_server_that_forgot_us_is_greeted_again(state: str, then: tuple[str, list[str]]) -> None:
    """ERROR(hello_required) is answered by HELLO, in whatever epoch it comes."""
    assert outcome(state, heard(Error("hello_required", "who?"), epoch=EPOCH + 1)) == then


def test_a_greeting_on_its_way_is_not_repeated() -> None:
    """Many ERROR(hello_required), one for each message in flight, cause one HELLO in a quarter of a second."""
    device = device_in(UP)
    lost = Error("hello_required", "who?")
    assert device.hears(lost, 1.0) == [hello()]
    assert device.hears(lost, 1.24) == []
    assert device.hears(lost, 1.25) == [hello()]


@pytest.mark.parametrize("code", ["version", "unknown_app", "fingerprint", "codec"])
@pytest.mark.parametrize(("state", "then"), [
    (DOWN, (DOWN, [])), (PROBING, (REFUSED, ["Refuse"])), (UP, (REFUSED, ["Refuse"])), (REFUSED, (REFUSED, [])),
])
def test_a_server_that_cannot_serve_is_given_up(state: str, then: tuple[str, list[str]], code: str) -> None:
    """These codes are for good; the user is told once, with the server's code and words."""
    assert outcome(state, heard(Error(code, "no"), epoch=0)) == then


def test_a_refusal_carries_the_servers_words() -> None:
    """Code and text reach the user as they came."""
    device = device_in(PROBING)
    assert device.hears(Error("fingerprint", "a1 here, b2 there"), 0.1) == [Refuse("fingerprint", "a1 here, b2 there")]


@pytest.mark.parametrize("code", ["unsupported", "oversize", "credit", "protocol", "busy", "shutdown"])
@pytest.mark.parametrize(("state", "told"), [(DOWN, []), (PROBING, ["Note"]), (UP, ["Note"]), (REFUSED, [])])
def test_other_errors_are_told_to_the_user(state: str, told: list[str], code: str) -> None:
    """They change nothing."""
    assert outcome(state, heard(Error(code, "no"))) == (state, told)


@pytest.mark.parametrize("message", [welcome(), Error("fingerprint", "no"), Bye(), Result(0, "done", 1, 3)], ids=repr)
@pytest.mark.parametrize("state", STATES)
def test_what_is_meant_for_another_session_is_ignored(state: str, message: Message) -> None:
    """A message that names another session is not ours, whatever it says."""
    assert outcome(state, heard(message, session=SESSION + 1)) == (state, [])


def test_what_belongs_to_another_life_of_the_server_is_ignored() -> None:
    """A BYE of another epoch does not end this session."""
    assert outcome(UP, heard(Bye(), epoch=EPOCH + 1)) == (UP, [])


@pytest.mark.parametrize(("state", "then"), [(DOWN, (DOWN, [])), (PROBING, (DOWN, ["Reopen"])), (UP, (DOWN, ["Note", "Reopen"]))])
def test_silence_closes_the_link_and_opens_another(state: str, then: tuple[str, list[str]]) -> None:
    """A HELLO without an answer, or a server that says nothing, costs the link."""
    assert outcome(state, lambda device: device.tick(2.0)) == then


@pytest.mark.parametrize("state", [DOWN, REFUSED])
def test_without_a_link_there_is_nothing_to_wait_for(state: str) -> None:
    """The next word is the transport's; no tick is asked for."""
    assert device_in(state).session.next_wakeup() is None


@pytest.mark.parametrize("state", STATES)
def test_a_spurious_tick_changes_nothing(state: str) -> None:
    """A tick before anything is due asks for nothing, twice."""
    device = device_in(state)
    due = device.session.next_wakeup()
    assert device.tick(0.1) == device.tick(0.2) == []
    assert device.session.next_wakeup() == due


def test_a_shipped_app_is_sent_when_asked_for_and_given_time() -> None:
    """ERROR(bundle_required) makes the device send its bundle and say HELLO again; it then waits for the processes, and for its bytes."""
    hello = msgspec.structs.replace(HELLO, bundle="d" * 64)
    peer = Peer(0, 7, hello, PeerConfig(bundle=625_000))
    peer.link_up(0.0, 0)
    first, second = peer.error(Error("bundle_required", "send it"), 0.1, 0)
    assert isinstance(first, SendMessage) and isinstance(second, SendMessage)
    assert (first.message, second.message) == (Bundle("d" * 64), hello)
    assert peer.error(Error("bundle_required", "send it"), 0.2, 0) == []
    assert peer.next_wakeup() == pytest.approx(0.1 + 10.0 + 625_000 / 62_500)
    assert peer.error(Error("bundle", "not trusted"), 5.0, 0) == [Refuse("bundle", "not trusted")]
    assert peer.state == REFUSED
