"""Apps that devices ship, as the scheduler sees them: asked for, loaded, served by workers of their own, and gone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cloud_server.offer import ShipConfig
from cloud_server.events import BundleFailed, BundleLoaded, Command, DropBundle, LoadBundle, MessageReceived, Release, RunBatch
from tests.unit.server import APP, LINK, SESSION, ServerUnderTest, answers, failed, said, welcome
from wire.protocol import Bundle, Bye, Error

DIGEST = "d" * 64
NAME = f"app#{SESSION:x}"
SHIP = ShipConfig(most=2, max_bytes=1000)
LOAD = LoadBundle(SESSION, NAME, 1, DIGEST, "app", "1", "f00d", "camera")
NOT_INSTALLED = replace(APP, name="other")


def shipping(**options: Any) -> ServerUnderTest:
    """A server with another app installed, which takes bundles."""
    return ServerUnderTest(NOT_INSTALLED, ship=SHIP, **options)


def sent(server: ServerUnderTest, device: str = "camera", **route: Any) -> None:
    """At 0.0 a device names its bundle, sends it, and says HELLO again."""
    server.connect(0.0, bundle=DIGEST, device=device, **route)
    server.hears(Bundle(DIGEST), 0.0, epoch=0, nbytes=500, **route)
    server.connect(0.0, bundle=DIGEST, device=device, **route)


def loaded(server: ServerUnderTest, now: float = 1.0, session: int = SESSION, **changes: Any) -> list[Command]:
    """The workers of a session's app are ready."""
    return server.handle(BundleLoaded(session, replace(APP, **changes), 3600.0), now)


def served() -> ServerUnderTest:
    """A server with one session of a shipped app, welcomed at 1.0."""
    server = shipping()
    sent(server)
    assert said(welcome()) in loaded(server)
    return server


def codes(commands: list[Command]) -> list[str]:
    """The error codes among what is said."""
    messages = [getattr(command, "message", None) for command in commands]
    return [message.code for message in messages if isinstance(message, Error)]


def test_a_bundle_is_asked_for_loaded_and_welcomed() -> None:
    """HELLO, ERROR(bundle_required), BUNDLE and HELLO, and one WELCOME when the workers are there."""
    server = shipping()
    assert codes(server.connect(0.0, bundle=DIGEST)) == ["bundle_required"]
    assert server.hears(Bundle(DIGEST), 0.1, epoch=0, nbytes=500) == [LOAD, Release(1)]
    assert server.connect(0.1, bundle=DIGEST) == []
    answered = loaded(server, 2.0)
    assert [type(getattr(command, "message", command)).__name__ for command in answered] == ["Note", "Welcome"]
    assert server.machine.sessions[SESSION].app == NAME


def test_a_server_without_the_flag_takes_none() -> None:
    """By default a bundle is refused at HELLO, and one that comes all the same is thrown away."""
    server = ServerUnderTest()
    refusal = server.connect(0.0, bundle=DIGEST)
    assert refusal == [failed("bundle", "this server takes no shipped apps: it was started without --ship")]
    thrown, refused = server.hears(Bundle(DIGEST), 0.1, epoch=0, nbytes=500)
    assert (thrown, codes([refused])) == (Release(1), ["hello_required"])


@pytest.mark.parametrize(("message", "nbytes", "words"), [
    (Bundle("e" * 64), 500, "not the bundle that HELLO named"),
    (Bundle(DIGEST), -1, "not the bundle that HELLO named"),
    (Bundle(DIGEST), 1001, "1001 bytes; this server takes 1000"),
])
def test_what_was_not_asked_for_starts_nothing(message: Bundle, nbytes: int, words: str) -> None:
    """Another digest, none at all, or too many bytes: refused, thrown away, and no worker hears of it."""
    server = shipping()
    server.connect(0.0, bundle=DIGEST)
    commands = server.hears(message, 0.1, epoch=0, nbytes=nbytes)
    assert codes(commands) == ["bundle"] and words in str(commands[-1])
    assert not server.tokens and not any(isinstance(command, LoadBundle) for command in commands)


def test_a_bundle_from_another_link_is_ignored() -> None:
    """Only the link that was asked may answer, once: a second copy and a stranger's start nothing."""
    server = shipping()
    server.connect(0.0, bundle=DIGEST)
    assert server.hears(Bundle(DIGEST), 0.1, epoch=0, peer=b"stranger", nbytes=500) == [Release(1)]
    server.hears(Bundle(DIGEST), 0.1, epoch=0, nbytes=500)
    assert server.hears(Bundle(DIGEST), 0.2, epoch=0, nbytes=500) == [Release(3)]


def test_a_refused_bundle_is_refused_in_words_and_again() -> None:
    """The device hears why, and the next HELLO gets the same answer without another look."""
    server = shipping()
    sent(server)
    why = "the bundle expired 9 s ago"
    assert server.handle(BundleFailed(SESSION, why), 1.0) == [failed("bundle", why)]
    assert server.connect(2.0, bundle=DIGEST) == [failed("bundle", why)]


def test_workers_that_hold_another_app_are_dropped() -> None:
    """What the workers found must be what HELLO said."""
    server = shipping()
    sent(server)
    commands = loaded(server, fingerprint="beef")
    assert codes(commands) == ["bundle"] and commands[-1] == DropBundle(NAME)
    assert codes(server.connect(2.0, bundle=DIGEST)) == ["bundle"]


def test_its_jobs_go_to_its_own_workers() -> None:
    """A shipped app's batches name it, and its full workers hold up no installed app's jobs."""
    server = served()
    for seq in range(5):
        server.submits(seq, 2.0)
    assert server.machine.running == 2 and server.machine.queued == 3
    server.connect(2.0, session=8, peer=b"M", device="cam8", app="other")
    commands = server.submits(0, 2.0, session=8, peer=b"M")
    assert [(command.app, command.jobs) for command in commands if isinstance(command, RunBatch)] == [("other", ((8, 0),))]
    done = server.done(0, 3.0)
    assert answers(done) == [(0, "done", "")]
    assert [command.app for command in done if isinstance(command, RunBatch)] == [NAME]


def test_nobody_else_can_name_it() -> None:
    """No HELLO without the bundle, and none of another device, reaches a shipped app."""
    server = served()
    assert codes(server.connect(2.0, session=8, peer=b"M", app=NAME)) == ["unknown_app"]
    assert codes(server.connect(2.0, session=8, peer=b"M", bundle=DIGEST, device="thief")) == ["bundle_required"]
    assert codes(server.connect(2.0, peer=b"M", bundle=DIGEST, device="thief")) == ["bundle"]
    assert codes(server.connect(2.0, peer=b"M")) == ["unknown_app"]


def test_it_goes_with_its_session() -> None:
    """BYE ends the workers; an answer of theirs that comes later costs nothing."""
    server = served()
    server.submits(0, 2.0)
    assert DropBundle(NAME) in server.hears(Bye(), 3.0)
    server.done(0, 3.1, "failed")
    assert codes(server.submits(1, 3.2)) == ["hello_required"]
    assert codes(server.connect(4.0, bundle=DIGEST)) == ["bundle_required"]


def test_an_expired_bundle_may_not_be_named_again() -> None:
    """Who is served goes on; who comes back after the expiry is refused."""
    server = served()
    assert server.submits(0, 4000.0)
    assert "expired" in str(server.connect(3601.0, peer=b"M", bundle=DIGEST))


def test_a_bundle_that_lost_its_right_ends_its_session() -> None:
    """Its signer was revoked: the device is told, the session ends, the workers too."""
    server = served()
    server.submits(0, 2.0)
    commands = server.handle(BundleFailed(SESSION, "its signer was revoked"), 3.0)
    assert codes(commands) == ["bundle"] and DropBundle(NAME) in commands
    assert not server.machine.sessions


def test_a_race_does_not_push_itself_out() -> None:
    """Where there is no room for another session of a device with the same bundle, the first one stays."""
    server = shipping()
    for session in (21, 22):
        sent(server, f"cam{session}", session=session, peer=b"%d" % session)
        loaded(server, session=session)
    assert codes(server.connect(2.0, device="cam21", bundle=DIGEST, session=24, peer=b"24", variant="cloud2")) == ["busy"]
    assert codes(server.connect(2.0, device="cam21", bundle="f" * 64, session=24, peer=b"24", variant="cloud2")) == ["bundle_required"]


def test_when_there_is_no_room_the_device_hears_so() -> None:
    """At most `most` bundles; a further device waits, one that ships anew pushes its own older one out."""
    server = shipping()
    for session in (21, 22):
        sent(server, f"cam{session}", session=session, peer=b"%d" % session)
        loaded(server, session=session)
    full = {"session": 23, "peer": b"23", "bundle": DIGEST}
    assert codes(server.connect(2.0, device="cam23", **full)) == ["busy"]
    again = {"session": 24, "peer": b"24"}
    assert codes(server.connect(2.0, device="cam21", bundle=DIGEST, **again)) == ["bundle_required"]
    commands = server.hears(Bundle(DIGEST), 2.0, epoch=0, nbytes=500, **again)
    assert DropBundle("app#15") in commands and any(isinstance(command, LoadBundle) for command in commands)
    assert set(server.machine.sessions) == {22}


def test_one_nobody_came_back_for_is_given_up() -> None:
    """The device left before its workers were ready: they end after the lease."""
    server = shipping()
    server.connect(0.0, bundle=DIGEST)
    server.hears(Bundle(DIGEST), 0.1, epoch=0, nbytes=500)
    assert loaded(server) == []
    assert DropBundle(NAME) not in server.tick(60.9)
    assert DropBundle(NAME) in server.tick(62.0)
    assert server.machine.next_wakeup() is None


def test_a_damaged_bundle_is_asked_for_again() -> None:
    """What the link altered is not held against the app."""
    server = shipping()
    server.connect(0.0, bundle=DIGEST)
    assert codes(server.handle(MessageReceived(LINK, Bundle(DIGEST), SESSION, 0, damaged=True), 0.1)) == ["bundle_required"]
    assert server.hears(Bundle(DIGEST), 0.2, epoch=0, nbytes=500)[0] == LOAD


def test_a_stopping_server_takes_no_bundle() -> None:
    """HELLO is answered by shutdown, as any other."""
    server = shipping()
    server.stop(0.0)
    assert codes(server.connect(0.1, bundle=DIGEST)) == ["shutdown"]


def test_a_device_that_died_may_ship_anew_in_its_session() -> None:
    """Resumed from a spool a session keeps its number and its app has another digest: the old one goes, the new one is asked for."""
    server = served()
    commands = server.connect(2.0, peer=b"M", bundle="e" * 64)
    assert codes(commands) == ["bundle_required"] and DropBundle(NAME) in commands and not server.machine.sessions
    assert server.hears(Bundle("e" * 64), 2.1, epoch=0, peer=b"M", nbytes=500)[0] == replace(LOAD, token=2, digest="e" * 64)
    assert codes(server.connect(2.2, peer=b"X", bundle="f" * 64, device="thief")) == ["bundle"]
