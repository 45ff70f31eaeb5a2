"""What the device's machine hears and what it asks for. Values never appear here, only their seq.

Events are in the past tense, commands in the imperative. The body (coordinator or simulator) keeps items,
values and payloads by seq until `Release(seq)`.
"""

from __future__ import annotations

from typing import Union

import msgspec

from iot_client.outcome import Outcome
from iot_client.uplink.allowance import Allowance
from wire.protocol import Message

__all__ = [
    "AllowanceGiven", "Capture", "Choose", "Combine", "Combined", "Command", "Decided", "Deliver", "Event", "ExportState", "Extrapolate",
    "Finished", "FrameCaptured", "Garbled", "HookFailed", "HostSampled", "ImportState", "KeepState", "LinkDown", "LinkUp", "LoadVariant",
    "MessageReceived", "Note", "OfferLate", "Recall", "Refuse", "Release", "Reopen", "Reported", "ReportsRecalled", "RunStages",
    "SendMessage", "Sending", "SourceEnded", "SplitRequested", "StagesDone", "StartedAlone", "StateExported", "StopRequested", "Tick",
    "VariantReady",
]


class FrameCaptured(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The source gave an item; `seq` counts up from 0 without gaps. `at` is when it was captured."""

    seq: int
    at: float
    nbytes: int = 0


class SourceEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """No further FrameCaptured will come; `error` is why, if that was not planned."""

    error: str = ""


class Sending(msgspec.Struct, frozen=True, gc=False):
    """What `send_when` says of one frame: its deadline, how its value is encoded, and which clouds get it.

    `deadline` is in seconds after capture, `deadline_at` on the device's clock and stronger; None for that of the race.
    `codec` "" is the session's. `clouds` are entrants by index, None for all of them; () is nothing to be sent.
    """

    deadline: float | None = None
    deadline_at: float | None = None
    codec: str = ""
    clouds: tuple[int, ...] | None = None


class StagesDone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to one RunStages: `kind` is done, filtered, ended, failed or cancelled (see tasks.run).

    `cpu_s` is the CPU time of the whole run and its encoding, if it is measured; of a run that is studied `cpus`
    has each stage's and `sizes` the ways encoded: (k, codec, bytes, CPU seconds). `variant` and `answers` are those of its
    RunStages. Behind a gate `send` is what `send_when` said; if it raised, `kind` is failed, `stage` the one behind the gate, and
    `error` begins with "send_when: ".
    """

    seq: int
    start: int
    stop: int
    kind: str
    times: tuple[float, ...] = ()
    stage: int = -1
    error: str = ""
    nbytes: int = 0
    signature: str = ""
    encode_s: float = 0.0
    cpu_s: float = 0.0
    cpus: tuple[float, ...] = ()
    sizes: tuple[tuple[int, str, int, float], ...] = ()
    variant: str = ""
    answers: int = -1
    send: Sending | None = None


class StateExported(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to ExportState; `error` is why the states cannot travel, if they cannot."""

    seq: int
    nbytes: int = 0
    error: str = ""
    stage: int = 0


class VariantReady(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to LoadVariant: stages set up here have it loaded; `error` is why they cannot, if so."""

    variant: str
    error: str = ""


class Combined(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to Combine and Extrapolate: `kind` is done (what it gave is the frame's value there), filtered or failed.

    `error` begins with the hook's name: "merge: ...", "extrapolate: ...".
    """

    seq: int
    kind: str
    error: str = ""


class HookFailed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A hook raised whose frame has its verdict already."""

    hook: str
    error: str


class LinkUp(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The transport to a server connected."""

    peer: int = 0


class LinkDown(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The transport to a server broke; whatever was under way on it is lost.

    `denied`: one of the two sides does not know the other's key; no new link is tried before a Reopen.
    """

    peer: int = 0
    reason: str = ""
    denied: bool = False


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """A server said something. A RESULT's value has been decoded and kept by the body already, unless it was `damaged`."""

    message: Message
    session: int
    epoch: int
    nbytes: int = 0
    peer: int = 0
    damaged: bool = False


class Garbled(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something came from a server that is no message."""

    peer: int = 0


class HostSampled(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The host was sampled: CPU seconds per second this process can have and has had for `seconds`; `cores` it has."""

    available: float
    own: float
    cores: float
    seconds: float


class AllowanceGiven(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Whoever plans for all streams on one uplink says what this one may send from the next frame on."""

    allowance: Allowance


class SplitRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The user asks for k stages on the device from the next frame on."""

    k: int


class StopRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Capture no more; frames in flight get `patience` seconds to finish, then are dropped."""

    patience: float = 2.0


class StartedAlone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """No server answered at the start; frames may enter all the same, for what cannot be done now waits in the spool."""


class ReportsRecalled(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer to Recall: final values of these seqs, in order, are kept in memory now."""

    seqs: tuple[int, ...]


class Tick(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The time asked for by `next_wakeup` has come; a spurious one changes nothing."""


Event = Union[
    FrameCaptured, SourceEnded, StagesDone, LinkUp, LinkDown, MessageReceived, Garbled, HostSampled, SplitRequested, StopRequested,
    StartedAlone, ReportsRecalled, StateExported, VariantReady, Combined, HookFailed, AllowanceGiven, Tick,
]


class Capture(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The source may read one more item."""


class RunStages(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Run stages [start, stop) on what is kept for seq; then `encode` it for sending if so, as `codec`.

    `ordered` runs go through one lane, in the order commanded (stateful stages). `study` asks for the CPU time of
    each stage, and for the size of the value at these (k, codec). An `urgent` run goes before others that wait, and
    ends between two stages when it is wanted no more. Jobs end before stage `until`, -1 for the usual one. A
    `replay` is run whatever became of its frame, for the state after it. The stages run with `variant`, "" of an app that has none.
    Of a run that `answers` a race as this entrant the value is kept as that entrant's answer, -1 for none; with a `gate` these
    stages are followed by `send_when`, which may leave nothing to encode.
    """

    seq: int
    start: int
    stop: int
    encode: bool = False
    ordered: bool = False
    codec: str = "raw"
    study: tuple[tuple[int, str], ...] | None = None
    urgent: bool = False
    until: int = -1
    replay: bool = False
    variant: str = ""
    answers: int = -1
    gate: bool = False


class Choose(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The verdict: this entrant's answer is the value of seq before stage `stop`; other runs of it are for nothing now.

    `entrant` -1: no value stands (filtered, failed, dropped), and runs of it are for nothing all the same.
    """

    seq: int
    stop: int
    entrant: int


class Combine(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Call merge(the local answer, that of this entrant); what it gives is the value of seq before stage `stop`."""

    seq: int
    stop: int
    entrant: int


class Extrapolate(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Call extrapolate(value, seconds); what it gives is the value of seq before stage `stop`.

    The value is what stood for frame `last`, the latest before this one whose answer or merged value stood: it is kept for this
    until a later one of these is delivered.
    """

    seq: int
    stop: int
    seconds: float
    last: int


class OfferLate(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Call on_late with the answer of this entrant, which came after the verdict; nothing comes back but HookFailed."""

    seq: int
    stop: int
    entrant: int


class LoadVariant(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Have stages that are set up here load a variant, while others run on."""

    variant: str


class ExportState(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Encode the states of stages [stage, stop), as they are before frame seq, and keep them by that seq."""

    seq: int
    stage: int
    stop: int


class ImportState(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Give stages [stage, stop) the states kept for seq; runs commanded after this start from them."""

    seq: int
    stage: int
    stop: int


class KeepState(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Of the states kept only those before frame seq are needed, and of delivered frames before it only final values."""

    seq: int


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """Send a message; with the payload kept for `payload` (a seq) unless that is -1: of a STATE the state kept for it."""

    message: Message
    session: int
    epoch: int
    payload: int = -1
    peer: int = 0


class Deliver(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The outcome of seq, final, in seq order; the body hands it to the user.

    With `keep` its value at the cut is still needed, until KeepState with a later seq or Release. Of a race `entrant` says whose
    answer it is, or "merged" or "extrapolated", and `late` that it stood after the deadline.
    """

    seq: int
    outcome: Outcome
    split: int
    captured_at: float
    latency: float
    device_s: tuple[float, ...] = ()
    cloud_s: tuple[float, ...] = ()
    sent_bytes: int = 0
    codec: str = ""
    keep: bool = False
    variant: str = ""
    entrant: str = ""
    late: bool = False


class Release(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Everything kept for seq may go."""

    seq: int


class Reported(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The server has the final value of seq; the spool need not keep it any longer."""

    seq: int


class Recall(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Bring at most `count` final values from the spool into memory: the first ones beyond seq `after`."""

    after: int
    count: int


class Reopen(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Close the transport to this server and open a new one; `rtt` is its round trip in seconds, 0.0 if unknown."""

    peer: int = 0
    rtt: float = 0.0


class Note(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something a person should know; `level` is info, warning or error."""

    level: str
    text: str


class Refuse(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The server will not serve this session; code and text are its own. For good, unless the code is "forbidden"."""

    code: str
    text: str


class Decided(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Frames go another way from now on, and why: k stages here and the rest as `codec`, `share` of them as k2, codec2.

    What follows is predicted of this mix: frames per second, seconds, CPU seconds, bytes and server seconds a frame.
    `moved` is True if a cut changed that was in use, `met` if the goal can be held.
    """

    k: int
    codec: str
    k2: int
    codec2: str
    share: float
    met: bool
    moved: bool
    text: str
    rate: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    device_cpu_s: float = 0.0
    nbytes: float = 0.0
    server_s: float = 0.0


class Finished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The source ended and every frame has its outcome."""


Command = Union[
    Capture, RunStages, LoadVariant, ExportState, ImportState, KeepState, SendMessage, Deliver, Release, Reported, Recall, Reopen, Note,
    Refuse, Decided, Choose, Combine, Extrapolate, OfferLate, Finished,
]
