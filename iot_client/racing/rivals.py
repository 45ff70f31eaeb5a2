"""One cloud entrant of every race: the jobs that are for its server, and what is heard of them.

    offer -> ready -> sent -> RESULT | withdrawn (CANCEL)
               ^_______|  lost, damaged, a new link

The first cloud's server is home, whose Peer the session feeds. Each other rival has a session of its own there, which says HELLO,
SUBMIT, CANCEL, PING and BYE only; whatever befalls it costs its own answers and nothing else.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import msgspec

from iot_client.events import Command, MessageReceived, Note, Refuse, SendMessage
from iot_client.frames.admission import Window
from iot_client.frames.damage import GRACE, Damage
from iot_client.frames.frame import NEVER, Frame
from iot_client.frames.stream import Stream
from iot_client.racing.contest import Contest
from iot_client.racing.hedging import Hedge
from iot_client.racing.muster import Muster
from iot_client.servers.peer import UP, Peer
from wire.protocol import Bye, Cancel, Credit, Error, Message, Ping, Pong, Result, Submit, Welcome

__all__ = ["Job", "Rival"]


def _races(frame: Frame) -> bool:
    """True while it has no verdict."""
    return frame.contest is not None and frame.contest.verdict is None


class Job(msgspec.Struct, eq=False, gc=False):
    """A frame at one server, or on its way there; times in seconds. `held` if the server does not take it for now."""

    frame: Frame
    sent: bool = False
    held: bool = False
    attempts: int = 0
    sent_at: float = 0.0
    resend_at: float = NEVER


class Rival:
    """The jobs of one cloud entrant, by seq.

    Args:
        index: of the entrant, and of its peer.
        variant: what its server runs.
        muster: is told whether this cloud takes part.
        hedge: is told what is sent and what comes, if the risk of a miss is to be known.
    """

    def __init__(
        self, index: int, variant: str, peer: Peer, stream: Stream, damage: Damage, muster: Muster, hedge: Hedge | None = None
    ) -> None:
        self.index = index
        self.hedge = hedge
        self.peer = peer
        self.jobs: dict[int, Job] = {}
        self.resent = 0
        self.fits = True
        """False if its server cannot run what this cloud is: home's is of use all the same."""
        self.window = Window(stream.config.workers, stream.config.window)
        """How many jobs may be at this server."""
        self._variant = variant
        assert stream.metering is not None
        self._metering = stream.metering
        self._stream = stream
        self._config = stream.config
        self._damage = damage
        self._muster = muster
        self._ready: list[int] = []
        self._cancels: list[int] = []
        """What was withdrawn while no link was up."""

    @property
    def up(self) -> bool:
        """True if jobs can be sent."""
        return self.peer.state == UP and self.fits

    @property
    def acked(self) -> int:
        """Below this seq no answer is of any use."""
        return min((self._stream.head, *self.jobs))

    # -- jobs --------------------------------------------------------------------------------------

    def offer(self, frame: Frame) -> None:
        """Send this frame as soon as may be."""
        self.jobs[frame.seq] = Job(frame)
        insort(self._ready, frame.seq)

    def withdraw(self, seq: int, *, lingers: bool) -> bool:
        """The frame has its verdict; True if its answer is waited for all the same, since it `lingers`, else it is cancelled."""
        job = self.jobs.get(seq)
        if job is None:
            return False
        if job.sent and lingers and self.up:
            return True
        del self.jobs[seq]
        if self.hedge is not None:
            self.hedge.lost(seq, self.index)
        if not job.sent:
            self._ready.remove(seq)
        if job.attempts and not job.held:
            if self.up:
                self._stream.out.append(self.peer.send(Cancel(seq)))
            else:
                self._cancels.append(seq)
        return False

    def pump(self, now: float) -> list[Frame]:
        """Send what may be sent; returns the frames that are too large for this server."""
        if not self._ready or not self.up:
            return []
        too_large: list[Frame] = []
        while self._ready:
            seq = self._next()
            if seq < 0:
                break
            job = self.jobs[seq]
            payload = job.frame.payload
            if payload > self.peer.max_job:
                del self.jobs[seq]
                self._ready.remove(seq)
                too_large.append(job.frame)
            elif self.peer.may_send(payload):
                self._submit(job, now)
            else:
                self.peer.ask(payload)
                break
        return too_large

    def _next(self) -> int:
        """The job whose turn it is: the oldest, in live mode the newest, as far as the window allows; -1 for none.

        What lingers takes no place from what still races.
        """
        if not self._stream.live:
            return self._ready[0]
        if len(self.jobs) <= self.window.size:  # it is one of them
            return self._ready[-1]
        there = sum(job.sent and _races(job.frame) for job in self.jobs.values())
        return self._ready[-1] if there < self.window.size else -1

    def _submit(self, job: Job, now: float) -> None:
        frame, stream = job.frame, self._stream
        self._ready.remove(frame.seq)
        self.resent += job.attempts > 0
        job.attempts += 1
        job.sent, job.sent_at, job.resend_at = True, now, NEVER
        frame.attempts += 1
        frame.sent_bytes += frame.payload
        message = Submit(
            frame.seq, frame.split, frame.stop, frame.seq - 1, self._budget_us(frame, now), int(now * 1e6), self.acked, frame.codec,
            frame.signature, variant=self._variant,
        )
        stream.out.append(self.peer.submit(message, frame.payload))
        self._metering.sent(frame, self.index, now)
        if self.hedge is not None:
            self.hedge.sent(frame.seq, frame.payload, now, self.index)

    def _budget_us(self, frame: Frame, now: float) -> int:
        """Microseconds the server has for it, -1 for any; late answers are of use for another deadline if they are offered.

        The least round trip is left out and no more: what a job waits for on its way up the server sees by itself, and an answer that
        is refused too soon is lost where a late one costs its server time only.
        """
        race, contest = self._config.race, frame.contest
        if not self._stream.live or race is None or contest is None:
            return -1
        end = contest.deadline + (contest.deadline - frame.captured_at if race.tells_late else 0.0)
        way = self.peer.min_rtt or self.window.way(end - frame.captured_at)
        return max(0, int((end - way - now) * 1e6))

    def again(self, seq: int) -> bool:
        """Send a job once more whose answer is still wanted; True if there is one."""
        job = self.jobs.get(seq)
        if job is None or not job.sent:
            return False
        contest = job.frame.contest
        if contest is None or not _races(job.frame):
            job.resend_at = NEVER  # it lingers: what is on its way may still come, but nobody asks for it again
            return False
        job.sent, job.resend_at = False, NEVER
        insort(self._ready, seq)
        if job.held:
            job.held = False
            contest.reach(self.index, self.up)
        return True

    # -- what the server says of jobs --------------------------------------------------------------

    def awaits(self, message: Result, session: int, epoch: int) -> bool:
        """True if a RESULT of this session and epoch answers one of these jobs."""
        job = self.jobs.get(message.seq)
        return job is not None and job.attempts > 0 and message.start == job.frame.split and self.peer.knows(session, epoch)

    def result(self, message: Result, now: float) -> Frame | None:
        """The frame that a RESULT answers, None if nobody waits for it; a job dropped in lossless mode stays, for later."""
        job, held = self.jobs.get(message.seq), message.held_us / 1e6
        if self.hedge is not None:
            self._tell(self.hedge, message, held, now)
        if job is None or not job.attempts or message.start != job.frame.split:
            return None
        execution, network = held - message.queue_us / 1e6, max(0.0, now - job.sent_at - held)
        for window in (self.window, self._stream.window) if job.attempts == 1 else ():
            if message.outcome == "dropped":
                window.way_took(network, now)
            else:
                window.cloud_took(execution, network, now)
        self.window.completed(now)
        contest = job.frame.contest
        if message.outcome == "dropped" and not self._stream.live and contest is not None and _races(job.frame):
            self._hold(job, contest, now)
            return job.frame
        del self.jobs[message.seq]
        if not job.sent:
            self._ready.remove(message.seq)
        return job.frame

    def _tell(self, hedge: Hedge, message: Result, held: float, now: float) -> None:
        """An answer came, or that there will be none."""
        if message.outcome in ("done", "filtered"):
            hedge.answered(message.seq, held, now, self.index)
        else:
            hedge.receipt(message.seq, held, now, self.index)
            hedge.lost(message.seq, self.index)

    def _hold(self, job: Job, contest: Contest, now: float) -> None:
        """The server will not do it: wait for its next life, or for a change of its mind."""
        if not job.sent:
            self._ready.remove(job.frame.seq)
        job.sent, job.held, job.resend_at = True, True, now + self._config.resend
        contest.reach(self.index, False)

    def receipt(self, message: Credit, now: float) -> None:
        """The server has the job; only its RESULT can still be lost."""
        seq = message.seq
        self._metering.received(seq, self.index, message.held_us / 1e6, now)
        if self.hedge is not None:
            self.hedge.receipt(seq, message.held_us / 1e6, now, self.index)
        job = self.jobs.get(seq)
        if job is not None and job.sent and not job.held:
            job.resend_at = now + self._config.resend * 2 ** min(job.attempts - 1, 5)

    def damaged(self, message: Message, now: float) -> None:
        """A SUBMIT arrived damaged at the server, or a RESULT here."""
        if isinstance(message, Result | Error):
            self._damage.count()
            self.peer.flight.received(message.seq, now)
            self.again(message.seq)

    def garbled(self, now: float) -> None:
        """A message that nobody can read, one way or the other; perhaps a RESULT, so jobs with a receipt are sent again sooner."""
        self._damage.count()
        soon = now + GRACE + 2 * self.peer.rtt
        for job in self.jobs.values():
            if job.sent and not job.held and soon < job.resend_at < NEVER:
                job.resend_at = soon
        self.say(self.peer.garbled(now))

    def heartbeat(self, message: Pong, lost: Sequence[int], now: float) -> None:
        """A PING came back, and tells which SUBMITs never arrived."""
        if self.hedge is not None:
            self.hedge.beaten(now - (message.stamp_us + message.held_us) / 1e6, now, self.index)
        self._metering.round_trip(self.peer.min_rtt, now)
        for seq in lost:
            self._metering.lost(seq, self.index, now)
            self.again(seq)

    def welcomed(self, *, resumed: bool, now: float) -> None:
        """A new link: what is unanswered is sent again, what was given up meanwhile is cancelled if the server may still have it."""
        self._metering.relinked(self.index, now)
        for seq in list(self.jobs):
            self.again(seq)
        if resumed:
            self._stream.out += [self.peer.send(Cancel(seq)) for seq in self._cancels]
        self._cancels.clear()

    # -- a session of its own ----------------------------------------------------------------------

    def hears(self, event: MessageReceived, now: float) -> Result | None:
        """Its server says something; returns the RESULT if it is one."""
        message, peer = event.message, self.peer
        if type(message) is Error and not event.session:
            self.garbled(now)
        elif not peer.accepts(message, event.session, event.epoch, now):
            pass
        elif event.damaged or (type(message) is Error and message.code == "damaged"):
            self.damaged(message, now)
        elif type(message) is Result:
            peer.flight.received(message.seq, now)
            return message
        elif type(message) is Credit:
            peer.credit(message)
            if message.receipt == "submit":
                self.receipt(message, now)
        elif type(message) is Pong:
            self.heartbeat(message, peer.pong(message, now), now)
        elif type(message) is Welcome:
            self._welcome(message, event.epoch, now)
        elif type(message) is Error:
            self.say(peer.error(message, now, self.acked))
        elif type(message) is Bye:
            self._stream.out += peer.bye(message.reason)
        return None

    def _welcome(self, message: Welcome, epoch: int, now: float) -> None:
        self.peer.welcome(message, epoch)
        if self.judge(message):
            self.welcomed(resumed=message.resumed, now=now)
        else:  # its session is for nothing else; the server's next life may be another
            self._stream.out += self.peer.part("takes no part")

    def judge(self, message: Welcome) -> bool:
        """True if this server runs what this cloud is, by its WELCOME."""
        lacking = self._config.lacking(self._config.split, message.lacks)
        self.fits = not lacking
        if self.fits:
            self._muster.joins(self.index)
        else:
            why = f" ({message.warning})" if message.warning else ""
            self._muster.leaves(self.index, Refuse("cut", f"its server lacks what these stages need: {lacking}{why}"))
        return self.fits

    def link_up(self, now: float) -> None:
        """Its transport connected."""
        self._stream.out += self.peer.link_up(now, self.acked)

    def link_down(self, reason: str, denied: bool, now: float) -> None:
        """Its transport broke, or it does not let us in."""
        if denied:
            self.say(self.peer.denied(reason, now))
            return
        if self.up:
            self._stream.out.append(Note("warning", f"link to server {self.index + 1} lost: {reason or 'connection closed'}"))
        self.peer.link_down(now)

    def tick(self, now: float) -> None:
        """Heartbeat, HELLO again, or give the link up."""
        self._stream.out += self.beating(self.peer.tick(now, self.acked), now)

    def beating(self, commands: list[Command], now: float) -> list[Command]:
        """What the peer asks for at a Tick; a heartbeat among it will be waited for."""
        if self.hedge is not None and any(type(command) is SendMessage and type(command.message) is Ping for command in commands):
            self.hedge.beat(now, self.index)
        return commands

    def say(self, commands: list[Command]) -> None:
        """What its peer asks for; a server that refuses costs the race this cloud and nothing else."""
        for command in commands:
            if type(command) is Refuse:
                self._muster.leaves(self.index, command)
            else:
                self._stream.out.append(command)

    # -- time --------------------------------------------------------------------------------------

    def settle(self, now: float) -> None:
        """Send again what has had no answer for too long; forget what lingers where no link is up."""
        up = self.up
        for seq, job in list(self.jobs.items()):
            if not up and not _races(job.frame):
                del self.jobs[seq]
            elif up and job.resend_at <= now:
                self.again(seq)

    def next_wakeup(self) -> float:
        """When a job is sent again, or the server of another session than home's must hear of us."""
        peer = self.peer.next_wakeup() if self.index else None
        again = min([job.resend_at for job in self.jobs.values()]) if self.jobs and self.up else NEVER
        return again if peer is None else min(again, peer)
