"""Who may talk to a listener: real sockets, turned by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
import zmq

from wire.channel import LinkChange
from wire.identity import DeviceKeys, ServerKeys
from wire.keys import Pair, make_pair, text_of
from wire.zap import Gate, GateFailed, prove
from wire.zmq_channel import ZmqChannel, ZmqListener

SERVER, CAM, STRANGER = make_pair(), make_pair("cam1"), make_pair("who")
PATIENCE = 10.0
BEFORE = 2**16


class Bench:
    """A listener that allows `cam1`, turned by hand together with one device."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        keys = ServerKeys(pair=SERVER, allowed={"cam1": CAM.public}, path=Path("unused"))
        self.listener = ZmqListener("127.0.0.1", 0, BEFORE, keys=keys, on_note=lambda level, text: self.notes.append((level, text)))
        self.received: list[tuple[str, bytes]] = []
        self.changes: list[LinkChange] = []
        self._wake = os.pipe()

    def device(self, pair: Pair | None = CAM, server: bytes = SERVER.public) -> ZmqChannel:
        keys = None if pair is None else DeviceKeys(pair=pair, server=server)
        return ZmqChannel(f"tcp://127.0.0.1:{self.listener.port}", BEFORE, keys=keys)

    def turn(self, channel: ZmqChannel, until: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Both sides' loops, until something is so; False if it was not in time."""
        end = monotonic() + seconds
        while monotonic() < end and not until():
            channel.wait(self._wake[0], 0.01, False)
            self.listener.wait(self._wake[0], 0.0, False)
            got = self.listener.receive()
            if got is not None:
                self.received.append((self.listener.sender, bytes(got[1][0])))
            self.changes += channel.changes()
        return until()

    def denied(self) -> bool:
        return any(change.denied for change in self.changes)

    def up(self) -> bool:
        return any(change.up for change in self.changes)

    def close(self) -> None:
        self.listener.close()
        for end in self._wake:
            os.close(end)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_an_allowed_key_is_heard_under_its_name(bench: Bench) -> None:
    """What a device sends arrives with the name its key is allowed under."""
    device = bench.device()
    assert bench.turn(device, bench.up) and device.send([b"hello"])
    assert bench.turn(device, lambda: bool(bench.received))
    assert bench.received == [("cam1", b"hello")]
    device.close()


@pytest.mark.parametrize(
    ("pair", "server", "reason"),
    [
        (STRANGER, SERVER.public, f"cloud-server devices allow who {text_of(STRANGER.public)}"),
        (CAM, make_pair().public, "not the server whose key is known here"), (None, b"", "wants keys|hung up"),
    ],
    ids=["unknown key", "wrong server key", "no keys"],
)
def test_others_are_not_heard_and_told_what_to_do(bench: Bench, pair: Pair | None, server: bytes, reason: str) -> None:
    """An unknown key, a wrong server key and a link without keys never get a message through; the reason names a remedy."""
    device = bench.device(pair, server)
    failed = (lambda: len(bench.changes) > 2 or bench.denied()) if pair is None else bench.denied
    assert bench.turn(device, failed)
    assert not bench.up() and not device.send([b"let me in"])
    assert not bench.turn(device, lambda: bool(bench.received), 0.3)
    assert any(re.search(reason, change.reason) for change in bench.changes)
    device.close()


def test_a_denied_device_is_quiet_until_it_is_told_to_try(bench: Bench) -> None:
    """A wrong server key does not hammer: nothing more happens before `reopen`, and with the key allowed that connects."""
    device = bench.device(STRANGER)
    assert bench.turn(device, bench.denied)
    bench.listener.allow({"cam1": CAM.public, "who": STRANGER.public})
    assert not bench.turn(device, bench.up, 0.5)
    device.reopen()
    assert bench.turn(device, bench.up)
    device.close()
    bench.changes.clear()
    wrong = bench.device(CAM, make_pair().public)
    assert bench.turn(wrong, bench.denied)
    bench.changes.clear()
    assert not bench.turn(wrong, lambda: bool(bench.changes), 0.5)
    wrong.close()


def test_a_revoked_key_is_not_heard_on_a_link_that_stands(bench: Bench) -> None:
    """ZeroMQ keeps the connection; not one of a hundred messages on it is received, and with the key back they are."""
    device = bench.device()
    assert bench.turn(device, bench.up) and device.send([b"before"])
    assert bench.turn(device, lambda: len(bench.received) == 1)
    bench.listener.allow({})
    for number in range(50):
        assert device.send([b"after", b"%d" % number])
    assert not bench.turn(device, lambda: len(bench.received) > 1, 0.3)
    bench.listener.allow({"other": CAM.public})
    assert device.send([b"again"])
    assert bench.turn(device, lambda: len(bench.received) == 2)
    assert bench.received == [("cam1", b"before"), ("other", b"again")]
    device.close()


def test_without_the_gate_nobody_comes_in(bench: Bench) -> None:
    """With its socket gone an allowed device is refused too, and the listener closes at its next look: it fails closed."""
    assert bench.listener._gate is not None
    bench.listener._gate.close()
    device = bench.device()
    wake = os.pipe()
    end = monotonic() + 0.5
    while monotonic() < end:
        device.wait(wake[0], 0.01, False)
        bench.changes += device.changes()
    assert not bench.up()
    with pytest.raises(GateFailed, match="nothing is served any more"):
        bench.listener.receive()
    device.close()
    for each in wake:
        os.close(each)


class Broken(dict[str, str]):
    """A table of names that cannot be read."""

    def __contains__(self, key: object) -> bool:
        raise RuntimeError("no such thing")


def test_a_check_that_raises_is_a_no(bench: Bench) -> None:
    """The error is a note, the device is refused, and the next question is answered again."""
    gate = bench.listener._gate
    assert gate is not None
    names, gate._names = gate._names, Broken()
    device = bench.device()
    assert bench.turn(device, bench.denied)
    assert ("error", "a key could not be checked, and was refused: RuntimeError: no such thing") in bench.notes
    gate._names = names
    device.reopen()
    assert bench.turn(device, bench.up)
    device.close()


def test_refusals_are_one_line_for_many(bench: Bench) -> None:
    """Thirty strangers within a moment are one line that names the first and its key; all thirty are counted."""
    gate = bench.listener._gate
    assert gate is not None
    for _ in range(30):
        gate._user([b"1.0", b"1", b"spillway", b"192.0.2.9", b"", b"CURVE", os.urandom(32)])
    lines = [text for level, text in bench.notes if level == "warning"]
    assert len(lines) == 1 and lines[0].startswith("refused 192.0.2.9: key ") and gate._unsaid == 29


@pytest.mark.parametrize(
    "question",
    [
        [], [b"1.0"], [b"2.0", b"1", b"spillway", b"a", b"", b"CURVE", CAM.public], [b"1.0", b"1", b"", b"a", b"", b"CURVE", CAM.public],
        [b"1.0", b"1", b"spillway", b"a", b"", b"NULL"], [b"1.0", b"1", b"spillway", b"a", b"", b"PLAIN", b"cam1", b"x"],
        [b"1.0", b"1", b"spillway", b"a", b"", b"CURVE", b""], [b"1.0", b"1", b"spillway", b"a", b"", b"CURVE", CAM.public, b"more"],
    ],
)
def test_only_one_question_has_yes_for_an_answer(question: list[bytes], bench: Bench) -> None:
    """Another version, domain or mechanism, or more or less than one key, is a no."""
    gate = bench.listener._gate
    assert gate is not None
    assert gate._verdict(question)[2] == b"400"
    assert gate._verdict([b"1.0", b"1", b"spillway", b"a", b"", b"CURVE", CAM.public])[2:5] == [b"200", b"OK", CAM.public.hex().encode()]


def test_the_self_test_sees_a_gate_that_lets_strangers_in(bench: Bench) -> None:
    """Where the stranger gets in, starting fails: the proof is no formality."""
    gate = bench.listener._gate
    assert gate is not None
    friend = bench.device()
    with pytest.raises(GateFailed, match="a friend was let in"):
        prove(gate, {"a friend": friend})
    friend.close()


def test_a_second_gate_in_one_context_is_an_error() -> None:
    """libzmq has one authenticator per context; two would be a mistake that is seen at once."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gate = Gate(context, {}, lambda level, text: None)
    with pytest.raises(zmq.ZMQError):
        Gate(context, {}, lambda level, text: None)
    gate.close()
    context.destroy(linger=0)
