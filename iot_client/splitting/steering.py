"""The moving split: measures, chooses four times a second, and moves only for a reason that lasts.

    frames, results, receipts, host samples -> Profile -> costs -> choose(costs, goal) -> hysteresis -> next heading

Neighbouring frames may go different ways: a decision is a mix of at most two, interleaved by error diffusion.
What is not in use is learned from a few studied frames, ordinary frames that only go another way.
"""

from __future__ import annotations

from msgspec.structs import replace

from iot_client.events import Decided
from iot_client.splitting.costs import LOSSLESS, Costs, Option
from iot_client.splitting.extras import mixture, parts
from iot_client.splitting.hysteresis import Hysteresis
from iot_client.splitting.policy import LOCAL, Heading, Region, SteerConfig
from iot_client.splitting.prediction import unblocked
from iot_client.splitting.profile import Profile
from iot_client.splitting.regions import Regions, word_of
from iot_client.splitting.split import SplitDecision, choose, explain, retune
from iot_client.splitting.studies import Studies
from metrics.estimate import RateMeter

__all__ = ["Auto"]

PERIOD = 0.25
"""Seconds between two choices."""
_TELL = 4
"""Choices in a row with another answer to whether the goal holds before that is told."""
_SPAN = 4.0
"""Seconds over which the rate reached is compared with the one wanted: a little less than the five by which it is judged."""
_AIM = 1.02
"""The rate aimed at over the target, so that noise does not end below it."""
_AIM_SLO = 0.96
"""The deadline aimed at, likewise."""
_ELSEWHERE = ("link", "downlink", "server")
_UNQUEUED = 0.85
"""Of the highest rate: at all of it a queue only grows."""
_SLOWEST = 1.0
"""Frames per second that are sent whatever is predicted, or nothing would tell when it gets better."""
_USUAL = 0.2
"""Weight of a new look at the link in what it usually carries: a second's memory."""
_SLOWER = 0.95
"""Of the rate a decision was made for: below it the link has slowed down since, by more than the noise of its estimate."""
_SUSTAINED = 0.7
"""Of what a link that slowed down carries in the source's period: a larger frame would make the next ones late as well."""
_TELLING = 16384 * 1.1
"""Bytes from which a frame that finds the link idle tells its rate (see metrics.linkrate)."""
_PROBE, _PROBE_FULL = 0.4, 1.5
"""Seconds between two frames of a better quality, where the usual ones are too small to tell; and where the link is
full, so that every byte more is a frame less, and frames back to back tell as well."""
_REPAY = 1.5
"""How hard what the last seconds fell short is made up for. The rate follows the share at once, the mean over the span
by half of it later: below 2 such a loop has a phase margin of more than 45 degrees."""
_RECLAIM = 0.5
"""Likewise for what they exceeded: a rate above the target is no fault, but what the cloud did for it is paid for."""
_LEARN = 0.06
"""Of the relative error, per choice: what lasts is no noise but the model's error."""
_TRIM = (0.6, 1.5)
_BY_SOURCE = 1.1
"""At most, where the source gives no more than is wanted: frames lost to a link that fell are not won back by asking for
more than there are, and a demand that no way meets sends too much over that link."""


class Auto:
    """Decides for one session.

    Args:
        n: stages; stop: where jobs end; k: the stage count to start with; workers: device threads.
    """

    def __init__(self, config: SteerConfig, n: int, stop: int, k: int, workers: int) -> None:
        self.config = config
        self.profile = Profile(n, stop, workers, config.ways, config.prior)
        self.profile.available, self.profile.cores = config.available, config.cores
        self.profile.offered = config.offered
        self._regions = Regions(config.regions) if config.regions else None
        if self._regions is not None:
            self.profile.all_keys = tuple({way: None for region in config.regions for way in region.ways})
            self.profile.enter(self._regions.here, 0.0)
        self.studies = Studies(self.profile, k)
        self.decision: SplitDecision | None = None
        self.due = 0.0
        self.moves = 0
        self.trim = 1.0
        self._learned = 1.0
        slo = config.goal.slo
        self._aim = config.goal if slo is None else replace(config.goal, slo=_AIM_SLO * slo)
        self.seen = 0.0
        self.up = self.usual_up = 0.0
        self._told: SplitDecision | None = None
        self._changed = 0
        self._hysteresis = Hysteresis()
        self._answers = RateMeter(_SPAN)
        self._captured = RateMeter(_SPAN)
        self._costs: Costs | None = None
        self._debt = 0.0
        self._moved_at = 0.0
        self._told_at = 0.0

    # -- the policy --------------------------------------------------------------------------------

    @property
    def k(self) -> int:
        """The stage count most frames have here."""
        decision = self.decision
        if decision is None:
            return self.studies.k
        second = decision.second
        return second.k if second is not None and decision.share > 0.5 else decision.first.k

    @property
    def codec(self) -> str:
        """The codec of most frames that leave."""
        decision = self.decision
        if decision is None:
            return "raw"
        second = decision.second
        if second is not None and (decision.share > 0.5 or not decision.first.codec) and second.codec:
            return second.codec
        return decision.first.codec or "raw"

    @property
    def region(self) -> tuple[int, int] | None:
        """Where jobs are to end, and the first stage with state in them; None where state does not move."""
        return None if self._regions is None else (self._regions.here.stop, self._regions.here.stage)

    def offer(self, regions: tuple[Region, ...], now: float) -> None:
        """Which regions the server of now can do its part of."""
        assert self._regions is not None
        self._regions.offer(regions)
        self._enter(self._regions.here, now)

    def stay(self, k: int, stop: int, now: float) -> None:
        """The state cannot move to where the split is: it stays on this device."""
        if self._regions is not None:
            self._regions.stay(stop)
            self._enter(self._regions.here, now)

    def _enter(self, region: Region, now: float) -> None:
        """Begin anew in a region that no decision led to."""
        if (self.profile.stop, self.profile.keys) != (region.stop, region.ways):
            self.profile.enter(region, now)
        ks = {k for k, _, _ in region.ways}
        if self.decision is not None and not _cuts(self.decision) <= ks:
            self.decision, self.due = None, 0.0
        if self.studies.k not in ks:
            self.studies.k = max(ks)

    def heading(self, now: float) -> Heading:
        """The way of the frame that begins now."""
        decision = self.decision
        if decision is None:
            return self.studies.first()
        study = self.studies.next(decision)
        if study is not None:
            return study
        option = decision.first
        if decision.second is not None:
            self._debt += decision.share
            if self._debt >= 0.5:
                self._debt -= 1.0
                option = decision.second
        if option.quality < LOSSLESS:
            return Heading(option.k, self._fitting(option, now))
        return Heading(option.k, option.codec or LOCAL)

    def _fitting(self, option: Option, now: float) -> str:
        """The option's codec, or the best of lower quality with which this frame is in time on the link as it is now.

        The choice looks four times a second, and a link may halve in between.
        """
        costs, slo, rate = self._costs, self.config.goal.slo, self.profile.link.rate(now)
        if slo is None:
            return self._probing(option, float("inf"), now)
        if costs is None or rate <= 0.0:
            return option.codec
        waits = parts(costs, option) - option.nbytes / costs.up + max(0.0, option.extra_p50)
        room = rate * (_AIM_SLO * slo - waits - self.profile.queued(now))
        if self.profile.offered and rate < _SLOWER * costs.up:
            room = min(room, _SUSTAINED * rate / self.profile.offered)
        if option.nbytes <= room:
            return self._probing(option, room, now)
        lower = [each for each in costs.options if each.k == option.k and each.quality < option.quality]
        fitting = [each for each in lower if each.nbytes <= room]
        if fitting:
            return max(fitting, key=lambda each: each.quality).codec
        return min(lower, key=lambda each: each.nbytes).codec if lower else option.codec

    def _probing(self, option: Option, room: float, now: float) -> str:
        """The option's codec; now and then one large enough to tell what the link carries, if it is in time."""
        if option.nbytes >= _TELLING:
            self._told_at = now
        pause = _PROBE if self.decision is None or self.decision.met else _PROBE_FULL
        if option.nbytes >= _TELLING or now - self._told_at < pause or self._costs is None:
            return option.codec
        larger = [
            each for each in self._costs.options
            if each.k == option.k and each.quality < LOSSLESS and _TELLING <= each.nbytes <= room
        ]
        if not larger:
            return option.codec
        self._told_at = now
        return min(larger, key=lambda each: each.nbytes).codec

    # -- what is seen ------------------------------------------------------------------------------

    def captured(self, now: float, live: bool) -> None:
        """The source gave a frame."""
        self._captured.add(now)
        self.profile.entered()
        if live and not self.config.offered:
            self.profile.offered = self._captured.rate(now)

    def answered(self, now: float) -> None:
        """A frame was done or filtered."""
        self._answers.add(now)

    def delivered(self, k: int, codec: str, captured_at: float, now: float) -> None:
        """A frame that went all the way, this way, leaves now."""
        costs = self._costs
        if costs is not None:
            option = next((each for each in costs.options if each.k == k and each.codec == codec), None)
            if option is not None:
                self.profile.extras.add(k, codec, now - captured_at - parts(costs, option), captured_at, now)

    def rate(self, now: float) -> float:
        """Frames with an answer per second, lately."""
        return self._answers.rate(now)

    @property
    def pace(self) -> float:
        """Frames per second that may enter at most; 0.0 for any.

        Budgets bound it. So does a link or a server that cannot take all that a live source offers, and, where there is
        a deadline, the pipeline itself under a source that has no rate: what is beyond would only stand in line.
        """
        decision = self.decision
        if decision is None:
            return 0.0
        pace, predicted = decision.pace, decision.prediction
        if self.profile.offered:
            full = predicted.rate if not decision.met and predicted.bottleneck in _ELSEWHERE else 0.0
        else:
            full = _UNQUEUED * predicted.rate if self.config.goal.slo is not None else 0.0
        if not full or full == float("inf"):
            return pace
        return min(pace, full) if pace else max(_SLOWEST, full)

    # -- the choice --------------------------------------------------------------------------------

    def decide(self, now: float) -> Decided | None:
        """Look again; returns what to tell if the decision is a new one."""
        self.due = now + PERIOD
        self.seen, self.up = self._answers.rate(now), self.profile.up(now)
        self.usual_up += _USUAL * (self.up - self.usual_up)
        moving = self._regions is not None and self.decision is not None
        if not moving and not self.studies.enough():
            return None  # of another region than the first something stays a guess until jobs were there
        costs = self.profile.costs(now, None if self._regions is None else self._regions.here)
        if not costs.options:
            return None
        then, self._costs = self._costs, costs
        self.studies.late = self._late_there(costs)
        self._follow(now)
        passing = unblocked(costs, self.config.goal)
        fresh = self._best(passing)
        elsewhere = self._elsewhere(fresh, then, now)
        if elsewhere is not None:
            return elsewhere
        held = self._held(passing)
        if held is None:
            return self._take(fresh, costs, then, now, moved=self.decision is not None)
        if self._hysteresis.move(held, fresh, now):
            return self._take(fresh, costs, then, now, moved=True)
        self.decision = held
        self._changed = self._changed + 1 if self._told is not None and held.met != self._told.met else 0
        if self._changed >= _TELL:
            return self._take(held, costs, then, now, moved=False)
        return None

    def _elsewhere(self, own: SplitDecision, then: Costs | None, now: float) -> Decided | None:
        """The move to another region, if one is worth it: the best there is against the best that is here."""
        regions, costs = self._regions, self._costs
        if regions is None or self.decision is None or costs is None:
            return None
        before = regions.here
        priced = [(region, there) for region in regions.others if (there := self.profile.costs(now, region)).options]
        move = regions.move(own, [(region, self._best(there)) for region, there in priced], now)
        if move is None:
            return None
        region, decision = move
        self.profile.enter(region, now)
        self.studies.k = decision.first.k
        self._hysteresis, self._costs = Hysteresis(), None
        return self._take(decision, costs, then, now, moved=True, word=word_of(before, region))

    def _take(self, decision: SplitDecision, costs: Costs, then: Costs | None, now: float, *, moved: bool, word: str = "") -> Decided:
        old, self.decision = self._told, decision
        self._told, self._changed = decision, 0
        cuts_changed = old is None or bool(word) or _cuts(old) != _cuts(decision)
        moved = moved and cuts_changed
        if cuts_changed:
            self._moved_at = now
            self._answers = RateMeter(_SPAN)
        self.moves += moved
        text = word + explain(old, decision, then or costs, costs)
        if old is not None and not cuts_changed and decision.met and not old.met:
            text = "the goal holds again"
        first, second, predicted = decision.first, decision.second, decision.prediction
        p50, p95 = self.expected()
        return Decided(
            first.k, first.codec, second.k if second else 0, second.codec if second else "", decision.share, decision.met, moved, text,
            predicted.rate, p50, p95, predicted.device_cpu_s, predicted.nbytes, predicted.server_s,
        )

    def _late_there(self, costs: Costs) -> bool:
        """True if no frame that leaves after the fewest stages is in time."""
        slo, fewest = self.config.goal.slo, min(option.k for option in costs.options)
        times = [parts(costs, option) + option.extra_p50 for option in costs.options if option.k == fewest and option.codec]
        return slo is not None and bool(times) and min(times) > slo

    def _best(self, costs: Costs) -> SplitDecision:
        """The best there is."""
        best = choose(costs, self._aim, self._wanted() * self.trim)
        return self._enough(best) or choose(costs, self.config.goal, self._plain())

    def _held(self, costs: Costs) -> SplitDecision | None:
        """The best that the present ways can do, None if there are none."""
        if self.decision is None:
            return None
        held = retune(costs, self._aim, self.decision, self._wanted() * self.trim)
        return held and (self._enough(held) or retune(costs, self.config.goal, self.decision, self._plain()))

    def _enough(self, decision: SplitDecision) -> SplitDecision | None:
        """The decision if the goal is held with it, though maybe not all that is asked for on top of it."""
        predicted, slo = decision.prediction, self.config.goal.slo
        if decision.met:
            return decision
        if predicted.rate < self._plain() or (slo is not None and predicted.p95 > slo):
            return None
        return replace(decision, met=True, lacking="")

    def expected(self) -> tuple[float, float]:
        """The median and the 95th percentile of latency to be expected of the decision, in seconds.

        Of a mix from the latencies of both its ways: the two often lie far apart, and a median between them is no mean.
        """
        decision, costs = self.decision, self._costs
        assert decision is not None
        first, second = decision.first, decision.second
        if second is not None and costs is not None and 0.0 < decision.share < 1.0:
            ways = [self.profile.extras.latencies(each.k, each.codec, costs, each) for each in (first, second)]
            if all(ways):
                return mixture(ways[0], ways[1], decision.share, 0.5), mixture(ways[0], ways[1], decision.share, 0.95)
        return decision.prediction.p50, decision.prediction.p95

    def _wanted(self) -> float:
        """Frames per second to be held; 0.0 if nothing demands a rate."""
        goal, offered = self.config.goal.fps or 0.0, self.profile.offered
        wanted = min(goal, offered) if goal and offered else goal or offered
        return wanted * _AIM if goal and wanted == goal else wanted

    def _plain(self) -> float:
        """The rate without what is asked for on top of it; where less than it does, less."""
        goal, offered = self.config.goal.fps or 0.0, self.profile.offered
        return (min(goal, offered) if goal and offered else goal or offered) * min(1.0, self.trim)

    def _follow(self, now: float) -> None:
        """Close the loop: aim higher by what the rate reached falls short, lower by what it exceeds."""
        wanted, decision = self._wanted(), self.decision
        if not wanted or decision is None:
            return
        error = (wanted - self._answers.rate(now)) / wanted
        by_source = wanted >= 0.99 * self.profile.offered > 0.0
        if by_source and error < 0.01:
            error = 0.0  # it cannot be exceeded, so nothing tells that less would do
            self._learned += _LEARN * (1.0 - self._learned)
        elif decision.first.k == self.profile.n and decision.second is None and error < 0.0:
            error = 0.0
        elif decision.met and now - self._moved_at > _SPAN / 2:
            self._learned += _LEARN * max(-0.5, min(0.5, error))
        seen = min(1.0, (now - self._moved_at) / (_SPAN / 2))
        low, high = _TRIM
        high = _BY_SOURCE if by_source else high
        self._learned = min(high, max(low, self._learned))
        gain = _REPAY if error > 0.0 else _RECLAIM
        self.trim = min(high, max(low, self._learned + gain * seen * error))


def _cuts(decision: SplitDecision) -> set[int]:
    return {decision.first.k} | ({decision.second.k} if decision.second is not None else set())
