"""The races of one stream, from capture to what follows from a verdict: rules 5 to 7 of docs/speculation.md.

A frame has a contest from its capture on, since its deadline runs from there. Its answers come from the rivals (one for each
cloud) and from the device's own run; contest.py says which one stands, this module what is done about it.

    capture -> HEAD -> RACING -> verdict: Choose -> BACK or SETTLED        late answers: counted, offered to on_late
                         ^         `----- Combine, Extrapolate -> JUDGED -> BACK or SETTLED
             offered to rivals, run here (twins.py)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from iot_client.events import Choose, Combine, Combined, Extrapolate, Note, Sending, StagesDone
from iot_client.frames.frame import JUDGED, NEVER, SETTLED, Frame
from iot_client.frames.stream import Stream
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from iot_client.racing.config import EXTRAPOLATED as BY_EXTRAPOLATION
from iot_client.racing.config import MERGED, RaceConfig
from iot_client.racing.contest import COMBINED, DROPPED, EXTRAPOLATED, FAILED, STANDS, Contest, Verdict
from iot_client.racing.linger import Linger
from iot_client.racing.muster import Muster
from iot_client.racing.rivals import Rival
from iot_client.racing.twins import Twins
from iot_client.servers.peer import UP
from wire.protocol import Result

__all__ = ["Races"]


class Races:
    """The undecided frames of a stream, and the last ones that were decided.

    Invariants: every captured frame without an outcome is in `open` or has its verdict; a frame has one verdict.
    """

    def __init__(self, stream: Stream, rules: RaceConfig, rivals: Sequence[Rival], twins: Twins, muster: Muster) -> None:
        self.open: dict[int, Frame] = {}
        """Frames without a verdict."""
        self.rivals = tuple(rivals)
        self.twins = twins
        self.muster = muster
        self.linger = Linger(stream, self.rivals, rules)
        self.counts: Counter[str] = Counter()
        """Verdicts by who won ("cloud", "local", "merged", ...), and how many frames were "missed", answered "late", "overtaken"."""
        assert stream.metering is not None
        self._metering = stream.metering
        self._stream = stream
        self._rules = rules
        self._names, self._extrapolates = rules.names, rules.on_miss == "extrapolate"
        self._pivot = stream.config.pivot
        self._up = [False] * len(self.rivals)
        self._hopeless: set[int] = set()
        self._touched: dict[int, Frame] = {}
        self._late: dict[int, Frame] = {}
        """Of the open ones those whose deadline has passed."""
        self._stood: dict[int, Contest] = {}
        """Frames with an answer that wait for those before them."""
        self._values: dict[int, float] = {}
        """When frames were captured whose value stood: the last one delivered, and those after it."""
        self._due = NEVER

    # -- what happens to frames --------------------------------------------------------------------

    def captured(self, frame: Frame) -> None:
        """A frame entered: its deadline runs."""
        deadline = frame.captured_at + self._rules.deadline
        frame.contest = contest = Contest(self._rules, deadline, patient=not self._stream.live)
        for entrant, up in enumerate(self._up):
            contest.reach(entrant, up)
        if not self.rivals:
            contest.stays_here()
        if self.muster.absent:
            self.muster.captured()
            for entrant in self.muster.hopeless:
                contest.out(entrant)
        self.open[frame.seq] = frame
        self._due = min(self._due, deadline)

    def ran(self, event: StagesDone, now: float) -> None:
        """A run ended here that answers as the local entrant; its value is kept by the body."""
        frame = self._stream.frames.get(event.seq)
        if frame is not None:
            frame.runs_here = False
        if event.kind == "ended" or (not event.start and 0 <= event.stage < self._pivot - 1):
            self._stream.stages_done(event, now)  # a frame that is run whole here, and ends before its race
            return
        self._stream.running -= 1
        if frame is None:
            return
        if event.start:
            frame.took[self._rules.twin] = event.times
        else:
            frame.device_s += event.times
        contest = frame.contest
        if contest is None or frame.seq not in self.open:
            return
        if event.kind == "done":
            contest.answer(self._rules.twin, now)
        elif event.kind == "filtered":
            contest.answer(self._rules.twin, now, event.stage)
        else:
            contest.out(self._rules.twin, event.stage, event.error)
        self._touched[frame.seq] = frame

    def result(self, entrant: int, message: Result, now: float) -> None:
        """A cloud answered; its value is kept by the body if that was awaited."""
        frame = self.rivals[entrant].result(message, now)
        self._metering.answered(message, entrant, now)
        contest = None if frame is None else frame.contest
        if frame is None or contest is None or contest.verdict is not None or frame.state == SETTLED:
            self.linger.late_answer(entrant, message, awaited=frame is not None)
            return
        if message.seq in self.rivals[entrant].jobs:
            pass  # it is not taken now
        elif message.outcome == "done":
            contest.answer(entrant, now)
            frame.took[entrant] = tuple([time / 1e6 for time in message.times_us])
        elif message.outcome == "filtered":
            contest.answer(entrant, now, message.stage)
        else:
            contest.out(entrant, message.stage, message.reason if message.outcome == "failed" else "")
        self._touched[frame.seq] = frame

    def combined(self, event: Combined, now: float) -> None:
        """A hook of the app made a frame's value, or did not."""
        frame = self._stream.frames.get(event.seq)
        if frame is None or frame.state != JUDGED:
            return
        if event.kind == "done":
            self._go_on(frame, now)
        elif event.kind == "filtered":
            self._stream.settle(frame, Filtered(self._pivot - 1), now)
        else:
            self._stream.settle(frame, Failed(self._pivot - 1, event.error), now)

    # -- time --------------------------------------------------------------------------------------

    def expire(self, now: float, *, due: bool) -> None:
        """Judge what is beyond its deadline, and what reaches it now if that is `due`; then give up what is overtaken."""
        if now < self._due or (now == self._due and not due):
            return
        for frame in list(self.open.values()):
            assert frame.contest is not None
            if not frame.contest.missed and (frame.contest.deadline < now or (due and frame.contest.deadline == now)):
                self._judge(frame, now, due=due)
        if self._late and self._stream.live:
            self._overtake(now, due=due)
        self._due = self._next_due()

    def _overtake(self, now: float, *, due: bool) -> None:
        """Rule 6, live mode: who waits late before an answer whose deadline is reached is given up."""
        last = max((seq for seq, contest in self._stood.items() if contest.deadline < now or (due and contest.deadline == now)), default=-1)
        for seq, frame in list(self._late.items()):
            if seq < last:
                self.counts["overtaken"] += 1
                self._end(frame, Dropped("overtaken"), now)
            elif self._stale_at(frame) < now or (due and self._stale_at(frame) == now):
                self._end(frame, Dropped("late"), now)

    def _stale_at(self, frame: Frame) -> float:
        """Live mode: when a late frame is given up that only a server could answer."""
        assert frame.contest is not None
        return NEVER if frame.contest.possible(self._rules.twin) else frame.contest.deadline + self._stream.config.max_age

    def _next_due(self) -> float:
        """The deadline of an open frame, or what else time alone decides."""
        times = [NEVER, *(frame.contest.deadline for seq, frame in self.open.items() if frame.contest and seq not in self._late)]
        if self._late and self._stream.live:
            first = min(self._late)
            times += [self._stale_at(frame) for frame in self._late.values()]
            times += [contest.deadline for seq, contest in self._stood.items() if seq > first]
        return min(times)

    def next_wakeup(self) -> float:
        """When something is due by itself."""
        return min(self._due, self.linger.next_wakeup(), self.twins.next_wakeup(), *[rival.next_wakeup() for rival in self.rivals])

    # -- what follows ------------------------------------------------------------------------------

    def pump(self, now: float, *, tick: bool) -> None:
        """Send, run and judge what may be by now; a Tick nobody asked for changes nothing."""
        stream = self._stream
        self._follow_links()
        while stream.ready:
            self._depart(stream.ready.popleft())
        if stream.settled:
            self._sweep(now)
        self._judge_touched(now)
        if not tick or now >= self.twins.next_wakeup():
            self.twins.start(now)
        for rival in self.rivals:
            if rival.jobs:
                rival.settle(now)
                for frame in rival.pump(now):
                    self._too_large(frame, rival)
        self._judge_touched(now)
        self.linger.expire(now)

    def close(self) -> None:
        """The run ends."""
        self.linger.close()
        for rival in self.rivals[1:]:
            self._stream.out += rival.peer.goodbye()

    def delivered(self, frame: Frame) -> None:
        """A frame left; of the values that stood, those before the last one delivered are of no use any more."""
        self._stood.pop(frame.seq, None)
        if frame.seq in self._values:
            for seq in [seq for seq in self._values if seq < frame.seq]:
                del self._values[seq]

    def _follow_links(self) -> None:
        for entrant, rival in enumerate(self.rivals):
            if rival.up != self._up[entrant]:
                self._up[entrant] = rival.up
                if self.twins.hedge is not None:
                    self.twins.hedge.link(rival.up, entrant)
                for seq, frame in self.open.items():
                    assert frame.contest is not None
                    frame.contest.reach(entrant, rival.up)
                    self._touched[seq] = frame
        if self.muster.absent or self._hopeless:
            self._follow_muster(set(self.muster.hopeless))

    def _follow_muster(self, hopeless: set[int]) -> None:
        """A cloud that takes no part is waited for by no frame there is, also if it takes part again."""
        for entrant in hopeless - self._hopeless:
            for seq, frame in self.open.items():
                assert frame.contest is not None
                frame.contest.out(entrant)
                self.rivals[entrant].withdraw(seq, lingers=False)
                self._touched[seq] = frame
        self._hopeless = hopeless

    def _depart(self, frame: Frame) -> None:
        """Its value at the cut is there, and what `send_when` says of it."""
        contest, send = frame.contest, self._metering.sending(frame, frame.send or Sending())
        assert contest is not None
        if not contest.missed and (send.deadline_at is not None or send.deadline is not None):
            contest.deadline = send.deadline_at if send.deadline_at is not None else frame.captured_at + (send.deadline or 0.0)
            self._due = min(self._due, contest.deadline)
        frame.codec = send.codec or frame.codec
        for entrant, rival in enumerate(self.rivals):
            if (send.clouds is None or entrant in send.clouds) and not contest.gone(entrant):
                rival.offer(frame)
            else:
                contest.out(entrant)
        self._touched[frame.seq] = frame

    def _too_large(self, frame: Frame, rival: Rival) -> None:
        assert frame.contest is not None
        frame.contest.out(rival.index)
        self._touched[frame.seq] = frame
        text = f"frame {frame.seq}: {frame.payload} bytes at split {frame.split}, server {rival.index + 1} takes {rival.peer.max_job}"
        self._stream.out.append(Note("warning", text))

    def _sweep(self, now: float) -> None:
        """Frames that ended otherwise than by a verdict: filtered or failed before the race, given up."""
        for frame in [frame for frame in self.open.values() if frame.state == SETTLED]:
            assert frame.contest is not None
            frame.contest.verdict = Verdict(DROPPED)
            self._close(frame, now)

    def _judge_touched(self, now: float) -> None:
        if self._touched:
            touched, self._touched = self._touched, {}
            for seq, frame in touched.items():
                if seq in self.open:
                    self._judge(frame, now, due=False)
        if self._late and self._stream.live:
            self._overtake(now, due=False)
            self._due = self._next_due()

    def _judge(self, frame: Frame, now: float, *, due: bool) -> None:
        contest = frame.contest
        assert contest is not None
        before = contest.missed
        verdict = contest.judge(now, due=due, last=self._extrapolates and self._last(frame.seq) >= 0)
        self.counts["missed"] += contest.missed and not before
        if verdict is not None:
            self._conclude(frame, verdict, now)
        elif contest.missed:
            self._late[frame.seq] = frame
            self.twins.missed(now)

    def _conclude(self, frame: Frame, verdict: Verdict, now: float) -> None:
        contest, out = frame.contest, self._stream.out
        assert contest is not None
        frame.late = verdict.late
        if verdict.kind == STANDS:
            self._stands(frame, verdict.entrant, now)
        elif verdict.kind == COMBINED:
            frame.entrant, frame.where, frame.cloud_s = MERGED, "cloud", frame.took.get(verdict.entrant, ())
            out.append(Combine(frame.seq, self._pivot, verdict.entrant))
            self._stream.hold(frame)
        elif verdict.kind == EXTRAPOLATED:
            last = self._last(frame.seq)
            frame.entrant = BY_EXTRAPOLATION
            out.append(Extrapolate(frame.seq, self._pivot, frame.captured_at - self._values[last], last))
            self._stream.hold(frame)
        else:
            self._end(frame, Failed(*(contest.error or (-1, ""))) if verdict.kind == FAILED else Dropped("late"), now)
            return
        self._close(frame, now)

    def _stands(self, frame: Frame, entrant: int, now: float) -> None:
        contest, cloud = frame.contest, entrant != self._rules.twin
        assert contest is not None
        frame.entrant, frame.where = self._names[entrant], "cloud" if cloud else "device"
        frame.variant = self._rules.clouds[entrant] if cloud else self._rules.local or ""
        if cloud:
            frame.cloud_s = frame.took.get(entrant, ())
        else:
            frame.device_s += frame.took.get(entrant, ())
        stage = contest.filters(entrant)
        if stage < 0:
            frame.runs_here = False
            self._stream.out.append(Choose(frame.seq, self._pivot, entrant))
            self._go_on(frame, now)
            return
        self._count(frame)
        self._stream.settle(frame, Filtered(stage), now)

    def _go_on(self, frame: Frame, now: float) -> None:
        """Its value before the pivot is there."""
        self._count(frame)
        if frame.entrant != BY_EXTRAPOLATION:
            self._values[frame.seq] = frame.captured_at
        if self._pivot < self._stream.config.n:
            self._stream.back(frame)
        else:
            self._stream.settle(frame, Done(frame.where), now)

    def _count(self, frame: Frame) -> None:
        assert frame.contest is not None
        self.counts[frame.entrant] += 1
        self.counts["late"] += frame.late
        self._stood[frame.seq] = frame.contest

    def _end(self, frame: Frame, outcome: Outcome, now: float) -> None:
        """No answer stands."""
        assert frame.contest is not None
        frame.contest.verdict = frame.contest.verdict or Verdict(DROPPED)
        self._stream.settle(frame, outcome, now)
        self._close(frame, now)

    def _close(self, frame: Frame, now: float) -> None:
        """The verdict is there: losers are cancelled, or linger."""
        del self.open[frame.seq]
        self._late.pop(frame.seq, None)
        if self.twins.hedge is not None:
            self.twins.hedge.decided(frame.seq, now)
        if frame.state == SETTLED:
            self._let_run_out(frame)
        self._metering.closed(frame.seq, now)
        self.linger.begin(frame, now)

    def _let_run_out(self, frame: Frame) -> None:
        """No value stands, so the run here is for nothing."""
        if frame.runs_here:
            frame.runs_here = False
            self._stream.out.append(Choose(frame.seq, self._pivot, -1))

    def _last(self, seq: int) -> int:
        """The latest frame before this one whose value stood, -1 if there is none."""
        return max((other for other in self._values if other < seq), default=-1)

    # -- questions ---------------------------------------------------------------------------------

    def awaits(self, message: Result, session: int, epoch: int, entrant: int) -> bool:
        """True if a RESULT is an answer of this entrant: the body keeps its value."""
        return entrant < len(self.rivals) and self.rivals[entrant].awaits(message, session, epoch)

    @property
    def alone(self) -> bool:
        """True if frames that begin now may as well be run whole here: no server is up, and the app is not asked about them."""
        return not self.linked and not self._rules.sends_when and self._rules.local is not None and self._stream.can_run_all

    @property
    def linked(self) -> bool:
        """True if any cloud is up."""
        return any(rival.up for rival in self.rivals)

    @property
    def ready(self) -> bool:
        """True if frames may begin: a cloud is up, or this device answers and knows of a server, or of all, how it stands."""
        alone = self._rules.local is not None and (self.muster.nobody or any(rival.peer.state == UP for rival in self.rivals))
        return alone or self.linked

    def silent(self) -> list[int]:
        """The clouds whose servers have said nothing yet."""
        return [index for index, rival in enumerate(self.rivals) if index not in self.muster.absent and not rival.peer.welcomed]

    @property
    def lacks(self) -> tuple[int, ...]:
        """Stages that one of the clouds that are up cannot run."""
        return tuple(sorted({stage for rival in self.rivals if rival.up for stage in rival.peer.lacks}))
