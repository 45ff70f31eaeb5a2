"""What the two sides say to each other: one struct for each kind of message, and the range of every field.

The header of a message is the msgpack array of its struct's fields, in this order. Fields may be appended in a
later minor version: readers ignore trailing ones they do not know and use defaults for those that are absent.
Nobody sends a kind, or a word in a field with a closed set of words, that the peer's minor version lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Union

import msgspec
from msgspec import Meta

__all__ = [
    "CODECS", "KINDS", "MAX_SIGNATURE", "MAX_STAGES", "MAX_TEXT", "Bundle", "Bye", "Cancel", "Credit", "Error", "Hello", "Message",
    "Ping", "Plan", "Pong", "Report", "Result", "Skip", "State", "Submit", "Welcome",
]

CODECS = ("raw", "bits", "png", "jpeg", "fp16", "int8")
"""Families of codecs this version speaks, see wire.codecs. Who does not name any speaks raw alone, as version 1.0 did."""
_RAW = ("raw",)
MAX_STAGES = 256
MAX_TEXT = 8192
"""Characters of a text for people (a reason, a warning)."""
MAX_SIGNATURE = 200
_MAX_NAME = 256
_MAX_INT = 2**62

if TYPE_CHECKING:  # for callers these are strings; the decoder refuses any word outside the set, at no cost
    _Ended = str
    _Receipt = str
    _Mode = str
    _Code = str
else:
    _Ended = Literal["done", "filtered", "failed", "dropped"]
    _Receipt = Literal["", "submit", "report", "state"]
    _Mode = Literal["live", "lossless"]
    _Code = Literal[
        "version", "unknown_app", "fingerprint", "codec", "hello_required", "unsupported", "oversize", "credit", "protocol",
        "busy", "shutdown", "damaged", "forbidden", "bundle", "bundle_required",
    ]

_Seq = Annotated[int, Meta(ge=0, le=_MAX_INT)]
_SeqOrNone = Annotated[int, Meta(ge=-1, le=_MAX_INT)]
_Count = Annotated[int, Meta(ge=0, le=_MAX_INT)]
_Stage = Annotated[int, Meta(ge=0, le=MAX_STAGES)]
_StageOrNone = Annotated[int, Meta(ge=-1, le=MAX_STAGES)]
_Stamp = Annotated[int, Meta(ge=-_MAX_INT, le=_MAX_INT)]
_Level = Annotated[float, Meta(ge=0.0, le=1e9)]
_Name = Annotated[str, Meta(max_length=_MAX_NAME)]
_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Signature = Annotated[str, Meta(max_length=MAX_SIGNATURE)]
_Names = Annotated[tuple[_Name, ...], Meta(max_length=MAX_STAGES)]
_Stages = Annotated[tuple[_Stage, ...], Meta(max_length=MAX_STAGES)]
_Times = Annotated[tuple[_Count, ...], Meta(max_length=MAX_STAGES)]
_Minor = Annotated[int, Meta(ge=0, le=255)]
_Crc = Annotated[int, Meta(ge=-1, le=2**32 - 1)]


class Hello(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, first message on every link: who I am and what I run.

    `fps` and `slo_us` are the rate at which frames come and the time each may take, as far as they are known. With `newest` a
    frame is worth less than the one after it. `variant` is one the device will not leave, whatever is planned; "" if it follows.
    With `fits` the device takes a cheaper one than is planned where its link asks for it, and its budgets leave only the least round trip.
    `checksum` asks for checksums over buffers; `bundle` is the digest of the shipped app this is about, "" for an installed one.
    """

    minor: _Minor
    device: _Name
    app: _Name
    app_version: _Name
    fingerprint: _Name
    stages: _Names
    source_hash: _Name = ""
    codecs: _Names = _RAW
    mode: _Mode = "live"
    want: _Names | None = None
    fps: _Level = 0.0
    slo_us: _Count = 0
    acked: _Seq = 0
    lacks: _Stages = ()
    checksum: bool = False
    bundle: _Name = ""
    newest: bool = False
    variant: _Name = ""
    fits: bool = False


class Welcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the session stands; `limit` counts SUBMIT payload bytes from this message on.

    `workers` is how many jobs the server runs at a time. With `checksum` both sides state and check checksums of buffers.
    """

    minor: _Minor
    server: _Name
    limit: _Count
    max_job: _Count
    heartbeat_us: _Count
    lease_us: _Count
    codecs: _Names = _RAW
    lacks: _Stages = ()
    resumed: bool = False
    warning: _Text = ""
    workers: _Count = 1
    checksum: bool = False


class Submit(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, with payload: run stages [start, stop) of frame seq.

    `after` is the seq of the predecessor in the stream (-1: none); `budget_us` the time left (-1: no
    deadline); `stamp_us` the device's monotonic clock at sending; every seq below `acked` has its outcome.
    `generation` is the one in which the server owns the state of the stages in it, 0 if none has any; `crc` the
    CRC-32 of the buffers one after the other, -1 where none is stated. `variant` is the one its stages are made with.
    """

    seq: _Seq
    start: _Stage
    stop: _Stage
    after: _SeqOrNone = -1
    budget_us: _SeqOrNone = -1
    stamp_us: _Stamp = 0
    acked: _Seq = 0
    codec: _Name = "raw"
    signature: _Signature = ""
    generation: _Count = 0
    crc: _Crc = -1
    variant: _Name = ""


class Result(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device, with payload if `outcome` is "done": what came of a SUBMIT.

    `outcome` is done, filtered, failed or dropped; `stage` where it ended if not done; `reason` why.
    `times_us` are wall times per stage of the whole batch of `batch` jobs; a job's share is wall / batch.
    `held_us` is the time from the arrival of the SUBMIT to this message, `queue_us` the part spent waiting.
    `decode_us` is what it took to make the value out of this job's payload. `generation` is that of its SUBMIT.
    `variant` is the one planned for frames that begin now, "" for no plan.
    """

    seq: _Seq
    outcome: _Ended
    start: _Stage
    stop: _Stage
    stage: _StageOrNone = -1
    reason: _Text = ""
    times_us: _Times = ()
    batch: Annotated[int, Meta(ge=1, le=2**31)] = 1
    queue_us: _Count = 0
    held_us: _Count = 0
    load: _Level = 0.0
    codec: _Name = "raw"
    signature: _Signature = ""
    decode_us: _Count = 0
    generation: _Count = 0
    crc: _Crc = -1
    variant: _Name = ""


class Credit(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: you may send up to `limit` bytes in all; also the receipt of one message.

    `receipt` is "submit", "report" or "state" with its `seq`, or "" for a bare grant; `nbytes` is the payload size
    received and `held_us` how long this receipt was held back.
    """

    limit: _Count
    receipt: _Receipt = ""
    seq: _SeqOrNone = -1
    nbytes: _Count = 0
    held_us: _Count = 0


class Report(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, with payload: the final value of frame seq, for the aggregate."""

    seq: _Seq
    pending: _Count = 0
    discarded: _Count = 0
    crc: _Crc = -1


class Skip(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server: frame seq will not come; closes a gap for stateful stages."""

    seq: _Seq


class Cancel(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server: the result of frame seq is no longer of use."""

    seq: _Seq


class State(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way, with payload: the state of the stages with state from `stage` on, as it is before frame `seq`.

    From the device: the server owns it from now on, in `generation`. From the server: a copy, for the device to begin from
    if this server is lost.
    """

    stage: _Stage
    generation: _Count
    seq: _Seq
    crc: _Crc = -1


class Plan(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the variant for frames that begin now, "" for the first; the server seconds allowed per second, 1e9 for any."""

    variant: _Name
    allowance: _Level


class Ping(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server heartbeat; the answer echoes `stamp_us`. `sent` is the SUBMIT payload bytes since WELCOME.

    `wants` is the size of a payload that waits for credit, 0 if none does; `rtt_us` the least round trip seen, 0 before the first.
    """

    stamp_us: _Stamp
    acked: _Seq = 0
    sent: _Count = 0
    wants: _Count = 0
    rtt_us: _Count = 0


class Pong(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the echo, after `held_us` here."""

    stamp_us: _Stamp
    held_us: _Count = 0
    load: _Level = 0.0
    limit: _Count = 0


class Bye(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way: this session ends."""

    reason: _Text = ""


class Bundle(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, with payload: an app as signed bytes, in answer to ERROR(bundle_required)."""

    digest: _Name
    crc: _Crc = -1


class Error(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way: why a message was refused; `seq` names the frame it was about, if any."""

    code: _Code
    text: _Text
    seq: _SeqOrNone = -1


Message = Union[
    Hello, Welcome, Submit, Result, Credit, Report, Skip, Cancel, State, Plan, Ping, Pong, Bye, Error, Bundle
]

KINDS: dict[int, type[Message]] = {
    1: Hello, 2: Welcome, 3: Submit, 4: Result, 5: Credit, 6: Report, 7: Skip, 8: Cancel, 9: State, 10: Plan,
    11: Ping, 12: Pong, 13: Bye, 14: Error, 15: Bundle,
}
"""Byte value -> message."""
