"""Who owns the stages with state of a stream in lossless mode, and how they change hands.

    HERE --- drain --> ExportState --> STATE(g + 1) ------> THERE
      ^                                                       |
      |<-- ImportState <-- STATE(copy, next seq) <-- drain ---+   the split moves back
      |<-- replay, twins <-- ImportState(last copy) ----------+   the link is down: taken over, g + 1
                     |                                        ^
                     `-------- STATE(last copy, g + 1) -------'   the server is back before that is done, or has a new life

A fold has one owner at a time, fenced by a generation: a RESULT of another one does not count. While the server owns
it, jobs leave in seq order, and the device keeps the last copy of the state together with all jobs since (`journal`),
delivered ones too. Whatever happens to the server, the fold can so be repeated from there: by the next life of the
server, or here, where the jobs whose frames have their outcome are run once more for the state after them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from iot_client.events import ExportState, ImportState, KeepState, MessageReceived, Note, Release, StateExported
from iot_client.frames.delivery import Order
from iot_client.frames.frame import BACK, HEAD, NEVER, READY, SENT, TWIN, Frame
from iot_client.frames.stream import Stream
from iot_client.outcome import Dropped
from iot_client.servers.peer import REFUSED, UP, Peer
from iot_client.splitting.policy import Manual
from iot_client.splitting.steering import Auto
from wire.protocol import Error, Result, Skip, State, Welcome

__all__ = ["Ownership"]

PATIENCE = 0.5
"""Seconds the device waits for a link that broke before it takes the fold over: a resumed session needs no replay."""
_NOTHING = (-1, -1)
_JOBS = (READY, SENT, TWIN)
"""States of frames whose jobs have no answer yet; of the others in the journal a job is repeated for its state alone."""
_LONGEST = 128
"""Jobs and gaps to be repeated at most, about: where nearly all frames end before the cut copies are far apart."""
_OUT_OF_TURN = "out of turn"
_STATE_MINOR = 2
"""Servers of older minors do nothing with STATE."""


class Ownership:
    """The owner of the fold of one stream, and what it takes to go back to the last copy of its state.

    Invariants: `stage` >= 0 means THERE, and then `journal` holds every frame that passed `turns` with a seq >= `copy`;
    a frame of a job with state carries the generation of its present owner.
    """

    def __init__(self, stream: Stream, peer: Peer, policy: Manual | Auto) -> None:
        self.generation = 0
        self.stage = -1
        """The first stage with state of those at the server; -1 while all are here."""
        self.copy = -1
        """The seq before which the state kept by the body is."""
        self.moves = self.takeovers = self.replays = 0
        self._stream = stream
        self._peer = peer
        self._policy = policy
        self._config = stream.config
        self._lacks: Collection[int] = ()
        self._held = [index for index, stateful in enumerate(stream.config.stateful) if stateful]
        self._newer = -1
        self._exporting = _NOTHING
        self._began = 0
        self._state: State | None = None
        self._stated_at = self._asked_at = NEVER
        self._down_since = NEVER
        self._taking: deque[Frame] | None = None
        self._owed: dict[int, Frame] = {}
        self._withheld: set[int] = set()

    # -- who may begin -----------------------------------------------------------------------------

    def may_begin(self, now: float) -> bool:
        """True if frames may begin as the policy says; else what that takes is on its way."""
        k = self._policy.k
        if self._taking is not None:
            return self._take_turns(now) and self.may_begin(now)
        stop, stage = self._target()
        if (stop, stage) == (self._stream.stop, self.stage):
            self._exporting = _NOTHING
            self._began = k
            return True
        if self.stage >= 0:
            return self._fetch(now) and self._drained() and self._come_home() and self.may_begin(now)
        if not self._drained():
            return False
        if stage < 0:
            self._stream.end_jobs_at(stop)
            return True
        seq = self._stream.next_seq
        if self._exporting != (seq, stage):
            self._exporting = seq, stage
            self._stream.out.append(ExportState(seq, stage, stop))
        return False

    def exported(self, event: StateExported, now: float) -> None:
        """The state is ready to leave, if it is still wanted and can."""
        stream, peer = self._stream, self._peer
        if (event.seq, event.stage) != self._exporting or peer.state != UP:
            return
        if event.error or event.nbytes > peer.max_job:
            self._stay(event.error or f"{event.nbytes} bytes of state; the server takes {peer.max_job}", now)
            return
        self._exporting = _NOTHING
        stop, stage = self._target()
        if stage < 0 or event.seq != stream.next_seq or not self._drained():
            return
        stream.end_jobs_at(stop)
        stream.turns = Order(event.seq)
        self.stage, self.copy, self._newer = stage, event.seq, -1
        self.moves += 1
        self._hand_over(now)

    def too_large(self, frame: Frame, now: float) -> None:
        """A job is larger than the server takes: the device folds by itself from here on, or the frame is given up."""
        text = f"frame {frame.seq}: {frame.payload} bytes at split {frame.split}, the server takes {self._peer.max_job}"
        if self._stream.can_run_all:
            self._stay(text, now)
            self.take_over()
        else:
            self._stream.out.append(Note("warning", text))
            self._stream.journal[frame.seq] = None
            self._say(Skip(frame.seq))
            self._stream.settle(frame, Dropped("oversize"), now)

    def _stay(self, problem: str, now: float) -> None:
        """What is asked for cannot be: the split stays where the stages with state are, or goes where they can be."""
        config = self._config
        legal = [k for k in range(config.n, 0, -1) if config.splits[k] and self._wanted(k)[1] < 0]
        here = [self._began] if self.stage < 0 and self._began else [config.n] if self._stream.can_run_all else legal
        if here:
            self._policy.stay(here[0], self._stream.stop, now)
            self._exporting = _NOTHING
        if self.stage < 0 <= self._target()[1]:
            self._lacks = {*self._lacks, *self._held}  # then jobs end before them
        self._stream.out.append(Note("warning", f"{problem}: split {self._policy.k}"))

    def _target(self) -> tuple[int, int]:
        """Where jobs are to end and which stage with state is to be their first, as the policy says."""
        return self._policy.region or self._wanted(self._policy.k)

    def _wanted(self, k: int) -> tuple[int, int]:
        """Where jobs end and which stage with state is their first, for k stages here."""
        config = self._config
        if k == config.n:
            here = next(index for index in range(k) if config.stateful[index])
            return (self._stream.stop if self.stage < 0 else here), -1
        stop = config.stop_of(k, self._lacks)
        return stop, next((stage for stage in range(k, stop) if config.stateful[stage]), -1)

    def _drained(self) -> bool:
        """True if every frame begun has passed the stages with state."""
        if self.stage < 0 and self._stream.stop == self._config.n:  # they are before the cut
            return not any(frame.state == HEAD for frame in self._stream.frames.values())
        return not self._stream.under_way

    # -- there -------------------------------------------------------------------------------------

    def pass_turns(self) -> None:
        """Frames whose turn has come: their jobs may leave, or the server is told that none will come."""
        stream = self._stream
        for frame in stream.turns.passing():
            if frame.state != BACK:
                stream.journal[frame.seq] = None
                if self._peer.state == UP and self._taking is None:
                    self._say(Skip(frame.seq))
                continue
            stream.journal[frame.seq] = frame
            frame.generation, frame.state = self.generation, READY
            (stream.ready if self._taking is None else self._taking).append(frame)

    def expects(self, message: State, session: int, epoch: int) -> bool:
        """True if a copy of the state is of the present owner: the body keeps no other's."""
        return message.generation == self.generation and self._peer.knows(session, epoch)

    def received(self, message: State, peer: Peer, event: MessageReceived, now: float) -> None:
        """A copy of the state came, and is kept by the body."""
        if message.generation == self.generation and self.stage == message.stage and self._taking is None:
            self._asked_at = NEVER
            self._state = None  # it has it: this is what became of it
            self._newer = max(self._newer, message.seq)

    def settle(self, now: float) -> None:
        """Rely on the newer copy, once all before it have their outcome; ask for one if memory is short."""
        if self._newer > self.copy and self._stream.head >= self._newer:
            self.copy = self._newer
            self._stream.out.append(KeepState(self.copy))
            self._forget(self.copy)
        if self.stage < 0 or self._taking is not None or self._peer.state != UP:
            return
        if (self._stream.full or len(self._stream.journal) > _LONGEST) and max(self.copy, self._newer) < self._stream.head:
            self._ask(self._stream.head, now)

    def receipt(self, seq: int) -> None:
        """The server has a STATE."""
        if self._state is not None and self._state.seq == seq:
            self._state = None

    def failed(self, frame: Frame, stage: int) -> None:
        """A job ended before it came to the fold: should it be repeated, it does not come there either, whatever it died of."""
        if frame.seq in self._stream.journal and stage <= self.stage:
            self._stream.journal[frame.seq] = None

    def refused(self, message: Error, now: float) -> bool:
        """True if the server has no room for the state it was handed: it is folded here, or handed over again until there is."""
        if self._state is None or message.seq != self._state.seq or self._taking is not None:
            return False
        if self._stream.can_run_all:
            self._stay(message.text, now)
            self.take_over()
        return True

    def again(self, message: Result) -> bool:
        """True if the server gave a job back that came out of turn: it leaves again, behind the one before it."""
        frame = self._stream.journal.get(message.seq)
        if message.reason != _OUT_OF_TURN or message.generation != self.generation or frame is None:
            return False
        if frame.state == SENT:
            frame.state = READY
            self._stream.ready.append(frame)
        self.lost(message.seq)
        return True

    def lost(self, seq: int) -> None:
        """A SUBMIT did not arrive. Jobs leave in order, or what waits there might leave no credit for what it waits for."""
        stream = self._stream
        if seq in self._owed and self._owed[seq] not in stream.ready:
            stream.ready.append(self._owed[seq])
        if self.stage >= 0:
            stream.ready = deque(sorted(stream.ready, key=lambda frame: frame.seq))

    def answered(self, stamp: float, now: float) -> None:
        """The server answered what was sent at `stamp`: of what was sent before, something may be lost."""
        if self.stage < 0 or self._taking is not None:
            return
        if self._state is not None and self._stated_at < stamp:
            self._hand_over(now, again=True)
        if self._asked_at < stamp:
            seq, self._asked_at = self._stream.head, NEVER
            self._ask(seq, now)
        journal = self._stream.journal
        waiting = (frame.seq for frame in journal.values() if frame is not None and frame.state == SENT and frame.sent_at < stamp)
        first = next(waiting, 0 if self._asked_at == NEVER else self._stream.turns.head)
        for seq in [seq for seq, frame in journal.items() if frame is None and seq < first]:
            self._say(Skip(seq))

    def _hand_over(self, now: float, *, again: bool = False) -> None:
        if not again:
            self.generation += 1
            self._stream.generation = self.generation
            self._asked_at = NEVER
        self._state, self._stated_at = State(self.stage, self.generation, self.copy), now
        self._stream.out.append(self._peer.send(self._state, self.copy))

    def _ask(self, seq: int, now: float) -> None:
        if self._asked_at == NEVER:
            self._asked_at = now
            self._say(State(self.stage, self.generation, seq))

    def _say(self, message: Skip | State) -> None:
        self._stream.out.append(self._peer.send(message))

    def _fetch(self, now: float) -> bool:
        """True once there is a copy of the state behind the last frame begun; asked for at once, it comes with that one's RESULT."""
        seq = self._stream.next_seq
        if seq in (self._newer, self.copy):
            return True
        self._ask(seq, now)
        return False

    def _come_home(self) -> bool:
        """All is folded, and the copy is of now: the state is here again."""
        self._stream.out.append(ImportState(self._stream.next_seq, self.stage, self._stream.stop))
        self.moves += 1
        self._settle_here()
        return True

    # -- the link ----------------------------------------------------------------------------------

    def welcome(self, message: Welcome, now: float) -> None:
        """Served again: go on where the server is, or, if it is another life or the fold was taken over, from the last copy."""
        self._lacks = message.lacks if message.minor >= _STATE_MINOR else {*message.lacks, *self._held}
        self._down_since = self._asked_at = NEVER
        self._exporting = _NOTHING
        if self.stage < 0:
            return
        stream = self._stream
        if self._taking is not None or not message.resumed:
            self._taking, self._newer = None, -1
            self._hand_over(now)
            self._owed = {seq: frame for seq, frame in stream.journal.items() if frame is not None and frame.state not in _JOBS}
            for frame in stream.journal.values():
                if frame is not None:
                    frame.generation = self.generation
                    frame.state = READY if frame.state in _JOBS else frame.state
        elif self._state is not None:
            self._hand_over(now, again=True)
        for seq in [seq for seq, frame in stream.journal.items() if frame is None]:
            self._say(Skip(seq))
        waiting = [frame for frame in stream.frames.values() if frame.state == READY]
        stream.ready = deque(sorted([*waiting, *self._owed.values()], key=lambda frame: frame.seq))

    def alone(self, now: float) -> bool:
        """No server: True if frames may begin, False while the fold is still there or being taken over."""
        self._exporting = _NOTHING
        if self.stage < 0:
            return self._stream.can_run_all or self._target() == (self._stream.stop, -1)
        if self._peer.state == REFUSED and not self._stream.can_run_all:
            return True  # to be given up
        self._down_since = min(self._down_since, now)
        if self._taking is None and self._stream.can_run_all and (now >= self._down_since + PATIENCE or self._peer.state == REFUSED):
            self.take_over()
        return self._taking is not None and self._take_turns(now)

    def next_wakeup(self) -> float:
        """When the device's patience ends."""
        waits = self.stage >= 0 and self._taking is None and self._stream.can_run_all
        return self._down_since + PATIENCE if waits else NEVER

    def take_over(self) -> None:
        """Fold here, from the last copy on."""
        stream = self._stream
        self.generation += 1
        self.takeovers += 1
        self._state, self._newer = None, -1
        self._owed.clear()
        jobs = [frame for frame in stream.journal.values() if frame is not None]
        for frame in jobs:
            frame.generation, frame.out = self.generation, False
            if frame.state == SENT:
                frame.state = READY
        stream.ready = deque(frame for frame in stream.ready if not frame.generation)
        self._taking = deque(jobs)
        stream.out.append(ImportState(self.copy, self.stage, stream.stop))

    def _take_turns(self, now: float) -> bool:
        """Run the next jobs that wait for the fold, in order; True once it has caught up with the frames begun."""
        stream, taking = self._stream, self._taking
        assert taking is not None
        while taking and stream.running < 2 * self._config.workers:
            frame = taking.popleft()
            if frame.state != READY:
                self.replays += 1
                stream.replay(frame)
            else:
                stream.run_twin(frame, now)
        if taking or stream.turns.head < stream.next_seq:
            return False
        self._settle_here()
        return True

    def _settle_here(self) -> None:
        """The state is here, and nothing needs to be repeated any more."""
        self.generation += 1
        stop, _ = self._wanted(self._config.n)
        self.stage = self.copy = self._newer = -1
        self._taking, self._state = None, None
        self._asked_at = NEVER
        self._owed.clear()
        self._stream.generation = 0
        self._stream.end_jobs_at(stop)
        self._forget(self._stream.next_seq)

    # -- what is kept ------------------------------------------------------------------------------

    def withholds(self, seq: int) -> bool:
        """True if what is kept of a frame cannot be released yet."""
        if self._stream.journal.get(seq) is None:
            return False
        self._withheld.add(seq)
        return True

    def close(self) -> None:
        """The end of the stream: nothing is needed any more."""
        self._forget(self._stream.captured)

    def _forget(self, before: int) -> None:
        stream = self._stream
        for seq in [seq for seq in stream.journal if seq < before]:
            frame = stream.journal.pop(seq)
            self._owed.pop(seq, None)
            if frame is not None and seq not in stream.frames:
                stream.let_go(frame)
            if seq in self._withheld:
                self._withheld.remove(seq)
                stream.out.append(Release(seq))
