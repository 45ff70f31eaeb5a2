"""What a stream may send, as the plan across services has it."""

from __future__ import annotations

import msgspec

__all__ = ["NOTHING_SENT", "Allowance"]


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """`share` of the frames go to entrant `cloud` as `codec` ("" for the session's), in `rate` bytes per second at most.

    A transfer is expected to run at `speed` bytes per second, and the answer to be in time with `chance`. `size` are codecs
    whose size is to be learned, of a frame now and then.
    """

    cloud: int = 0
    codec: str = ""
    share: float = 1.0
    rate: float = float("inf")
    speed: float = float("inf")
    chance: float = 1.0
    size: tuple[str, ...] = ()


NOTHING_SENT = Allowance(share=0.0, rate=0.0)
