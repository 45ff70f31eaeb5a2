"""What happens in one simulated run: the app, the devices, the paths, the server, and every fault, as values.

A scenario says all that is planned; chance (service times, jitter, losses) comes from the seed beside it. Files
are TOML, or JSON as a failing seed prints it:

    name = "two devices, one restart"
    stages = [{device_ms = 1}, {device_ms = 20, cloud_ms = 4, nbytes = 60_000}, {device_ms = 5, cloud_ms = 1}]
    devices = [{k = 1, frames = 200, fps = 20}, {k = 2, frames = 100, mode = "lossless"}]
    server = {workers = 2, kills = [[3.0, 0.8]]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from experiments.fleet.variety import Variety
from experiments.links import LinkTrace, LoadTrace
from experiments.simulation.strikes import Strike
from iot_client.splitting.goal import Goal
from iot_client.splitting.knowledge import Knowledge
from iot_client.splitting.policy import Region

__all__ = ["Cpu", "Device", "Network", "Scenario", "Server", "Stage", "Steer", "Way", "ending", "load"]


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the value after a stage costs in one codec; other JPEG qualities follow by the usual shape (way_at)."""

    codec: str
    nbytes: int
    encode_ms: float = 0.0
    decode_ms: float = 0.0


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage: its cost on either side and the size of the value after it.

    `filters` and `fails` are chances by which a frame ends here, decided by its seq alone. `idle_ms` is what it waits for
    something else than the CPU, `back` the bytes that return of a job cut after it (-1: as of the last stage's value). Where it
    `varies`, its time at the server and the size of the value after it are those of the frame's variant.
    """

    device_ms: float = 1.0
    cloud_ms: float = 1.0
    nbytes: int = 1_000
    filters: float = 0.0
    fails: float = 0.0
    placement: Literal["device", "cloud", "any"] = "any"
    stateful: bool = False
    once: bool = False
    idle_ms: float = 0.0
    back: int = -1
    ways: tuple[Way, ...] = ()
    varies: bool = False


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The path between one device and the server; chances per message, times in seconds from the start.

    `resets` break the connection, `blackholes` swallow all that is sent on it from then on and tell nobody (a
    forgotten NAT entry), `partitions` are (start, end). `drop` and `duplicate` are harsher than TCP; of what is hit by `damage`
    a bit is flipped, which a checksum shows.
    """

    latency_ms: float = 5.0
    jitter_ms: float = 0.0
    mbit_s: float = 0.0
    loss: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    damage: float = 0.0
    partitions: tuple[tuple[float, float], ...] = ()
    resets: tuple[float, ...] = ()
    blackholes: tuple[float, ...] = ()


class Cpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What computes on a device: `given` of the machine's cores, shared fairly with `load` in cores.

    `overhead_ms` of CPU go into each answered frame beside its stages (half of that into one dropped), `send_ns` into each byte sent.
    """

    given: float = 1.0
    cores: float = 1.0
    load: LoadTrace | None = None
    overhead_ms: float = 0.2
    send_ns: float = 0.3


class Steer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A split that moves by itself: as iot_client.splitting.policy.SteerConfig; `told` if the client is told the source's rate.

    With `regions` the state moves with it, in lossless mode without a deadline.
    """

    ways: tuple[tuple[int, str, int], ...]
    policy: Literal["auto", "threshold"] = "auto"
    goal: Goal = Goal()
    prior: Knowledge | None = None
    told: bool = True
    regions: tuple[Region, ...] = ()


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device: its source, its cut and what befalls it.

    `fps` 0 reads as fast as permitted. `splits` are (time, k); `hangs` are (time, seconds) in which nothing is
    handled. `spread` s makes a stage take its time x (1-s .. 1+s). `clock` is what its monotonic clock shows at
    the start, `drift` the part by which it runs fast. `memory` in bytes and `window` in frames, 0 for the default. With `cpu`
    a stage's time is CPU time, which takes as long as the machine makes it take; `steer` moves the split, `codec` is that of
    a fixed one. `link` is its own, instead of one as `network` says; `variant` the one it never leaves.
    """

    k: int = 1
    mode: Literal["live", "lossless"] = "live"
    frames: int = 100
    fps: float = 0.0
    workers: int = 1
    spread: float = 0.3
    splits: tuple[tuple[float, int], ...] = ()
    max_age_ms: float = 1_000.0
    deadline_ms: float = 0.0
    window: int = 0
    memory: int = 0
    starts_at: float = 0.0
    stops_at: float | None = None
    patience: float = 2.0
    dies_at: float | None = None
    hangs: tuple[tuple[float, float], ...] = ()
    clock: float = 0.0
    drift: float = 0.0
    online: bool = True
    network: Network = Network()
    codec: str = "raw"
    cpu: Cpu | None = None
    steer: Steer | None = None
    link: LinkTrace | None = None
    variant: str = ""


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server: `kills` and `stops` (asked to stop) are (time, seconds until it listens again); `hangs` as for a device.

    `memory` is what all devices may have there in bytes, `credit` each of them; `batched` says whether stages can run
    batches. `stuck` is (chance, seconds): so long a batch's worker does nothing first. `dies` is the chance that the worker
    of a batch dies with it. `planner` maps devices to variants: milp (whose answer may depend on this machine's speed), greedy or
    sa-dp; any other name is greedy. A worker has `resident` variants ready, 0 for all; `profiled` knows from the start what their
    batches take. `replans` has each variant planned in turn for so many seconds, whatever it is good for; 0 does not.
    """

    workers: int = 2
    spread: float = 0.3
    batched: bool = False
    max_batch: int = 16
    memory: int = 512 * 2**20
    credit: int = 32 * 2**20
    max_job: int = 16 * 2**20
    lease: float = 60.0
    kills: tuple[tuple[float, float], ...] = ()
    stops: tuple[tuple[float, float], ...] = ()
    hangs: tuple[tuple[float, float], ...] = ()
    stuck: tuple[float, float] = (0.0, 0.0)
    dies: float = 0.0
    planner: str = ""
    resident: int = 0
    profiled: bool = False
    replans: float = 0.0
    clock: float = 0.0
    drift: float = 0.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run; it must be over within `limit` seconds of virtual time. All devices share `link`, if there is one.

    `varieties` are the variants of the app.
    """

    stages: tuple[Stage, ...]
    devices: tuple[Device, ...]
    name: str = "scenario"
    server: Server = Server()
    limit: float = 600.0
    aggregate: bool = False
    link: LinkTrace | None = None
    spurious_ticks: float = 0.0
    """Ticks per second that nobody asked for, at every machine."""
    strikes: tuple[Strike, ...] = ()
    varieties: tuple[Variety, ...] = ()

    def __post_init__(self) -> None:
        if len(self.stages) < 1 or not self.devices:
            raise ValueError(f"scenario {self.name!r}: at least one stage and one device are needed")
        for index, device in enumerate(self.devices):
            for k in (device.k, *(k for _, k in device.splits)):
                if not 1 <= k <= len(self.stages):
                    raise ValueError(f"scenario {self.name!r}, device {index}: k={k}, legal are 1 to {len(self.stages)}")

    @property
    def n(self) -> int:
        """The number of stages."""
        return len(self.stages)

    def variety(self, name: str) -> Variety | None:
        """The variant of this name, the first where none is named, None where the app has none."""
        return next((each for each in self.varieties if each.name == name), self.varieties[0] if self.varieties else None)

    def size(self, stage: int, variant: str) -> int:
        """Bytes of the value after a stage, for a frame of this variant."""
        variety = self.variety(variant) if self.stages[stage].varies else None
        return self.stages[stage].nbytes if variety is None else variety.nbytes


def ending(scenario: Scenario, device: int, seq: int) -> tuple[str, int]:
    """How frame seq must end if it is not given up: ("done", n), ("filtered", stage) or ("failed", stage).

    A pure function of the frame, so that every placement and every repetition gives the same answer.
    """
    for stage, spec in enumerate(scenario.stages):
        if spec.filters or spec.fails:
            chance = _unit(device, seq, stage)
            if chance < spec.filters:
                return "filtered", stage
            if chance < spec.filters + spec.fails:
                return "failed", stage
    return "done", scenario.n


def load(path: str | Path) -> Scenario:
    """The scenario in a .toml or .json file.

    Raises:
        ValueError: the file is no scenario; the text names the field.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(data, type=Scenario)
        return msgspec.toml.decode(data, type=Scenario)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _unit(device: int, seq: int, stage: int) -> float:
    """A number in [0, 1) that looks random and depends on its arguments only (Knuth's multiplicative hash)."""
    mixed = (seq * 31 + stage * 17 + device * 101 + 7) * 2654435761 & 0xFFFFFFFF
    mixed ^= mixed >> 15
    mixed = mixed * 2246822519 & 0xFFFFFFFF
    return (mixed ^ mixed >> 13) / 2**32
