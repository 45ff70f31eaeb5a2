"""What each stage, cut, codec and the link cost now, learned from the frames themselves.

Every run of stages says its wall time and its thread's CPU time; every RESULT the server's times; every receipt
what the link carried. Stages and cuts not in use are learned from a few frames that go another way (steering.py
sends them). CPU time is kept apart from wall time, because a frame's CPU time hardly depends on who else computes,
while its wall time does: `stretch` is the ratio of the two now, and the same for all stages.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.extras import Extras
from iot_client.splitting.knowledge import Knowledge, KnownOption, KnownStage
from iot_client.splitting.overhead import Overhead
from iot_client.splitting.policy import Region
from iot_client.splitting.sizes import Size, Sizes
from iot_client.splitting.stage_costs import Stage, StageCosts
from metrics.linkrate import LinkRate
from wire.protocol import MAX_JOB

__all__ = ["Profile"]

_ALPHA = 0.1
"""Weight of a new sample: a change is followed to 2/3 within ten frames."""
_STRETCH_ALPHA = 0.05
_RECEIPT = 0.035
"""Seconds by which a receipt may come after its payload without meaning a queue: a frame's pause at 30 fps."""
_UNKNOWN = -1.0
_TURN = 1e-3
"""Seconds from the end of a job to the begin of the next where a fold runs one at a time: a worker's answer, a turn of the
server's loop, and the way of state and input to a worker."""


class Profile:
    """Everything measured of one session.

    Args:
        n: stages; stop: where jobs end; workers: device threads.
        keys: the legal ways, (k, codec, quality).
        prior: what was known before.
    """

    def __init__(
        self, n: int, stop: int, workers: int, keys: Sequence[tuple[int, str, int]], prior: Knowledge | None = None
    ) -> None:
        known = prior if prior is not None and len(prior.stages) == n else Knowledge((KnownStage(),) * n)
        self.n, self.stop, self.workers = n, stop, workers
        self.keys = self.all_keys = tuple(keys)
        self.link = LinkRate()
        self.extras = Extras()
        self._of = StageCosts(known.stages, known.options)
        self.rtt = known.rtt
        self.server_wait = known.server_wait
        self.server_load = 0.0
        self.max_job = MAX_JOB
        self.server_workers = 1
        self.own_load = 0.0
        self.stretch = 1.0
        self.overhead = Overhead(known.overhead_s, known.send_s)
        self.available = float("inf")
        self.cores = 1.0
        self.offered = 0.0
        self.allowance = float("inf")
        self._known_up = known.up
        self._down = known.down
        self._wall_sum = self._cpu_sum = 0.0
        self._used = 0.0
        self._entered = 0
        self._sent = 0
        self._turn_s = _UNKNOWN
        self._busy_until = 0.0

    # -- variants ----------------------------------------------------------------------------------

    def vary(self, varies: tuple[bool, ...], variant: str) -> None:
        """These stages vary, and frames are made with `variant` at first."""
        self._of.vary(varies, variant)

    def make_with(self, variant: str) -> None:
        """Frames that begin from now on are made with this variant."""
        self._of.make_with(variant)

    @property
    def variant(self) -> str:
        """What frames are made with now."""
        return self._of.variant

    @property
    def sizes(self) -> Sizes:
        """How large values are at each cut, in the variant of now."""
        return self._of.sizes

    def sizes_of(self, variant: str) -> Sizes:
        """The same in another one."""
        return self._of.sizes_of(variant)

    @property
    def stages(self) -> list[Stage]:
        """What each stage costs, in the variant of now."""
        return self._of.now

    @property
    def cpu_s(self) -> list[float]:
        """CPU seconds of each stage here; below 0 unknown."""
        return [stage.cpu_s for stage in self._of.now]

    @property
    def server_s(self) -> list[float]:
        """Seconds of each stage at the server; below 0 unknown."""
        return [stage.server_s for stage in self._of.now]

    # -- the device --------------------------------------------------------------------------------

    def ran(
        self, start: int, times: Sequence[float], kind: str, cpu_s: float, encode_s: float, cpus: Sequence[float] = (), variant: str = ""
    ) -> None:
        """A run of stages from `start` here: wall seconds of each, CPU seconds of the whole run and its encoding.

        `cpus` are the CPU seconds of each stage, where they were measured one by one; `variant` is what they ran with.
        """
        if not times:
            return
        wall = sum(times) + encode_s
        self._used += cpu_s
        stages = self._of.of(variant)
        busy = [max(0.0, time - stages[start + i].idle_s) for i, time in enumerate(times)]
        total = sum(busy) + encode_s
        scale = min(1.0, cpu_s / total) if total > 0.0 else 1.0
        for i, time in enumerate(times):
            stage = stages[start + i]
            if cpus:
                stage.idles.append(max(0.0, time - cpus[i]))
            stage.ran(cpus[i] if cpus else busy[i] * scale)
        _passed(stages[start : start + len(times)], kind)
        idle = sum(time - own for time, own in zip(times, busy))
        self._wall_sum += _STRETCH_ALPHA * (max(wall - idle, cpu_s) - self._wall_sum)
        self._cpu_sum += _STRETCH_ALPHA * (cpu_s - self._cpu_sum)
        if self._cpu_sum > 0.0:
            self.stretch = self._wall_sum / self._cpu_sum

    def entered(self) -> None:
        """The source gave a frame."""
        self._entered += 1

    def left(self, nbytes: int, now: float) -> None:
        """So many bytes were sent."""
        self._sent += nbytes
        self.extras.sent(nbytes)
        rate = self.link.rate(now)
        if rate > 0.0:
            self._busy_until = max(now, self._busy_until) + nbytes / rate

    def queued(self, now: float, rate: float = 0.0) -> float:
        """Seconds until the uplink has carried what was sent, at `rate` or the one of now.

        By what was sent and the rate; and no less than the receipts say, which a link slower than thought holds back.
        """
        rate = rate or self.link.rate(now)
        if rate <= 0.0:
            return 0.0
        overdue = self.link.outstanding / rate - self.link.min_rtt(now) - _RECEIPT
        return max(0.0, self._busy_until - now, overdue)

    def spent(self, cpu_s: float) -> None:
        """CPU time went into measuring itself."""
        self._used += cpu_s

    def host(self, available: float, own: float, cores: float, seconds: float) -> None:
        """The host was sampled: CPU seconds per second this process can have and has used for `seconds`."""
        self.available, self.cores = available, cores
        surplus = own * seconds - self._used
        self.overhead.add(self._entered, self._sent, max(0.0, surplus))
        # Stages are counted when they end: what a sample has too little of, the next one has too much.
        self._used = max(0.0, -surplus)
        self._entered = self._sent = 0

    # -- the server --------------------------------------------------------------------------------

    def served(self, start: int, times: Sequence[float], kind: str, queue_s: float, variant: str | None = "") -> None:
        """A job ran on the server: seconds of each of its stages, a batch's divided by its size; None: with a variant not known."""
        stages = self._of.of(variant)[start : start + len(times)]
        for stage, time in zip(stages, times):
            stage.served(time)
        _passed(stages, kind)
        self.server_wait += _ALPHA * (queue_s - self.server_wait)

    def came_back(self, nbytes: int, seconds: float) -> None:
        """A RESULT of `nbytes` took `seconds` longer on its way than a receipt does."""
        if nbytes >= 16384 and seconds > 1e-6:
            sample = nbytes / seconds
            self._down = sample if self._down <= 0.0 else self._down + 0.2 * (sample - self._down)

    # -- what follows ------------------------------------------------------------------------------

    def up(self, now: float) -> float:
        """Bytes per second of the uplink; 0.0 if nothing is known."""
        return self.link.rate(now) or self._known_up

    def knows_device(self) -> bool:
        """True if every stage that may run here has been seen here."""
        last = max((k for k, _, _ in self.keys), default=0)
        return all(self.stages[i].cpu_s >= 0.0 or self._reach(i) < 0.01 for i in (*range(1, last), *range(self.stop, self.n)))

    def knows_server(self) -> bool:
        """True if every stage that may run there has been seen there."""
        first = min((k for k, _, _ in self.keys), default=self.n)
        return all(self.stages[i].server_s >= 0.0 or self._reach(i) < 0.01 for i in range(first, self.stop))

    def enter(self, region: Region, now: float) -> None:
        """Jobs begin and end elsewhere from now on; what frames took longer than their parts here tells nothing there."""
        self.stop, self.keys, self._turn_s = region.stop, region.ways, _turn(region)
        self.extras.restart(now)

    def costs(self, now: float, region: Region | None = None) -> Costs:
        """The state of things as the choice wants it: in this region, or in another, where what no job has shown is guessed."""
        if region is None:
            return self._costs(now, self.stop, self.keys, self.cpu_s, self.server_s, self._turn_s)
        ratio = self._ratio()
        here, there = _guessed(self.cpu_s, self.server_s, 1.0 / ratio), _guessed(self.server_s, self.cpu_s, ratio)
        return self._costs(now, region.stop, region.ways, here, there, _turn(region))

    def _costs(
        self, now: float, stop: int, keys: Sequence[tuple[int, str, int]], cpu_s: Sequence[float], server_s: Sequence[float], turn_s: float
    ) -> Costs:
        reach = self._reaches()
        stages = tuple(
            StageCost(max(0.0, cpu_s[i]), self.stages[i].idle_s, max(0.0, server_s[i]), reach[i]) for i in range(self.n)
        )
        self.extras.follow(self.up(now), now)
        base = Costs(
            stages=stages, options=(), stop=stop, workers=self.workers, stretch=self.stretch, overhead_s=self.overhead.per_frame,
            cpu=self.available, cores=self.cores, up=self.up(now) or float("inf"), down=self._down or float("inf"), rtt=self._rtt(now),
            server_wait=self.server_wait, server_cpu=self._server_cpu(), allowance=self.allowance, offered=self.offered,
            turn_s=turn_s,
        )
        return self._with_options(base, keys, server_s, now)

    def _with_options(self, base: Costs, keys: Sequence[tuple[int, str, int]], server_s: Sequence[float], now: float) -> Costs:
        options = []
        for k, codec, quality in keys:
            if any(server_s[i] < 0.0 and self._reach(i) >= 0.01 for i in range(k, base.stop)):
                continue
            size = self.sizes.of(k, codec) if k < min(self.n, base.stop + 1) and codec else None
            if codec and (size is None or self._pointless(k, codec, size)):
                continue
            option = Option(k, codec, quality) if size is None else Option(
                k, codec, quality, size.nbytes, size.encode_s, size.decode_s, size.back_nbytes,
                send_s=self.overhead.per_byte * size.nbytes,
            )
            p50, p95 = self.extras.of(k, codec, base, option, now)
            options.append(replace(option, extra_p50=p50, extra_p95=p95))
        return replace(base, options=tuple(options))

    def _pointless(self, k: int, codec: str, size: Size) -> bool:
        """True if a codec does not make the value smaller there, or the server does not take so much."""
        if size.nbytes > self.max_job:
            return True
        raw = self.sizes.of(k, "raw")
        return codec != "raw" and raw is not None and size.nbytes > 0.97 * raw.nbytes

    def stage_seconds(self, stage: int) -> float:
        """Wall seconds of a stage on this device as it is now; below 0 if unknown."""
        held = self.stages[stage]
        return _UNKNOWN if held.cpu_s < 0.0 else held.cpu_s * self.stretch + held.idle_s

    def server_unknown(self, k: int) -> bool:
        """True if a stage behind the cut has never been seen on the server."""
        return any(self.stages[i].server_s < 0.0 and self._reach(i) >= 0.01 for i in range(k, self.stop))

    def _ratio(self) -> float:
        """Seconds at the server for a CPU second here, of the stages seen on both sides; 1 if none was."""
        both = [(there, here) for there, here in zip(self.server_s, self.cpu_s) if there > 0.0 and here > 0.0]
        return sum(there for there, _ in both) / sum(here for _, here in both) if both else 1.0

    def knowledge(self, now: float) -> Knowledge:
        """What is worth keeping for the next start."""
        stages = tuple(stage.known() for stage in self.stages)
        known = tuple(
            KnownOption(k, codec, size.nbytes, size.encode_s, size.decode_s, size.back_nbytes)
            for (k, codec), size in sorted(self.sizes.measured.items())
        )
        return Knowledge(
            stages, known, self.overhead.per_frame, self.overhead.per_byte, self.up(now), self._down, self._rtt(now), self.server_wait
        )

    def _rtt(self, now: float) -> float:
        return self.link.min_rtt(now) or self.rtt

    def _server_cpu(self) -> float:
        if self.allowance < float("inf"):
            return float(self.server_workers)  # what others take is planned for already
        others = max(0.0, self.server_load - self.own_load)
        # Busy others still leave a fair share: rounds go in turn.
        return self.server_workers * max(1.0 - others, 1.0 / (1.0 + others))

    def _reach(self, stage: int) -> float:
        reach = 1.0
        for held in self.stages[:stage]:
            reach *= held.passes
        return reach

    def _reaches(self) -> list[float]:
        reaches, reach = [], 1.0
        for stage in self.stages:
            reaches.append(reach)
            reach *= stage.passes
        return reaches


def _guessed(known: Sequence[float], other: Sequence[float], ratio: float) -> list[float]:
    """Seconds of each stage on one side; of those never seen there, in the proportion of the others to the `other` side."""
    return [seconds if seconds >= 0.0 or elsewhere < 0.0 else elsewhere * ratio for seconds, elsewhere in zip(known, other)]


def _turn(region: Region) -> float:
    return _TURN if region.stage >= 0 else _UNKNOWN


def _passed(stages: Sequence[Stage], kind: str) -> None:
    """Frames went on behind these stages, but for the last one if that ended it."""
    for stage in stages:
        stage.passed(kind == "done" or stage is not stages[-1])
