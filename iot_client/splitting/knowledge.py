"""What is known of an app on a device with a server, in a form that can be kept until the next start."""

from __future__ import annotations

import msgspec

__all__ = ["Knowledge", "KnownOption", "KnownStage"]


class KnownStage(msgspec.Struct, frozen=True):
    """One stage: seconds as in costs.StageCost, -1 where unknown, and the share of frames it passes on."""

    cpu_s: float = -1.0
    idle_s: float = 0.0
    server_s: float = -1.0
    passes: float = 1.0


class KnownOption(msgspec.Struct, frozen=True):
    """One measured way over the cut: mean payload bytes, encode and decode seconds, bytes that returned."""

    k: int
    codec: str
    nbytes: float
    encode_s: float = 0.0
    decode_s: float = 0.0
    back_nbytes: float = 0.0


class Knowledge(msgspec.Struct, frozen=True):
    """A profile to start from; it is corrected by whatever is measured from then on.

    `up` and `down` are bytes per second and `rtt` seconds, 0 where unknown; `overhead_s` is in CPU seconds per frame
    and `send_s` per byte sent.
    """

    stages: tuple[KnownStage, ...]
    options: tuple[KnownOption, ...] = ()
    overhead_s: float = 0.0
    send_s: float = 0.0
    up: float = 0.0
    down: float = 0.0
    rtt: float = 0.0
    server_wait: float = 0.0
