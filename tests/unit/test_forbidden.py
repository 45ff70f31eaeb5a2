"""Keys in the two machines: whom a session belongs to, and what a device does that is not let in."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.unit.device import Device, submit, welcome, without_permits
from tests.unit.server import EPOCH, HELLO, LINK, SESSION, ServerUnderTest, failed, said
from tests.unit.server import welcome as welcomed

from cloud_server.events import MessageReceived as Received
from cloud_server.events import Note, Revoked
from iot_client.events import LinkDown, MessageReceived, Refuse, Reopen
from iot_client.servers.peer import DOWN, PROBING, UP
from wire.protocol import Error, Ping

WHY = "the server does not allow this device's key"


def hello(server: ServerUnderTest, sender: str, device: str = "camera", session: int = SESSION, peer: bytes = LINK) -> list[Any]:
    """A HELLO from a key that is allowed as `sender`."""
    message = msgspec.structs.replace(HELLO, device=device)
    return server.handle(Received(peer, message, session, 0, sender=sender), 0.0)


def test_a_device_bears_the_name_of_its_key() -> None:
    """Another name is forbidden, and the text names both; the name itself, or with a part after a slash, is welcome."""
    server = ServerUnderTest()
    assert hello(server, "cam1") == [
        failed("forbidden", "this key is allowed as 'cam1', and the device calls itself 'camera': give --device cam1")
    ]
    assert said(welcomed()) in hello(server, "camera")
    assert said(welcomed(), 8) in hello(server, "camera", "camera/left", 8)
    assert hello(server, "camera", "camera2", 9)[0].message.code == "forbidden"


def test_a_session_belongs_to_its_key() -> None:
    """Its number and its name do not help another key, neither to resume it nor to speak for it on the very same link."""
    server = ServerUnderTest()
    hello(server, "camera")
    assert hello(server, "")[0].message.code == "forbidden"
    ping = server.handle(Received(LINK, Ping(0), SESSION, EPOCH, sender="camera2"), 0.1)
    assert [command.message.code for command in ping] == ["hello_required"]
    assert server.handle(Received(LINK, Ping(0), SESSION, EPOCH, sender="camera"), 0.1)[0].message.stamp_us == 0


def test_revoking_a_name_ends_its_sessions_and_no_others() -> None:
    """The device is told so, all that was held for it goes, and others with keys stay."""
    server = ServerUnderTest()
    hello(server, "camera")
    hello(server, "other", "other", 8, b"M")
    server.handle(Received(LINK, Ping(0), SESSION, EPOCH, sender="camera"), 0.1)
    commands = server.handle(Revoked(("camera", "nobody")), 0.2)
    assert commands == [
        failed("forbidden", "the key of 'camera' was revoked here"), Note("info", "camera left: its key was revoked")
    ]
    assert list(server.machine.sessions) == [8]


def denied(device: Device, now: float, why: str = WHY) -> list[Any]:
    return without_permits(device.handle(LinkDown(0, why, True), now))


def test_a_denied_device_says_so_once_and_knocks_less_and_less() -> None:
    """After 1, 2, 4, 8 and then every 8 s a new link is opened; the user hears of the same reason once, of another again."""
    device = Device()
    assert denied(device, 0.0) == [Refuse("forbidden", WHY)]
    now, waits = 0.0, []
    for _ in range(6):
        due = device.session.next_wakeup()
        assert due is not None
        assert without_permits(device.tick(due - 0.01)) == []
        assert without_permits(device.tick(due)) == [Reopen(0)]
        waits.append(due - now)
        now = due
        assert denied(device, now) == []
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert denied(device, now, "another server") == [Refuse("forbidden", "another server")]


def test_a_device_let_in_later_is_served_and_begins_anew_with_its_patience() -> None:
    """A key that is allowed after some tries works without a restart; the next refusal is told again, and waits 1 s."""
    device = Device()
    for _ in range(3):
        denied(device, 0.0)
    device.link_up(5.0)
    device.hears(welcome(), 5.1)
    assert device.session.peer is not None and device.session.peer.state == UP
    assert denied(device, 6.0) == [Refuse("forbidden", WHY)]
    assert device.session.next_wakeup() == 7.0


def test_a_running_stream_carries_on_alone_when_its_key_is_revoked() -> None:
    """ERROR(forbidden) makes frames under way run here, and the link is opened anew: the server is not given up."""
    device = Device()
    device.link_up(0.0)
    device.hears(welcome(), 0.0)
    device.capture(0.0)
    sent = device.ran(0, 0, 1, 0.01)
    assert submit(0, 0.01) in sent
    told = device.handle(MessageReceived(Error("forbidden", "revoked"), SESSION, 0), 0.5)
    assert Refuse("forbidden", "revoked") in told and device.session.peer is not None
    assert device.session.peer.state == DOWN and device.session.stream.running == 1
    assert Reopen(0) in device.tick(1.5)
    device.link_up(1.6)
    assert device.session.peer.state == PROBING
