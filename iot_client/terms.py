"""What a client asks for, checked against its app, as the machine needs it."""

from __future__ import annotations

import secrets

import msgspec
from msgspec.structs import replace

from iot_client.racing.config import RaceConfig
from iot_client.racing.terms import check_race, deadline_of, local_variant, race_of
from iot_client.servers.hosts import Host
from iot_client.servers.peer import PeerConfig
from iot_client.session import SessionConfig
from iot_client.splitting.goal import Goal
from iot_client.splitting.knowledge import Knowledge
from iot_client.splitting.policy import SteerConfig
from iot_client.splitting.ways import regions_of, ways_of
from tasks import App, IllegalCut, Task
from wire.codecs import parse_codec
from wire.protocol import CODECS, MINOR, Hello

__all__ = ["Terms"]

_MODES = ("live", "lossless")
_POLICIES = ("auto", "threshold")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a Client that decide how frames travel; see there for their meaning.

    Raises:
        ValueError: one is out of its range; the text names it, its value and what is legal.
    """

    device: str
    mode: str
    split: int | None
    workers: int
    want: tuple[str, ...] | None
    max_age: float
    memory: int
    window: int
    codec: str = "raw"
    goal: Goal | None = None
    policy: str = "auto"
    offered: float = 0.0
    available: float = float("inf")
    cores: float = 1.0
    prior: Knowledge | None = None
    spooled: bool = False
    deadline: float | None = None
    variant: str | None = None
    hosts: tuple[Host, ...] = ()
    hedge: str = "risk"

    @property
    def remote(self) -> bool:
        """True if there is a server."""
        return bool(self.hosts)

    @property
    def _shipped(self) -> int:
        """Bytes of the app, 0 where servers have it."""
        return max((host.bundle.nbytes for host in self.hosts if host.bundle is not None), default=0)

    def __post_init__(self) -> None:
        _check(0 < len(self.device) <= 256, "device", self.device, "1 to 256 characters")
        _check(self.mode in _MODES, "mode", self.mode, f"one of {', '.join(_MODES)}")
        lossless = "left out in live mode, which gives up what is older than max_age; a spool is for mode lossless"
        _check(not self.spooled or self.mode == "lossless", "spool", self.spooled, lossless)
        _check(self.workers >= 1, "workers", self.workers, "at least 1")
        _check(self.max_age > 0, "max_age", self.max_age, "seconds above 0")
        _check(self.deadline is None or 0 < self.deadline <= 3600, "deadline", self.deadline, "seconds above 0, at most 3600")
        _check(self.memory > 0, "memory", self.memory, "bytes above 0")
        _check(self.policy in _POLICIES, "policy", self.policy, f"one of {', '.join(_POLICIES)}")
        parse_codec(self.codec)
        if self.goal is not None:
            _check(self.remote, "goal", self.goal, "with a server to move stages to: give host")
            _check(self.codec == "raw", "codec", self.codec, "left out where the goal decides it")
            _check(self.policy == "auto" or self.goal.fps is not None, "policy", self.policy, "a goal with fps")
        _check(self.window >= 0, "window", self.window, "a number of frames, or 0 to follow the load")

    def session(self, app: App) -> SessionConfig:
        """The session's configuration.

        Raises:
            IllegalCut: the split is not legal on this device, or needs a server where none is named. UnknownVariant: `variant`.
            ValueError: what is asked for does not go together.
        """
        check_race(
            app, hosts=len(self.hosts), deadline=self.deadline, hedge=self.hedge, mode=self.mode, goal=self.goal is not None,
            spooled=self.spooled, variant=self.variant,
        )
        if app.speculation is not None:
            return replace(self, deadline=self._declared(app), variant=None)._session(app, local_variant(app.speculation))
        return self._session(app, "" if self.variant is None else app.variant(self.variant).name)

    def _declared(self, app: App) -> float | None:
        """The deadline of an app that declares one; alone, a frame has one only if it is dropped then."""
        assert app.speculation is not None
        dropped = app.speculation.on_miss == "drop" and self.mode == "live"
        return deadline_of(app, self.deadline) if self.remote or dropped else None

    def _session(self, app: App, variant: str) -> SessionConfig:
        lacks = frozenset(app.missing())
        moves = self._state_moves(app)
        split = self._split(app, lacks, moves)
        cut = app.cut(split, lacks, state_moves=moves)
        if not self.remote and split != app.n:
            raise IllegalCut(f"split {split} of {app.n} needs a server: give host, or leave the split out to run all stages here")
        stateful = tuple(stage.stateful for stage in app.chain)
        here = next((i for i, held in enumerate(stateful) if held), app.n)
        pivot = here if split == app.n or moves else cut.stop
        race = race_of(app, hosts=len(self.hosts), split=split, deadline=self.deadline, hedge=self.hedge, mode=self.mode)
        fits = not variant and self._fits(app, lacks, split)
        hellos = self._hellos(app, lacks, race, fits)
        declared = app.speculation is not None
        return SessionConfig(
            session=secrets.randbits(63) | 1, n=app.n, split=split, pivot=pivot,
            splits=(False, *(not app.why_not(k, lacks, state_moves=moves) for k in range(1, app.n + 1))), stateful=stateful,
            stops=((), *(app.stops(k, lacks) for k in range(1, app.n + 1))) if moves else (),
            once=tuple(stage.once for stage in app.chain), mode=self.mode, hello=next(iter(hellos), None), workers=self.workers,
            window=self.window, max_age=self.max_age, memory=self.memory,
            reports=app.aggregate is not None and self.remote and not self._shipped,
            codec=self.codec, deadline=self.deadline or 0.0, steer=self._steer(app, lacks, pivot, split if moves else 0),
            peer=PeerConfig(bundle=self._shipped), variants=() if declared else tuple(app.variants),
            variant=variant, race=race, rivals=hellos[1:], rival_sessions=tuple(secrets.randbits(63) | 1 for _ in hellos[1:]),
            varies=tuple(stage.varies for stage in app.chain) if app.variants else (), fits=fits,
        )

    def _fits(self, app: App, lacks: frozenset[int], split: int) -> bool:
        """True if a frame may take a variant below the planned one: no stage here has to load it, and none is run here instead."""
        if app.speculation is not None:
            return False
        timed = self.remote and self.mode == "live" and self.deadline is not None and self.goal is None
        here = [stage for stage in app.chain[:split] if stage.varies]
        return timed and bool(app.variants) and bool(app.why_not(app.n, lacks)) and all(type(stage).load is Task.load for stage in here)

    def _steer(self, app: App, lacks: frozenset[int], pivot: int, k: int) -> SteerConfig | None:
        """Where the split may move by itself; across stages with state if it begins at `k` > 0."""
        if self.goal is None:
            return None
        regions = regions_of(app, lacks, k, self.mode, self.goal.min_quality) if k else ()
        legal = [k for k in app.legal_cuts(lacks) if k == app.n or (k < pivot and app.cut(k, lacks).stop == pivot)]
        ways = regions[0].ways if regions else ways_of(app, legal, pivot, self.mode, self.goal.min_quality)
        return SteerConfig(
            policy=self.policy, goal=self.goal, ways=ways, offered=self.offered, available=self.available, cores=self.cores,
            prior=self.prior, regions=regions,
        )

    def _state_moves(self, app: App) -> bool:
        """True if stages with state may run on the server: where no frame is given up, raced or taken up by a later run."""
        lossless = self.remote and self.mode == "lossless" and self.deadline is None and not self.spooled
        timeless = self.goal is None or (self.goal.slo is None and self.policy == "auto")
        return lossless and timeless and any(stage.stateful for stage in app.chain)

    def _split(self, app: App, lacks: frozenset[int], moves: bool) -> int:
        if self.split is not None:
            return self.split
        legal = app.legal_cuts(lacks, state_moves=moves)
        if app.speculation is not None and self.remote:
            return max((k for k in legal if k <= app.speculation.stage), default=app.n)
        return legal[0] if legal and self.remote else app.n

    def _hellos(self, app: App, lacks: frozenset[int], race: RaceConfig | None, fits: bool) -> tuple[Hello, ...]:
        """That of home, and those of a race's other entrants; clouds without a server of their own go to home."""
        variants = (self.variant or "",) if race is None else race.clouds
        return tuple(self._hello(app, lacks, variant, host, fits) for variant, host in zip(variants, self.places(race)))

    def places(self, race: RaceConfig | None) -> tuple[Host, ...]:
        """Where each entrant's server is; without a race the one that is home."""
        count = 1 if race is None else len(race.clouds)
        return tuple(self.hosts[index] if index < len(self.hosts) else self.hosts[0] for index in range(count)) if self.hosts else ()

    def _hello(self, app: App, lacks: frozenset[int], variant: str, host: Host, fits: bool) -> Hello:
        return Hello(
            MINOR, self.device, app.name, app.version, app.fingerprint(), app.names, app.source_hash(), codecs=CODECS, mode=self.mode,
            want=self.want, fps=self._fps(), slo_us=self._slo_us(), lacks=tuple(sorted(lacks)), checksum=host.checksum,
            bundle="" if host.bundle is None else host.bundle.digest,
            newest=self.mode == "live" and self.goal is None and self.deadline is None, variant=variant, fits=fits,
        )

    def _fps(self) -> float:
        """The rate that is asked for or comes, the lower of both; 0.0 if neither is known."""
        goal = 0.0 if self.goal is None else self.goal.fps or 0.0
        return min(goal, self.offered) if goal and self.offered else goal or self.offered

    def _slo_us(self) -> int:
        """The time a frame may take, the shorter of goal and deadline; 0 for any."""
        bounds = [bound for bound in (self.deadline, None if self.goal is None else self.goal.slo) if bound]
        return int(min(bounds, default=0.0) * 1e6)


def _check(condition: bool, name: str, value: object, legal: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value!r}; legal: {legal}")
