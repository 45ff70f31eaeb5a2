"""The server's memory: who may send how much, so that all together stay under one cap.

A session is charged with what it may still send (`unused`), what is here of it (`kept`), the results it has not
acknowledged (`held`) and the state of its stages (`stored`). A limit that was told cannot be taken back on a link, so
a limit is raised only where all charges together stay under the cap:

    room = cap - largest; share = room / live devices, at most `most`
    first on a link: a quarter of room / live, at most the share and 1 MiB
    then up to the session's `window`, at most its share; and always its own next job beyond what is held for it

A window grows with use, as TCP's does: twofold each time it bounds what the device sends although all that it gave is used (slow
start), at once to the share while less than a quarter of the room is in use, and to what the device sent in the last second; it
falls to twice that. So most of what is granted is used within a second or two, and those that come later find room. An eighth of
the room is only for first limits and for next jobs, which are granted in the order in which sessions asked; while several wait,
each gets no more than that.

What a session was granted and does not use is taken back by asking for a new HELLO (`recalled`), if others wait. The last
`largest` bytes of the cap are only for one at a time that has nothing under way here, the first in line or one whose
answers are held: so somebody can always go on, and ack, whatever the others hold. States take no credit and
stay for as long as their session: all together they may have half of what is beside `largest`; beyond that all but the first are refused.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Account", "Memory"]

_FIRST = 2**20
"""Bytes granted in WELCOME at most: a few frames; more is granted to who asks for it."""
_QUARTER = 4
"""Of an even part of the room, as much of it as a first limit may be: the sum over n sessions that come one after the other rises
with log n, so that first limits alone fill the room at 2,500 sessions under the default cap."""
_SPARE = 8
"""One part of so many of the room is for first limits and next jobs."""
_IDLE = 1.0
"""Seconds without a payload after which what a session does not use may be wanted by others."""
_LONG = 4
"""And what it would not use in so many seconds."""


class Memory:
    """What all sessions may have here together, in bytes.

    Invariant: `used` is the sum of all accounts' charges and of what workers have copies of. It exceeds `cap` only by
    what results are larger than the jobs they came of, and then by one job.

    Args:
        cap: for all; most: for one session; largest: of one job.
    """

    def __init__(self, cap: int, most: int, largest: int) -> None:
        self.cap, self.most, self.largest = cap, most, min(largest, most)
        self.used = 0
        self.stored = 0
        """Bytes of the states of all sessions."""
        self.live = self.share = self.first = 0
        """Devices with a link, what each of them may have while others want the rest, and what it gets first."""
        self.linked(0)
        self.plenty = (cap - self.largest) // _QUARTER
        """Below so many bytes in use windows are as wide as shares: wide ones save messages."""
        self.lendings: dict[int, int] = {}
        """Bytes by batch that no session is charged with."""
        self._reserved: Account | None = None
        self._reserved_on = 0
        self.waiting: dict[int, Account] = {}
        """Whose next job does not fit its limit, in the order of asking."""

    def linked(self, change: int) -> None:
        """One more device with a link, or one less."""
        self.live += change
        part = max(0, self.cap - self.largest) // max(1, self.live)
        self.share, self.first = min(self.most, part), min(self.most, part // _QUARTER, _FIRST)

    def grant(self, account: Account) -> int:
        """Raise a session's limit as far as its share and the others allow; returns by how much."""
        window = min(account.window, account.share if account.kin else self.share)
        entitled = max(window, min(account.need, self.largest) + account.held + account.stored)
        wanted = entitled - account.charge
        granted = 0
        if account.linked and wanted > 0 and wanted >= account.missing:  # else its own jobs are what it waits for
            granted = self._possible(account, wanted)
        if granted:
            account.raise_limit(granted)
            self.waiting.pop(account.number, None)
        elif account.linked and 0 < account.missing <= wanted:
            self.waiting.setdefault(account.number, account)
        else:
            self.waiting.pop(account.number, None)
        return granted

    def welcome(self, account: Account, *, asks: bool) -> None:
        """The first limit on a link; a device that cannot ask (`asks`) gets what its largest job needs, and later its share."""
        first = min(account.share, self.first) if asks else min(self.most, max(_FIRST, self.largest))
        account.window = first if asks else self.most
        granted = min(first - account.charge, self.cap - self.largest - self.used)
        if granted > 0:
            account.raise_limit(granted)

    def serve(self) -> list[Account]:
        """Grant to those in line what has become free; returns whose limits rose."""
        served = []
        for account in list(self.waiting.values()):
            if self.grant(account):
                served.append(account)
            elif self.used <= self.cap - self.largest:
                break  # nobody passes who was there first
        return served

    def recalled(self, accounts: Iterable[tuple[float, Account]], now: float) -> list[Account]:
        """Whose unused bytes are to be taken back, given when each account was last fed: no more than the first in line needs."""
        first = next(iter(self.waiting.values()), None)
        if first is None:
            return []
        idle = [
            account for fed, account in accounts
            if account is not first and account.unused > (0 if account is self._reserved else 2 * self.first)
            and (now - fed >= _IDLE or account.unused > 2 * self.first + _LONG * account.lately)
        ]
        missing = first.missing - (self.cap - self.largest - self.used)
        recalled = []
        for account in sorted(idle, key=lambda account: -account.unused):
            if missing <= 0:
                break
            missing -= account.unused
            recalled.append(account)
        return recalled

    def lend(self, batch: int, nbytes: int) -> None:
        """A worker gets copies of so many bytes, or is still at those of a session that ended."""
        self.lendings[batch] = self.lendings.get(batch, 0) + nbytes
        self.used += nbytes

    def returned(self, batch: int) -> None:
        """And has no use for them any more."""
        self.used -= self.lendings.pop(batch, 0)

    @property
    def lent(self) -> int:
        """Bytes that no session is charged with."""
        return sum(self.lendings.values())

    def _possible(self, account: Account, wanted: int) -> int:
        first = next(iter(self.waiting), account.number) == account.number
        free, missing = self.cap - self.largest - self.used, account.missing
        if first and free >= max(1, missing):
            spare = (self.cap - self.largest) // _SPARE
            return missing if len(self.waiting) > 1 else max(missing, min(wanted, free - spare))
        holder = self._reserved
        # What it may send on a later link it was granted like anybody else.
        taken = holder is not None and holder is not account and (holder.kept or (holder.unused and holder.links == self._reserved_on))
        if not missing or account.kept or taken:
            return 0
        # Whose answers are here may pass the line: its next job is what lets it ack them.
        if (first and missing <= self.cap - self.used) or (account.held and free < 0):
            self._reserved, self._reserved_on = account, account.links
            return missing
        return 0


class Account:
    """One session's bytes.

    Invariants: `limit` never shrinks on a link; `kept` is the payload bytes of its jobs, `held` of the results kept for it,
    `stored` of its stages' state.
    """

    def __init__(self, number: int, memory: Memory) -> None:
        self.number = number
        self.limit = 0
        """Cumulative payload bytes the device may send since WELCOME, as it was told."""
        self.received = 0
        self.kept = 0
        self.held = 0
        self.stored = 0
        self.need = 0
        """Bytes of the job it sends next, as far as is known: it said so, or it is like the last one."""
        self.window = 0
        """What it may have here unasked, as far as its share goes: what it had use for lately."""
        self.lately = 0
        """Bytes that came in the last second; all it may have, as long as nobody looked for one."""
        self._swept = self._grown = 0
        """`received` when somebody looked last, -1 before; what was granted when the window grew last."""
        self.linked = False
        self.kin: tuple[Account, ...] = ()
        """Those of its device's other sessions, which have one share together."""
        self.links = 0
        """Links so far, the present one too."""
        self.asks = True
        """True if its device says how much it waits for."""
        self._memory = memory

    @property
    def unused(self) -> int:
        """Bytes the device may send now."""
        return max(0, self.limit - self.received) if self.linked else 0

    @property
    def charge(self) -> int:
        """Bytes that are or may be here because of this session."""
        return self.unused + self.kept + self.held + self.stored

    @property
    def share(self) -> int:
        """What it may have while others want the rest: what its device's other sessions leave of one share, and an even part at least."""
        if not self.kin:
            return self._memory.share
        even = self._memory.share // (1 + sum(each.linked for each in self.kin))
        return max(even, self._memory.share - sum(each.charge for each in self.kin))

    @property
    def missing(self) -> int:
        """Bytes by which its next job exceeds its limit."""
        return max(0, min(self.need, self._memory.largest) - self.unused)

    def join(self, kin: tuple[Account, ...]) -> None:
        """It is of one device with these, and they with each other."""
        self.kin = kin
        for each in kin:
            each.kin = (*each.kin, self)
        self._memory.linked(-(self.linked and self._accompanied))

    def part(self) -> None:
        """It is of no device with others any more."""
        self._memory.linked(self.linked and self._accompanied)
        for each in self.kin:
            each.kin = tuple(other for other in each.kin if other is not self)
        self.kin = ()

    def link(self, *, asks: bool = True) -> int:
        """A new link: counters start anew. Returns the limit for WELCOME."""
        self.unlink()
        self.limit = self.received = self._grown = 0
        self.lately, self._swept = self._memory.most, -1
        self.asks = asks
        self.linked = True
        self.links += 1
        self._memory.linked(not self._accompanied)
        self._memory.welcome(self, asks=asks)
        return self.limit

    def unlink(self) -> None:
        """The link is gone, or no longer served: nothing can come on it."""
        if self.linked:
            self._memory.used -= self.unused
            self.linked = False
            self._memory.linked(-(not self._accompanied))
            self._memory.waiting.pop(self.number, None)

    def raise_limit(self, nbytes: int) -> None:
        """Grant so many bytes."""
        self.limit = max(self.limit, self.received) + nbytes
        self._memory.used += nbytes

    def receive(self, nbytes: int) -> int:
        """Count a payload; returns the bytes beyond what was granted, 0 for any device that keeps to the protocol."""
        self.need = nbytes
        if self.received + nbytes <= self.limit:
            self.received += nbytes
            self._memory.used -= nbytes
            return 0
        return self._count(nbytes)

    def follow(self) -> None:
        """Another second is over: the window is at least what was used in it, and at most twice that."""
        before, self._swept = self._swept, self.received
        if before < 0:
            return
        self.lately = self.received - before
        if self.asks:
            used = self.lately + self.kept + self.held + self.stored
            self.window = max(self._memory.first, used, min(self.window, 2 * used))

    def reconcile(self, sent: int, wants: int = 0) -> None:
        """The device has sent so many bytes, the link lost what did not come; and it waits for credit for a job of so many."""
        if sent > self.received:
            self._count(sent - self.received)
        if wants:
            self.need = wants
            self._grow(sent)

    def keep(self, nbytes: int) -> None:
        """A job's payload is kept (negative: no longer)."""
        self.kept += nbytes
        self._memory.used += nbytes

    def hold(self, nbytes: int) -> None:
        """A result is held for the device (negative: no longer)."""
        self.held += nbytes
        self._memory.used += nbytes

    def may_store(self, nbytes: int) -> bool:
        """True if there is room for a state of so many bytes, in place of the one that is here. There always is for one."""
        others = self._memory.stored - self.stored
        return not others or others + nbytes <= (self._memory.cap - self._memory.largest) // 2

    def store(self, nbytes: int) -> None:
        """The state of the session's stages has so many bytes now; 0: there is none."""
        self._memory.stored += nbytes - self.stored
        self._memory.used += nbytes - self.stored
        self.stored = nbytes

    def grant(self) -> int:
        """A limit worth telling unasked (half the window is free, or the next job fits again), or 0."""
        memory, unused = self._memory, self.limit - self.received
        fits = unused >= self.need or unused >= memory.largest
        if fits and 2 * (unused + self.kept + self.held) > min(self.window, self.share if self.kin else memory.share):
            return 0
        before = self.limit
        if not fits or memory.used < memory.plenty:
            self._grow(self.received)
        memory.grant(self)
        return self.limit if self.limit > before else 0

    def announce(self) -> int:
        """The limit as it is now told to the device, raised as far as may be."""
        self._memory.grant(self)
        return self.limit

    def end(self) -> None:
        """The session is over and nothing of it is here."""
        self.unlink()
        self.store(0)
        self._memory.used -= self.kept + self.held
        self.kept = self.held = 0

    @property
    def _accompanied(self) -> bool:
        return any(each.linked for each in self.kin)

    def _grow(self, sent: int) -> None:
        """The window bounds what it sends, or may as well be wider, and what the last growth gave is used: widen it."""
        memory = self._memory
        if sent + self.need > self._grown and self.number not in memory.waiting:
            twice = 2 * max(min(self.window, self.share), self.need)
            self.window = memory.most if memory.used < memory.plenty else min(twice, memory.most)
            memory.grant(self)
            self._grown = self.limit

    def _count(self, nbytes: int) -> int:
        left = self.limit - self.received
        self.received += nbytes
        if nbytes <= left:
            self._memory.used -= nbytes
            return 0
        self._memory.used -= max(0, left)
        return nbytes - left
