"""What a frame costs where, as one immutable value: the profile writes it, the choice of the split reads it.

All costs are means over the frames that come to that point; `reach` says how many of all captured frames do, so
that a stage behind a filter weighs as much as it really costs.
"""

from __future__ import annotations

import msgspec

__all__ = ["LOSSLESS", "Costs", "Option", "StageCost"]

LOSSLESS = 100
"""The quality of a codec that loses nothing."""


class StageCost(msgspec.Struct, frozen=True, gc=False):
    """One stage, seconds per frame that reaches it.

    `cpu_s` is CPU time on the device and `idle_s` the time it waits there for something else than the CPU;
    `server_s` is its time on the server, a batch's divided by its size. `reach` is the share of captured frames
    that come to it, 0 to 1.
    """

    cpu_s: float
    idle_s: float = 0.0
    server_s: float = 0.0
    reach: float = 1.0


class Option(msgspec.Struct, frozen=True, gc=False):
    """One way for a frame to go: k stages here, the value at the cut sent as `codec`.

    `nbytes` is the payload's mean size, `encode_s` CPU seconds here, `decode_s` seconds there, `back_nbytes` the
    size of what returns. `extra_p50` and `extra_p95` are the seconds by which frames have taken longer than the
    sum of their parts says: queues, jitter, scheduling. `send_s` are CPU seconds for sending it, on no worker's
    time. For k = n nothing is sent: codec "" and zeros.
    """

    k: int
    codec: str = ""
    quality: int = LOSSLESS
    nbytes: float = 0.0
    encode_s: float = 0.0
    decode_s: float = 0.0
    back_nbytes: float = 0.0
    extra_p50: float = 0.0
    extra_p95: float = 0.0
    send_s: float = 0.0


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the choice depends on at one moment.

    Stages [k, stop) of an option run on the server, all others here. `workers` threads run stages on the device;
    `stretch` is the wall time a CPU second of theirs takes now (1: nobody is in the way). `overhead_s` is CPU per
    captured frame beyond stages and encoding; `cpu` the CPU seconds per second this process can have, `cores`
    those of the machine. `up` and `down` are bytes per second of the link, `rtt` its round trip without load;
    `server_wait` is the time a job waits there, `server_cpu` the seconds of stages per second it has left for
    this device, `allowance` those it granted. `offered` is the rate of the source, 0 if it follows the pipeline.
    Jobs of a fold that lies there run one at a time, and `turn_s` is the pause between two; below 0, jobs run side by side.
    Infinity stands for what is unknown and not known to bind.
    """

    stages: tuple[StageCost, ...]
    options: tuple[Option, ...]
    stop: int
    workers: int = 1
    stretch: float = 1.0
    overhead_s: float = 0.0
    cpu: float = float("inf")
    cores: float = 1.0
    up: float = float("inf")
    down: float = float("inf")
    rtt: float = 0.0
    server_wait: float = 0.0
    server_cpu: float = float("inf")
    allowance: float = float("inf")
    offered: float = 0.0
    turn_s: float = -1.0

    @property
    def n(self) -> int:
        """The number of stages."""
        return len(self.stages)
