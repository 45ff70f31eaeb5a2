"""Who may have a session: each refusal with its words, and the terms of a WELCOME."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.server import APP, ServerUnderTest, failed, said, welcome

from cloud_server.events import Note
from wire.protocol import MINOR, Ping, Submit, Welcome

BOTH = "(fingerprint beef on the device, f00d on the server)"


def refusal(server: ServerUnderTest, **changes: Any) -> list[Any]:
    """What a HELLO with these changes is answered by."""
    return list(server.connect(**changes))


def test_a_device_that_fits_is_welcomed() -> None:
    """WELCOME carries credit, sizes and times in microseconds; a person is told who came."""
    assert ServerUnderTest().connect() == [Note("info", "camera connected: app, lossless"), said(welcome())]


def test_a_session_that_is_known_is_resumed_without_another_note() -> None:
    """The same device may say HELLO again, on this link or another."""
    server = ServerUnderTest()
    server.connect()
    server.hears(Ping(0), 0.5)
    assert server.connect(1.0) == [said(welcome(resumed=True))]
    assert server.connect(2.0, peer=b"M") == [said(welcome(resumed=True), peer=b"M")]


def test_a_session_whose_welcome_may_be_lost_is_still_a_new_one() -> None:
    """Until its device says anything but HELLO it is not told that it resumed: what it sent to an earlier life is gone."""
    server = ServerUnderTest()
    server.connect()
    assert server.connect(1.0) == [said(welcome(resumed=False))]


def test_an_app_that_is_not_served_is_refused_with_the_list_of_those_that_are() -> None:
    """The text names what was asked for and what could be had, sorted."""
    server = ServerUnderTest(APP, msgspec.structs.replace(APP, name="another"))
    remedy = "Start cloud-server with --app for it, or ship it (--ship)"
    assert refusal(server, app="ball") == [failed("unknown_app", f"app 'ball' is not served here; served: another, app. {remedy}")]


@pytest.mark.parametrize(("changes", "text"), [
    ({"app_version": "2"}, "app 'app': version 2 on the device, 1 on the server "),
    ({"stages": ("source", "b")}, "app 'app': stages source b on the device, source a b on the server "),
    ({}, "app 'app': placements, parameters, variants or value types differ "),
])
def test_a_differing_app_is_refused_with_the_first_difference_in_words(changes: dict[str, Any], text: str) -> None:
    """Version, stages, or what a fingerprint alone knows; both fingerprints are named."""
    assert refusal(ServerUnderTest(), fingerprint="beef", **changes) == [failed("fingerprint", text + BOTH)]


def test_a_device_without_a_common_codec_is_refused() -> None:
    """Both lists are named."""
    text = "no codec in common: device webp, lz4; server raw, bits, png, jpeg, fp16, int8"
    assert refusal(ServerUnderTest(), codecs=("webp", "lz4")) == [failed("codec", text)]


def test_of_a_devices_codecs_those_we_speak_are_agreed_on() -> None:
    """One in common is enough; WELCOME lists only those."""
    server = ServerUnderTest()
    assert server.connect(codecs=("lz4", "raw"))[-1] == said(welcome(codecs=("raw",)))
    assert server.connect(codecs=("jpeg", "lz4", "raw"))[-1] == said(welcome(codecs=("raw", "jpeg")))


@pytest.mark.parametrize("changes", [{"device": "intruder"}, {"app": "second"}])
def test_a_session_number_belongs_to_one_device_and_app(changes: dict[str, Any]) -> None:
    """Another that claims it is turned away, and the first is still served."""
    server = ServerUnderTest(APP, msgspec.structs.replace(APP, name="second"))
    server.connect()
    assert refusal(server, peer=b"M", **changes) == [failed("busy", "session 7 belongs to another device or app", peer=b"M")]
    assert server.submits(0, 1.0) == [server.batch(0, 0, inputs=(1,))]


def test_a_full_server_takes_no_new_session_but_resumes_those_it_has() -> None:
    """The text says how many are the most."""
    server = ServerUnderTest(max_sessions=1)
    server.connect()
    assert refusal(server, session=8, peer=b"M") == [failed("busy", "1 sessions are the most this server takes", session=8, peer=b"M")]
    assert server.connect(1.0) == [said(welcome())]


def test_a_server_that_stops_takes_nobody_not_even_those_it_knows() -> None:
    """The text names the server."""
    server = ServerUnderTest()
    server.connect()
    server.submits(0, 0.0)
    server.stop(1.0)
    assert server.connect(1.1) == [failed("shutdown", "server is shutting down")]
    assert server.connect(1.1, session=8) == [failed("shutdown", "server is shutting down", session=8)]


@pytest.mark.parametrize(("ours", "theirs", "warned"), [("aa", "aa", False), ("aa", "bb", True), ("", "bb", False), ("aa", "", False)])
def test_a_differing_source_text_only_warns(ours: str, theirs: str, warned: bool) -> None:
    """A device may lack what the server imports; a hash that is not known is no difference."""
    server = ServerUnderTest(msgspec.structs.replace(APP, source_hash=ours))
    warning = "the source text of the app differs between device and server; its declared shape agrees" if warned else ""
    assert server.connect(source_hash=theirs)[-1] == said(welcome(warning=warning))


def test_what_this_host_lacks_is_told() -> None:
    """The device decides whether its split can do without."""
    server = ServerUnderTest(msgspec.structs.replace(APP, lacks=(2,)))
    assert server.connect()[-1] == said(welcome(lacks=(2,)))


def test_how_many_jobs_run_at_a_time_is_told() -> None:
    """With it the device can tell a busy server from a small one."""
    assert ServerUnderTest(workers=3).connect()[-1] == said(welcome(workers=3))


def test_no_job_larger_than_the_credit_is_promised() -> None:
    """It could never be sent."""
    server = ServerUnderTest(credit=300)
    expected = Welcome(MINOR, "server", 300, 300, 500_000, 60_000_000)
    assert server.connect()[-1] == said(expected)


def test_what_a_refused_device_sends_next_finds_no_session() -> None:
    """Refusal leaves nothing behind, and a payload that comes all the same is let go."""
    server = ServerUnderTest()
    server.connect(fingerprint="beef")
    assert server.machine.sessions == {}
    assert server.hears(Submit(0, 1, 3), 1.0)[-1] == failed("hello_required", "no session 7 on this link: say HELLO first", 0)
