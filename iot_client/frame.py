"""One frame on its way, and the states it passes.

    WAITING -> HEAD ------> READY -> SENT -----------> [BACK -> TAIL] -> SETTLED -> delivered
      |          |            `-------`-> TWIN ---------^                  ^
      |          `- filtered, failed, or all stages run here --------------|
      `- dropped (stale, overload, offline, ...) from any state -----------'

HEAD   stages [0, start) run here          SENT  the job is at the server
READY  encoded, waits for credit or link   TWIN  the device runs the job's stages itself: link down, or deadline near
BACK   waits for its turn at the stages with state, which run in seq order: here (TAIL), or at the server (READY)
"""

from __future__ import annotations

from iot_client.outcome import Outcome

__all__ = ["BACK", "HEAD", "NEVER", "READY", "SENT", "SETTLED", "TAIL", "TWIN", "WAITING", "Frame"]

WAITING, HEAD, READY, SENT, TWIN, BACK, TAIL, SETTLED = range(8)

NEVER = float("inf")


class Frame:
    """What the machine knows of one frame. Times in seconds, sizes in bytes.

    `split`, `stop` and `codec` are fixed when HEAD begins; `payload` is the size at the cut; `attempts` counts SUBMITs;
    `stop` is where its job ends, `generation` that of the owner of the stages with state in it, 0 if it has none.
    `receipt_at` is when the server had it, less the time it held the receipt. `out` is True while a SUBMIT may be running
    somewhere; `ran_here` if a run of its job ended that nobody waited for any more: its value is kept, and stands;
    `twin_at` is when the twin was given to a worker.
    """

    __slots__ = ("attempts", "captured_at", "cloud_s", "codec", "device_s", "generation", "nbytes", "out", "outcome",
                 "payload", "ran_here", "receipt_at", "resend_at", "sent_at", "sent_bytes", "seq", "signature", "split",
                 "state", "stop", "twin_at", "where")

    def __init__(self, seq: int, captured_at: float, nbytes: int) -> None:
        self.seq = seq
        self.captured_at = captured_at
        self.nbytes = nbytes
        self.state = WAITING
        self.split = 0
        self.stop = 0
        self.generation = 0
        self.codec = "raw"
        self.receipt_at = 0.0
        self.payload = 0
        self.signature = ""
        self.sent_bytes = 0
        self.sent_at = 0.0
        self.resend_at = NEVER
        self.attempts = 0
        self.out = False
        self.ran_here = False
        self.twin_at = 0.0
        self.device_s: tuple[float, ...] = ()
        self.cloud_s: tuple[float, ...] = ()
        self.where = "device"
        self.outcome: Outcome | None = None

    def awaits(self, start: int, generation: int) -> bool:
        """True if a server's RESULT of the stages from `start` on, in this generation, would be its answer."""
        return generation == self.generation and self.attempts > 0 and self.state in (READY, SENT, TWIN) and start == self.split
