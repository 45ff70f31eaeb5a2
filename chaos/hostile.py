"""Row 22, the decoder: mutated messages by the million, into the decoder, the payload reader and both machines."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from chaos.registry import Broken, Run, Seen, promise
from cloud_server.events import BatchDone, JobDone, MessageReceived, RunBatch, SendMessage, Tick
from cloud_server.scheduler import AppInfo, Scheduler, SchedulerConfig
from iot_client.events import FrameCaptured, LinkUp, RunStages, StagesDone
from iot_client.events import MessageReceived as DeviceReceived
from iot_client.events import Tick as DeviceTick
from iot_client.session import Session, SessionConfig
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import (
    MINOR, Bundle, Bye, Cancel, Credit, Envelope, Error, Hello, Message, Ping, Plan, Pong, Report, Result, Skip, State, Submit, Welcome,
    decode, encode,
)

__all__ = ["corpus", "fuzz", "hear", "mutated_messages"]

_SESSION, _EPOCH = 7, 9
_STAGES = ("source", "a", "b")
_HELLO = Hello(MINOR, "camera", "app", "1", "f00d", _STAGES, mode="lossless", codecs=("raw", "jpeg"))
_LIFE = 4_000
"""Messages after which the machines begin anew."""
_CHUNK = 50_000
_WORTH = tuple(b"\x00\x01\x7f\x80\x81\x8f\x90\x9f\xa0\xbf\xc0\xc4\xca\xcf\xd0\xd9\xdc\xdd\xe0\xff")
"""Bytes with a meaning in msgpack."""


def corpus() -> list[list[bytes]]:
    """A real message of every kind, and payloads with arrays in and beside the head."""
    packer = Packer([])
    image = np.arange(12_288, dtype=np.uint8).reshape(64, 64, 3)
    values: list[Any] = [None, image, {"a": [1, 2.5, "t", b"b", 2**80]}, (image, image[:8, :8]), [np.float32(1), np.ones((3, 2))]]
    payloads = [packer.pack(value) for value in values]
    messages: list[Message] = [
        _HELLO, Welcome(MINOR, "s", 10**6, 10**6, 500_000, 60_000_000), Submit(0, 1, 3), Submit(1, 1, 3, 0, 10_000, 5, 0, "raw", "v", 1, 7),
        Result(0, "done", 1, 3, times_us=(1, 2)), Result(1, "failed", 1, 3, 2, "why"), Credit(10**6, "submit", 0, 100, 5), Report(0),
        Skip(3), Cancel(0), State(2, 1, 0), Plan("v", 0.5), Ping(5, 0, 100), Pong(5, 1, 0.5, 10**6), Bye("over"),
        Error("damaged", "again", 0), Error("hello_required", "who"), Bundle("d" * 64),
    ]  # fmt: skip
    carry = (Submit, Result, Report, State, Bundle)
    made = [encode(_SESSION, 0 if type(message) is Hello else _EPOCH, message) for message in messages if type(message) not in carry]
    made += [encode(_SESSION, _EPOCH, message, payload) for message in messages if isinstance(message, carry) for payload in payloads]
    return [[bytes(part) for part in parts] for parts in made]


def mutate(parts: list[bytes], other: list[bytes], dice: random.Random) -> list[bytes]:
    """A few random edits; in three of four messages the checksum of part 0 is made to hold, or nothing would get past it."""
    first = bytearray(parts[0])
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(first))
        kind = dice.randrange(7)
        if kind == 0:
            first[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            first[at] = dice.choice(_WORTH)
        elif kind == 2:
            del first[at : at + dice.randrange(1, 9)]
        elif kind == 3:
            first[at:at] = dice.randbytes(dice.randrange(1, 9))
        elif kind == 4:
            first[at:] = other[0][at:]
        elif kind == 5 and len(first) > 8:
            first[4:8] = dice.choice((0, 1, max(0, len(first) - 24), len(first), 2**31, 2**32 - 1)).to_bytes(4, "little")
        else:
            first[at : at + 8] = dice.choice((0, 2**31, 2**62, 2**63, 2**64 - 1)).to_bytes(8, "little")
        if not first:
            first = bytearray(b"S")
    buffers = list(parts[1:])
    if dice.random() < 0.1:
        buffers = buffers[:-1] if buffers and dice.random() < 0.5 else [*buffers, *other[1:], b""]
    if dice.random() < 0.75 and len(first) >= 24:
        first[0:3] = b"SW\x01"
        first[20:24] = zlib.crc32(first[24:], zlib.crc32(first[:20])).to_bytes(4, "little")
    return [bytes(first), *buffers]


class _Server:
    """A scheduler with one device, whose batches end at once."""

    def __init__(self) -> None:
        info = AppInfo(name="app", version="1", fingerprint="f00d", stages=_STAGES, here=(False, True, True), batched=(False,) * 3)
        self.machine = Scheduler(SchedulerConfig(server="s", epoch=_EPOCH, apps={"app": info}, max_sessions=64))
        self.token = 0
        self.now = 0.0
        self.tell(MessageReceived(b"L", _HELLO, _SESSION, 0))

    def hear(self, envelope: Envelope) -> None:
        """A message, with its payload if it has one."""
        nbytes = 0 if envelope.payload is None else envelope.payload.nbytes
        self.token += envelope.payload is not None
        token = self.token if envelope.payload is not None else 0
        self.tell(MessageReceived(b"L", envelope.message, envelope.session, envelope.epoch, nbytes, token))

    def tell(self, event: Any) -> None:
        """One event, and what follows from it."""
        self.now += 1e-4
        waiting = [event]
        while waiting:
            for command in self.machine.handle(waiting.pop(), self.now):
                if type(command) is RunBatch:
                    jobs = tuple(JobDone(session, seq, "done", nbytes=10) for session, seq in command.jobs)
                    waiting.append(BatchDone(command.batch, jobs, (0.001,) * (command.stop - command.start)))
                elif type(command) is SendMessage:
                    encode(command.session or 1, _EPOCH, command.message)  # what it says can be said
        due = self.machine.next_wakeup()
        if due is not None and due <= self.now:
            self.machine.handle(Tick(), self.now)


class _Device:
    """A session with a stream, whose stages end at once."""

    def __init__(self) -> None:
        self.machine = Session(SessionConfig(
            session=_SESSION, n=3, split=1, pivot=3, splits=(False, True, True, True), stateful=(False,) * 3, once=(False,) * 3,
            hello=_HELLO,
        ))
        self.now, self.seq = 0.0, 0
        self.machine.start()
        self.tell(LinkUp())
        self.tell(DeviceReceived(Welcome(MINOR, "s", 10**6, 10**6, 500_000, 60_000_000), _SESSION, _EPOCH))

    def hear(self, envelope: Envelope) -> None:
        """A message."""
        nbytes = 0 if envelope.payload is None else envelope.payload.nbytes
        self.tell(DeviceReceived(envelope.message, envelope.session, envelope.epoch, nbytes))

    def tell(self, event: Any) -> None:
        """One event, and what follows from it; permits are used, up to a bound."""
        self.now += 1e-4
        waiting = [event]
        while waiting:
            for command in self.machine.handle(waiting.pop(0), self.now):
                if type(command) is RunStages:
                    nbytes = 100 if command.encode else 0
                    times = (0.001,) * (command.stop - command.start)
                    waiting.append(StagesDone(command.seq, command.start, command.stop, "done", times, nbytes=nbytes, signature="v"))
        if self.machine.in_flight < 4 and self.seq < 10**6 and self.machine.stream.open and type(event) is not FrameCaptured:
            self.seq += 1
            self.tell(FrameCaptured(self.seq - 1, self.now, 100))
        due = self.machine.next_wakeup()
        if due is not None and due <= self.now:
            self.machine.handle(DeviceTick(), self.now)


def fuzz(seed: int, count: int) -> tuple[int, int]:
    """Try so many messages; returns how many were messages, and how many payloads could be read.

    Raises:
        Broken: anything but RemoteProtocolError (and, of a payload, UnsupportedValue) came of one; the text has the message.
    """
    dice, valid, packer = random.Random(f"fuzz {seed}"), corpus(), Packer([])
    messages = values = 0
    server, device = _Server(), _Device()
    for number in range(count):
        if number % _LIFE == 0:
            server, device = _Server(), _Device()
        parts = mutate(dice.choice(valid), dice.choice(valid), dice)
        try:
            envelope = decode(parts)
            messages += 1
            if envelope.payload is not None:
                values += _readable(packer, envelope)
            server.hear(envelope)
            device.hear(envelope)
        except RemoteProtocolError:
            continue
        except Exception as error:
            shown = " ".join(part.hex() for part in parts)[:2000]
            raise Broken(f"seed {seed}, message {number}: {type(error).__name__}: {error}; {shown}") from error
    return messages, values


def hear(messages: Iterable[list[bytes]]) -> None:
    """A fresh server and a fresh device hear these messages; raises what is not refused as it should be."""
    packer, server, device = Packer([]), _Server(), _Device()
    for parts in messages:
        try:
            envelope = decode(parts)
        except RemoteProtocolError:
            continue
        if envelope.payload is not None:
            _readable(packer, envelope)
        server.hear(envelope)
        device.hear(envelope)


def _readable(packer: Packer, envelope: Envelope) -> bool:
    assert envelope.payload is not None
    try:
        packer.unpack(envelope.payload)
    except (RemoteProtocolError, UnsupportedValue):
        return False
    return True


def _spread(work: Callable[..., tuple[int, int]], seeds: Iterable[int]) -> Iterable[tuple[int, int]]:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield from pool.map(work, seeds, [_CHUNK] * len(list(seeds)))


@promise(22, "mutated messages: none brings down a decoder or a machine", quick=100_000, full=10_000_000)
def mutated_messages(run: Run) -> Seen:
    """Messages of every kind with bits, bytes, lengths and parts changed, most of them with a checksum that holds."""
    begun = time.monotonic()
    messages = values = done = 0
    for heard, read in _spread(fuzz, range(run.seed * 1000, run.seed * 1000 + run.count // _CHUNK)):
        messages, values, done = messages + heard, values + read, done + _CHUNK
        if done % (20 * _CHUNK) == 0:
            run.note(f"{done:,} tried, {messages:,} were messages")
    rate = round(done / (time.monotonic() - begun))
    return Seen(good=done, tried=done, figures={"were messages": messages, "payloads read": values, "per s": rate})
