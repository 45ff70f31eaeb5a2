"""One frame on its way, and the states it passes.

    WAITING -> HEAD ------> READY -> SENT -----------> [BACK -> TAIL] -> SETTLED -> delivered
      |          |            `-------`-> TWIN ---------^                  ^
      |          `- filtered, failed, or all stages run here --------------|
      `- dropped (stale, overload, offline, ...) from any state -----------'

HEAD   stages [0, start) run here          SENT  the job is at the server
READY  encoded, waits for credit or link   TWIN  the device runs the job's stages itself: link down, or deadline near
RACING its answers race, at servers and here (racing/races.py), in place of READY, SENT and TWIN; a verdict may also come before that
JUDGED its race is over, and a hook of the app makes its value
BACK   waits for its turn at the stages with state, which run in seq order: here (TAIL), or at the server (READY)
"""

from __future__ import annotations

import msgspec

from iot_client.events import Sending
from iot_client.outcome import Outcome
from iot_client.racing.contest import Contest

__all__ = ["BACK", "HEAD", "JUDGED", "NEVER", "RACING", "READY", "SENT", "SETTLED", "TAIL", "TWIN", "WAITING", "Frame"]

WAITING, HEAD, READY, SENT, TWIN, BACK, TAIL, SETTLED, RACING, JUDGED = range(10)

NEVER = float("inf")


class Frame(msgspec.Struct, eq=False, gc=False):
    """What the machine knows of one frame. Times in seconds, sizes in bytes.

    `split`, `stop`, `codec` and `variant` are fixed when HEAD begins; `payload` is the size at the cut; `attempts` counts SUBMITs;
    `stop` is where its job ends, `generation` that of the owner of the stages with state in it, 0 if it has none.
    `receipt_at` is when the server had it, less the time it held the receipt. `out` is True while a SUBMIT may be running
    somewhere; `ran_here` if a run of its job ended that nobody waited for any more: its value is kept, and stands;
    `twin_at` is when the twin was given to a worker; `study` is what is to be encoded of a frame that is studied.
    Of a race: `contest`, what `send_when` said, whether the local entrant is at a worker, what each entrant's stages
    `took`, and whose answer stood, late or not; `due_at` is when its run here is due by what was known last;
    `sends` is False if it may not be sent, where streams share an uplink.
    """

    seq: int
    captured_at: float
    nbytes: int
    state: int = WAITING
    split: int = 0
    stop: int = 0
    generation: int = 0
    codec: str = "raw"
    variant: str = ""
    receipt_at: float = 0.0
    payload: int = 0
    signature: str = ""
    sent_bytes: int = 0
    sent_at: float = 0.0
    resend_at: float = NEVER
    attempts: int = 0
    out: bool = False
    ran_here: bool = False
    twin_at: float = 0.0
    device_s: tuple[float, ...] = ()
    cloud_s: tuple[float, ...] = ()
    where: str = "device"
    outcome: Outcome | None = None
    study: tuple[tuple[int, str], ...] | None = None
    contest: Contest | None = None
    send: Sending | None = None
    runs_here: bool = False
    due_at: float = 0.0
    took: dict[int, tuple[float, ...]] = {}
    entrant: str = ""
    late: bool = False
    sends: bool = True

    def awaits(self, start: int, generation: int) -> bool:
        """True if a server's RESULT of the stages from `start` on, in this generation, would be its answer."""
        return READY <= self.state <= TWIN and start == self.split and generation == self.generation and self.attempts > 0
