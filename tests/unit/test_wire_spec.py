"""docs/protocol.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from cloud_server.events import MessageReceived, SendMessage
from cloud_server.scheduler import AppInfo, Scheduler, SchedulerConfig
from iot_client.servers.peer import DOWN, REFUSED, Peer, PeerConfig
from wire import codecs, coding, messages, nodes, protocol
from wire.codecs import family
from wire.payload import Packer
from wire.protocol import (
    KINDS, Bundle, Bye, Cancel, Credit, Error, Hello, Message, Payload, Ping, Plan, Pong, Report, Result, Skip, State, Submit, Welcome,
    decode, encode,
)

SPEC = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

VALUES: dict[str, Any] = {"submit": {"mask": np.array([[0, 255], [255, 0]], np.uint8)}, "result": {"x": 1.5}}
HEADERS = {
    "submit": lambda signature: Submit(41, 3, 7, 40, 80_000, 123_456_789, 38, signature=signature),
    "result": lambda signature: Result(41, "done", 3, 7, times_us=(120, 340, 80, 10), queue_us=15, held_us=600, load=0.5,
                                       signature=signature),
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, without its two head rows."""
    text = SPEC.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def example(name: str) -> bytes:
    """The bytes of one example, comments left out."""
    block = SPEC.split(f"```{name}\n", 1)[1].split("```", 1)[0]
    return bytes.fromhex(" ".join(line.split(";")[0] for line in block.splitlines()))


@pytest.mark.parametrize("name", ["submit", "result"])
def test_the_worked_example_is_what_the_code_makes(name: str) -> None:
    """Each byte in the page's hex is made by `encode` from the message and the value described, and is read as them."""
    payload = Packer().pack(VALUES[name])
    message = HEADERS[name](payload.signature)
    assert encode(0x1122334455667788, 0xA1B2C3D4, message, payload) == [example(name)]
    back = decode([example(name)])
    assert (back.session, back.epoch, back.message) == (0x1122334455667788, 0xA1B2C3D4, message)
    assert back.payload is not None and repr(Packer().unpack(back.payload)) == repr(VALUES[name])


def test_the_table_of_messages_is_the_code() -> None:
    """Every kind has its row: byte, name, whether it has a payload, and its fields with their defaults, in order."""
    table = rows("## Messages")
    assert [int(row[0]) for row in table] == list(KINDS)
    for number, name, _, payload, cells in table:
        kind = KINDS[int(number)]
        assert kind.__name__.upper() == name
        assert (payload != "no") == (int(number) in {3, 4, 6, 9, 15})
        fields = msgspec.structs.fields(kind)
        stated = re.findall(r"`(\w+)(?:=([^`]*))?`", cells)
        assert [field.name for field in fields] == [field for field, _ in stated]
        for field, (_, default) in zip(fields, stated):
            assert field.required == (default == ""), f"{name}.{field.name}"
            if default:
                stands = msgspec.json.decode(msgspec.json.encode(field.default))
                assert stands == msgspec.json.decode(default.replace("nil", "null")), f"{name}.{field.name}"


def test_the_limits_are_the_code() -> None:
    """The numbers in the table of sizes and in the text are the constants."""
    assert [int(number) for number in re.findall(r"\d+", " ".join(row[1] for row in rows("### Sizes")))] == [
        protocol.MAX_PARTS, protocol.MAX_HEADER, protocol.MAX_HEAD, nodes.MAX_DEPTH, protocol.MAX_JOB, messages._MAX_NAME,
        messages.MAX_TEXT, messages.MAX_SIGNATURE, messages.MAX_STAGES,
    ]
    assert f"version {protocol.MAJOR}.{protocol.MINOR}\n" in SPEC.partition("\n\n")[0] + "\n"
    assert f"default port {protocol.DEFAULT_PORT}" in SPEC and nodes.INLINE_BELOW == 8 * 1024 and "below 8 KiB" in SPEC


def test_the_error_codes_are_the_code() -> None:
    """The table lists every code there is."""
    assert [row[0].strip("`") for row in rows("### Error codes")] == list(get_args(messages._Code))


def test_the_tags_are_the_code() -> None:
    """Every tag of a head is in the table, under the name of what it stands for."""
    table = rows("### Payloads")
    stated = {int(row[column]): row[column + 2] for row in table for column in (0, 3) if row[column]}
    words = {"LIST": "list", "TUPLE": "tuple", "DICT": "dict", "RECORD": "record", "ARRAY": "numpy array", "SCALAR": "numpy scalar",
             "TENSOR": "torch tensor", "INT": "int", "COMPLEX": "complex", "TEXT": "str", "BYTES": "bytes", "CODED": "encoded array",
             "PART": "part of a record"}
    assert len(stated) == len(words)
    assert all(stated[getattr(nodes, name)].startswith(word) for name, word in words.items())


@pytest.mark.parametrize("heading", ["### What the device does", "### What the server does"])
def test_the_state_tables_leave_no_message_out(heading: str) -> None:
    """Each side's table says for every kind what happens, in every state."""
    table = rows(heading)
    named = set(re.findall(r"\b[A-Z]{3,}\b", " ".join(row[0] for row in table)))
    assert {kind.__name__.upper() for kind in KINDS.values()} <= named
    assert all(all(row) and len(row) == 4 for row in table)


HELLO = Hello(0, "cam", "ball", "1", "00", ("get", "mask"))
ONE_OF_EACH: list[Message] = [
    HELLO, Welcome(0, "", 1, 1, 1, 1), Submit(5, 1, 2), Result(5, "failed", 1, 2), Credit(1), Report(5), Skip(5), Cancel(5), State(1, 1, 5),
    Plan("", 1.0), Ping(5), Pong(5), Bye(), Error("busy", ""), Bundle("00"),
]
BALL = AppInfo(name="ball", version="1", fingerprint="00", stages=("get", "mask"), here=(False, True), batched=(False, False))


def server() -> Scheduler:
    return Scheduler(SchedulerConfig(server="cloud", epoch=7, apps={"ball": BALL}))


def said(scheduler: Scheduler, message: Message, peer: bytes) -> list[Message]:
    """What the server answers to one message of session 1."""
    epoch = 0 if type(message) is Hello else 7
    commands = scheduler.handle(MessageReceived(peer, message, 1, epoch), 0.0)
    return [command.message for command in commands if type(command) is SendMessage]


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_the_servers_table_is_what_the_server_does(message: Message) -> None:
    """In each of the three states the scheduler answers each message with the ERROR or WELCOME its cell names, and no other."""
    name = type(message).__name__.upper()
    cells = next(row[1:] for row in rows("### What the server does") if name in row[0].split(", "))
    here, elsewhere = server(), server()
    for scheduler in (here, elsewhere):
        said(scheduler, HELLO, b"link")
    for scheduler, peer, cell in ((server(), b"link", cells[0]), (here, b"link", cells[1]), (elsewhere, b"other", cells[2])):
        answers = said(scheduler, message, peer)
        errors = [answer.code for answer in answers if type(answer) is Error]
        assert errors == re.findall(r"^ERROR (\w+)", cell)
        assert any(type(answer) is Welcome for answer in answers) == ("WELCOME" in cell)
        assert any(type(answer) is Pong for answer in answers) == ("PONG" in cell)


@pytest.mark.parametrize("code", get_args(messages._Code))
def test_the_table_of_errors_is_what_the_device_does(code: str) -> None:
    """The device gives up, says HELLO, or goes on, as the row of the code says."""
    does = next(row[2] for row in rows("### Error codes") if row[0] == f"`{code}`")
    peer = Peer(0, 1, HELLO, PeerConfig())
    peer.link_up(0.0, 0)
    peer.accepts(Welcome(0, "", 1, 1, 1, 1), 1, 7, 1.0)
    peer.welcome(Welcome(0, "", 1, 1, 1, 1), 7)
    commands = peer.error(Error(code, "why"), 2.0, 0)
    assert (peer.state == REFUSED) == (does == "gives up")
    assert any(type(getattr(command, "message", None)) is Hello for command in commands) == (does == "HELLO")
    assert (peer.state == DOWN) == does.startswith("opens a new link after 1 s")


def test_the_codecs_are_the_code() -> None:
    """The page names the families in order, every word in its table is one, and the limits in its text are those of the code."""
    text = SPEC.split("### Codecs", 1)[1].split("### Sizes", 1)[0]
    assert ", ".join(f"`{name}`" for name in protocol.CODECS) in text
    words = re.findall(r"`([^`]+)`", " ".join(row[0] for row in rows("### Codecs")))
    assert [family(word.replace("Q", "80").replace("W", "640")) for word in words] == [*protocol.CODECS[:4], *protocol.CODECS[3:]]
    assert f"W pixels ({codecs._NARROWEST} to {codecs._WIDEST})" in text and f"at most {coding._MAX_SCANS} scans" in text
    assert f"at most {protocol.MAX_JOB} bytes" in text


def test_a_large_array_leaves_the_head() -> None:
    """As the example's last comment says: from 8 KiB up the array's bytes are part 1, and the head ends before them."""
    image = np.zeros((64, 128), np.uint8)
    payload: Payload = Packer().pack({"mask": image})
    assert bytes(payload.head) == bytes.fromhex("93 03 a4 6d 61 73 6b 93 05 a3 7c 75 31 92 40 cc 80")
    assert [bytes(buffer) for buffer in payload.buffers] == [image.tobytes()]
