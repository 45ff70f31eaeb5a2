"""The frames of one stream between capture and delivery: who may enter, who runs, who leaves.

Knows nothing of servers: the session moves frames from READY to SENT and brings them back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from iot_client.events import Capture, Command, Deliver, FrameCaptured, RunStages, StagesDone
from iot_client.frames.admission import Window
from iot_client.frames.delivery import Order
from iot_client.frames.fitting import Fitting
from iot_client.frames.frame import BACK, HEAD, JUDGED, RACING, READY, SENT, SETTLED, TAIL, TWIN, WAITING, Frame
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from iot_client.services.metering import Metering
from iot_client.session_config import SessionConfig
from iot_client.splitting.policy import Policy

__all__ = ["SessionConfig", "Stream"]


_STEERED = 8
"""Frames under way at least where the bytes in flight are bounded anyway: a link that slows down stretches the path."""


def _is_late(frame: Frame) -> bool:
    """True if its race has missed its deadline: later frames with a value wait for it, so it waits for no room in the window."""
    return frame.contest is not None and frame.contest.missed


class Stream:
    """Admission, the device's stages, order.

    Invariants: every captured frame is in `frames` until it is delivered, and is delivered once;
    captured = delivered + len(frames). A READY frame is in `ready` exactly once.
    """

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.live = config.mode == "live"
        in_time = config.deadline > 0 and self.live and not config.splits[config.n]
        self.window = Window(config.workers, config.window, _STEERED if config.steer is not None and self.live else 0, waits=in_time)
        self.frames: dict[int, Frame] = {}
        self.ready: deque[Frame] = deque()
        self.captured = config.first
        self.running = 0
        self.open = True
        self.out: list[Command] = []
        self.waiting: deque[Frame] = deque()
        """Frames no worker has begun."""
        self.unneeded: list[int] = []
        """Jobs at the server that the device has finished itself."""
        self.pace = 0.0
        """Frames per second that may enter at most; 0.0 for any."""
        self.settled = False
        """True if there is something new for `deliver` to look at."""
        self._entered_at = float("-inf")
        self.head = config.first
        """Every seq below has been delivered."""
        self._gate: Order[Frame] = Order(config.first)
        self._delivery: Order[Frame] = Order(config.first)
        self._under_way = 0
        self._kept = 0
        self._permits = 0
        self._in_order = tuple(any(config.stateful[:k]) for k in range(config.n + 1))
        self.race = config.race
        self.raced = (config.deadline > 0 or self.race is not None) and self.live and config.steer is None
        """The window then bounds what is at the server: frames that wait for it are not lost, they may get their twin."""
        self.stop = config.pivot
        """Where jobs of frames that begin now end."""
        self.variant = config.variant or (config.variants[0] if config.variants else "")
        """What frames that begin now are made with, at most; in a race, what all runs here are."""
        if self.race is not None:
            self.variant = self.race.local or ""
        self.metering = Metering(self.race, config.pivot) if self.race is not None else None
        self.fitting = Fitting(config.variants, config.deadline, config.period) if config.fits else None
        self.generation = 0
        """Of the server, if it owns the stages with state in these jobs."""
        self.turns: Order[Frame] = Order(config.first)
        """The frames of such jobs, before they are sent."""
        self.journal: dict[int, Frame | None] = {}
        """What such a job has been or will be made of, in order, as far as it may be needed again; None: its frame ended before."""

    def next_to_send(self) -> Frame | None:
        """The READY frame whose turn it is, if the window allows one more: the oldest, but of frames with twins the newest.

        An older one is about to get its twin: its answer would come too late.
        """
        if not self.raced:
            return self.ready[0]
        at_server = sum(frame.state == SENT for frame in self.frames.values())
        return self.ready[-1] if at_server < self.window.size else None

    @property
    def can_run_all(self) -> bool:
        """True if this device may run every stage."""
        return self.config.splits[self.config.n]

    # -- in ----------------------------------------------------------------------------------------

    def capture(self, event: FrameCaptured) -> None:
        """A frame enters and waits for a worker."""
        assert event.seq == self.captured, f"frame {event.seq} captured after {self.captured - 1}"
        frame = Frame(event.seq, event.at, event.nbytes)
        self.captured += 1
        self._permits -= 1
        self.frames[frame.seq] = frame
        self._kept += frame.nbytes
        self.waiting.append(frame)

    def next_wakeup(self) -> float | None:
        """When the next frame may enter (live: may begin), if only the pace forbids it now."""
        if not self.pace:
            return None
        waits = bool(self.waiting) and self._has_hands() if self.live else self.open and self._has_room()
        return self._entered_at + 1.0 / self.pace if waits else None

    def permit(self, now: float) -> None:
        """Let the source read on, as far as window, memory and pace allow: this is the backpressure."""
        config = self.config
        if self.pace and not self.live:
            if self._has_room() and self._in_pace(now):
                self._permits = 1
                self.out.append(Capture())
            return
        if self._kept >= config.memory:
            wanted = 0
        elif self.live:
            wanted = 1
        elif len(self.frames) < 4 * self.window.size + 8:
            wanted = self.window.size + config.workers - self._under_way - len(self.waiting)
        else:
            wanted = 0
        missing = wanted - self._permits
        if missing > 0 and (self.live or missing >= self.window.size // 4):
            # A few at a time in a wide window: each permit given alone would wake the source's thread.
            self._permits = wanted
            self.out += [Capture()] * missing

    def _in_pace(self, now: float) -> bool:
        """True if one more may enter now; it is then counted."""
        period = 1.0 / self.pace  # of now: who waits at a low pace does not go on waiting when it rises
        if now < self._entered_at + period:
            return False
        # A late turn of the loop is made up for, but no pause is.
        self._entered_at = max(self._entered_at + period, now - period)
        return True

    def _has_room(self) -> bool:
        """True if one more frame may be waited for."""
        return not self._permits and self._kept < self.config.memory and len(self.frames) < 4 * self.window.size + 8

    def _has_hands(self) -> bool:
        """True if one more frame may begin, as far as workers and window go."""
        return self.running < 2 * self.config.workers and (self._under_way < self.window.size or self.raced)

    def keep_newest(self, reason: str, now: float) -> None:
        """Live mode: of the frames no worker has begun, only the newest stay."""
        while len(self.waiting) > self.config.depth:
            self.settle(self.waiting[0], Dropped(reason), now)

    # -- stages ------------------------------------------------------------------------------------

    def start(self, policy: Policy, now: float) -> None:
        """Begin as many waiting frames as workers and window allow, each the way the policy says.

        A live source goes on at its own rate, and what the pace does not let begin gives way to what is newer.
        """
        hands, size = 2 * self.config.workers, self.window.size
        while self.waiting and self.running < hands and (self._under_way < size or self.raced or _is_late(self.waiting[0])):
            if self.pace and self.live and not self._in_pace(now):
                return
            frame = self.waiting.popleft()
            self._under_way += 1
            frame.split, frame.codec, frame.study = policy.heading(now)
            frame.stop, frame.generation, frame.variant = self.stop, self.generation, self.variant
            if self.fitting is not None:
                frame.variant = self.fitting.variant(frame.variant, now - frame.captured_at, now)
            if self.metering is not None:
                self.metering.heading(frame, now)
            stop = min(frame.split, frame.stop)
            self._run(frame, HEAD, 0, stop, self._in_order[stop])

    def run_twin(self, frame: Frame, now: float) -> None:
        """Run here what was meant for the server, before frames that no worker has begun."""
        if frame.state == READY and not frame.generation:
            self.ready.remove(frame)
        frame.twin_at = now
        self._run(frame, TWIN, frame.split, frame.stop, self._in_order[frame.stop])

    def run_here(self, frame: Frame, entrant: int, now: float) -> None:
        """Run a job that races as its local entrant, before frames that no worker has begun."""
        self.running += 1
        frame.runs_here, frame.twin_at = True, now
        self.out.append(RunStages(
            frame.seq, frame.split, frame.stop, codec=frame.codec, urgent=True, variant=self.variant, answers=entrant
        ))

    def hold(self, frame: Frame) -> None:
        """The race of this frame is over, whatever it was at; a hook makes its value."""
        if frame.state == WAITING:
            self.waiting.remove(frame)
            self._under_way += 1
            frame.stop = self.stop
        frame.state = JUDGED

    def replay(self, frame: Frame) -> None:
        """Run the job of a frame that has its outcome once more, for the state after it."""
        self.running += 1
        self.out.append(RunStages(frame.seq, frame.split, frame.stop, False, True, frame.codec, replay=True, variant=frame.variant))

    def stages_done(self, event: StagesDone, now: float) -> None:
        """A run ended, in whatever way."""
        self.running -= 1
        frame = self.frames.get(event.seq)
        if frame is None or not self._awaits(frame, event.start):
            if frame is not None and event.start == frame.split and event.kind == "done":
                frame.ran_here = True
            return
        frame.device_s += event.times
        if frame.state == TWIN and frame.out:
            self.unneeded.append(frame.seq)
        if event.kind == "done":
            self._advance(frame, event, now)
        elif event.kind == "filtered":
            self.settle(frame, Filtered(event.stage), now)
        elif event.kind == "ended":
            self.open = False
            self.settle(frame, Filtered(0), now)
        else:
            self.settle(frame, Failed(event.stage, event.error), now)

    def back(self, frame: Frame) -> None:
        """The stages before the pivot are done; those with state follow in seq order."""
        frame.state = BACK
        self._gate.ready(frame)
        self.settled = True

    def _advance(self, frame: Frame, event: StagesDone, now: float) -> None:
        if frame.state == HEAD:
            self.window.device_took(sum(event.times) + event.encode_s)
            if event.stop < frame.stop:
                frame.payload = event.nbytes
                frame.signature = event.signature
                if self.fitting is not None:
                    self.fitting.made(frame.variant, event.nbytes, sum(event.times) + event.encode_s)
                self._kept += event.nbytes
                if self.metering is not None:
                    self.metering.ran(frame, event)
                if self.race is not None:
                    frame.state, frame.send = RACING, event.send
                    self.ready.append(frame)
                elif frame.generation:
                    frame.state = BACK
                    self.turns.ready(frame)
                else:
                    frame.state = READY
                    self.ready.append(frame)
                return
        if event.stop < self.config.n:
            self.back(frame)
        else:
            self.settle(frame, Done(frame.where), now)

    def _awaits(self, frame: Frame, start: int) -> bool:
        """True if the frame waits for a run from this stage; a twin overtaken by the server's answer is not awaited."""
        if frame.state == HEAD:
            return start == 0
        if frame.state == TWIN:
            return start == frame.split
        return frame.state == TAIL and start == frame.stop

    def _run(self, frame: Frame, state: int, start: int, stop: int, ordered: bool) -> None:
        frame.state = state
        self.running += 1
        until = -1 if frame.stop == self.config.pivot else frame.stop
        if state == TWIN:
            urgent = not frame.generation
            self.out.append(RunStages(frame.seq, start, stop, False, ordered, frame.codec, None, urgent, until, not urgent, frame.variant))
        elif self.race is not None:
            leaves, answers = state == HEAD and stop < frame.stop, -1
            if state == HEAD and not leaves:
                answers, frame.runs_here = self.race.twin, True
                if frame.contest is not None:
                    frame.contest.stays_here()
            encode = leaves and frame.sends
            gate, study = encode and self.race.sends_when, frame.study if leaves else None
            self.out.append(RunStages(
                frame.seq, start, stop, encode, ordered, frame.codec, study, urgent=state == TAIL, variant=self.variant, answers=answers,
                gate=gate,
            ))
        else:
            encode = state == HEAD and stop < frame.stop
            self.out.append(RunStages(
                frame.seq, start, stop, encode, ordered, frame.codec, frame.study, False, until, False, frame.variant
            ))

    # -- out ---------------------------------------------------------------------------------------

    def settle(self, frame: Frame, outcome: Outcome, now: float) -> None:
        """The outcome is fixed; the frame leaves when those before it have."""
        if frame.state == WAITING:
            self.waiting.remove(frame)
        else:
            self._under_way -= 1
            self.window.completed(now)
            if self.fitting is not None:
                self.fitting.ended(late=type(outcome) is Dropped and "late" in outcome.reason)
        if frame.state == READY and frame in self.ready:
            self.ready.remove(frame)
        if (frame.stop or self.stop) < self.config.n and frame.seq >= self._gate.head:
            self._gate.ready(frame)
        if frame.generation and frame.seq >= self.turns.head:
            self.turns.ready(frame)
        frame.state = SETTLED
        frame.outcome = outcome
        self._delivery.ready(frame)
        self.settled = True

    def settle_all(self, reason: str, now: float) -> None:
        """Give up whatever has no outcome yet; with a spool whatever was not delivered, so that no gap is left in it."""
        for frame in list(self.frames.values()):
            if frame.state != SETTLED:
                self.settle(frame, Dropped("spooled" if self.config.spooled else reason), now)
            elif self.config.spooled:
                frame.outcome = Dropped("spooled")

    def expire(self, now: float, *, due: bool) -> None:
        """Live mode: give up what is beyond its age bound, and what reaches it now if that is `due`."""
        if not self.frames:
            return
        for frame in list(self.frames.values()):
            left = frame.captured_at + self.config.age_bound - now
            if left > 0 or (left == 0 and not due):
                return
            if frame.state != SETTLED:
                self.settle(frame, Dropped("late" if frame.attempts else "stale"), now)
            elif left < 0 and type(frame.outcome) is Done:  # it waited for one before it, and nobody looked in time
                frame.outcome = Dropped("late")

    def deliver(self, now: float) -> Sequence[Frame]:
        """Let pass what may pass; returns the frames delivered."""
        self.settled = False
        if self._gate.waiting:
            for frame in self._gate.passing():
                if frame.state == BACK:
                    self._run(frame, TAIL, frame.stop, self.config.n, True)
        if not self._delivery.waiting:
            return ()
        delivered = [*self._delivery.passing()]
        self.head = self._delivery.head
        for frame in delivered:
            self._deliver(frame, now)
        return delivered

    def let_go(self, frame: Frame) -> None:
        """What was kept of a frame that left is not needed any more."""
        self._kept -= frame.nbytes + frame.payload

    @property
    def next_seq(self) -> int:
        """Of the frame that begins next."""
        return self.waiting[0].seq if self.waiting else self.captured

    def end_jobs_at(self, stop: int) -> None:
        """From the next frame on. Those under way of jobs that ended at n pass no gate, so it begins there too."""
        if stop < self.config.n and self.stop == self.config.n:
            self._gate = Order(self.next_seq)
        self.stop = stop

    @property
    def under_way(self) -> int:
        """Frames begun that have no outcome."""
        return self._under_way

    @property
    def full(self) -> bool:
        """True if what is kept leaves no room for another frame."""
        return self._kept >= self.config.memory

    def _deliver(self, frame: Frame, now: float) -> None:
        del self.frames[frame.seq]
        keep = bool(self.journal) and self.journal.get(frame.seq) is not None
        if not keep:
            self._kept -= frame.nbytes + frame.payload  # let_go
        assert frame.outcome is not None
        self.out.append(Deliver(
            frame.seq, frame.outcome, frame.split, frame.captured_at, now - frame.captured_at, frame.device_s, frame.cloud_s,
            frame.sent_bytes, frame.codec if frame.sent_bytes else "", keep, frame.variant, frame.entrant, frame.late,
        ))
