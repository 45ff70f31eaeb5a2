"""What a stream may send, as the plan across services has it."""

from __future__ import annotations

import msgspec

__all__ = ["ANY", "NOTHING_SENT", "Allowance"]

ANY = 1e15
"""Bytes per second that bound nothing; a number that JSON can write."""


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """`share` of the frames go to entrant `cloud` as `codec` ("" for the session's), in `rate` bytes per second at most.

    A transfer is expected to run at `speed` bytes per second, and the answer to be in time with `chance`. `size` are codecs
    whose size is to be learned, of a frame now and then.
    """

    cloud: int = 0
    codec: str = ""
    share: float = 1.0
    rate: float = ANY
    speed: float = ANY
    chance: float = 1.0
    size: tuple[str, ...] = ()


NOTHING_SENT = Allowance(share=0.0, rate=0.0)
