"""What one session is about, as its machine needs it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from iot_client.racing.config import RaceConfig
from iot_client.servers.peer import PeerConfig
from iot_client.splitting.policy import SteerConfig
from wire.protocol import Hello

__all__ = ["SessionConfig"]


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is about; times in seconds, sizes in bytes.

    `splits[k]` says whether k stages on the device are legal; `stateful` and `once` say it per stage.
    `pivot` is where jobs end: the first stage with state after the cut, or n. If the state moves, `stops[k]` says where
    jobs from k may end, the latest first; else it is empty. `hello` is None for a device
    that runs alone. With `spooled` what a run cannot finish is on disk: `first` is the seq it begins with, and
    `reports_before` how many final values of earlier runs wait there. With a `deadline` the device finishes itself, in
    time, what the server does not; in live mode it is the bound of a frame's age, which else is `max_age`; 0.0 is none.
    `variants` are the app's, the first for when nobody plans; `variant` is the one the user fixed, "" for none; `varies` says
    per stage which run with it, () for none. With `fits` a frame may take one below what is planned, if the link asks for it.
    A `race` is one that is declared, or has several servers: jobs end at the pivot, and `pivot` is behind its stage. `hello` is then
    that of entrant 0, and `rivals` are those of the other clouds, with a session each; `session` and these ids differ.
    """

    session: int
    n: int
    split: int
    pivot: int
    splits: tuple[bool, ...]
    stateful: tuple[bool, ...]
    once: tuple[bool, ...]
    mode: str = "lossless"
    hello: Hello | None = None
    workers: int = 1
    window: int = 0
    max_age: float = 1.0
    deadline: float = 0.0
    depth: int = 1
    memory: int = 256 * 2**20
    reports: bool = False
    resend: float = 2.0
    codec: str = "raw"
    steer: SteerConfig | None = None
    stops: tuple[tuple[int, ...], ...] = ()
    peer: PeerConfig = PeerConfig()
    spooled: bool = False
    first: int = 0
    reports_before: int = 0
    variants: tuple[str, ...] = ()
    variant: str = ""
    varies: tuple[bool, ...] = ()
    fits: bool = False
    race: RaceConfig | None = None
    rivals: tuple[Hello, ...] = ()
    rival_sessions: tuple[int, ...] = ()

    @property
    def period(self) -> float:
        """Seconds from frame to frame, as registered at the server; 0.0 if unknown."""
        return 1.0 / self.hello.fps if self.hello is not None and self.hello.fps else 0.0

    @property
    def age_bound(self) -> float:
        """Live mode: seconds after capture at which a frame is given up."""
        return self.deadline or self.max_age

    def why_not(self, k: int, lacks: tuple[int, ...]) -> str:
        """Why the split cannot move to k, in words; "" if it can. The server cannot run the stages in `lacks`."""
        if not 0 < k <= self.n or not self.splits[k]:
            return "is not legal"
        if k == self.n or self.hello is None:
            return "" if k == self.n else "needs a server"
        # Jobs go on ending at the pivot, so that each stage with state stays where it is.
        if not self.stops and (k > self.pivot or any(self.stateful[k : self.pivot])):
            return "lies beyond a stage with state"
        lacking = self.lacking(k, lacks)
        return f"is not possible: the server lacks what these stages need: {lacking}" if lacking else ""

    def lacking(self, split: int, lacks: tuple[int, ...]) -> str:
        """Names of the stages that a job from `split` needs and the server cannot run."""
        names = self.hello.stages if self.hello else ()
        return ", ".join(names[stage] for stage in lacks if split <= stage < self.stop_of(split, lacks))

    def stop_of(self, k: int, lacks: Collection[int]) -> int:
        """Where jobs from k end, as late as the stages allow that the server cannot run."""
        stops = self.stops[k] if self.stops else ()
        possible = (stop for stop in stops if not any(k <= stage < stop for stage in lacks))
        return next(possible, stops[-1] if stops else self.pivot)
