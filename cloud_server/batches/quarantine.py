"""Which inputs and whose jobs no longer reach a worker, after those that did have cost too many.

    an input (app, first stage, digest)      3 kills -> refused as failed; one kill is forgiven every ten minutes
    a device's stage (app, first stage)      30 kills, of which half are forgotten within a minute -> suspended
    a stage, whoever's                       30 kills in a row, without one job that came through -> suspended

A quarantined input fails: no other host should be tried with it. A suspended job is dropped, which leaves it to the
device: its own frame may be sound. A suspension lasts 2 s at first and twice as long each time another kill follows,
up to a minute.
"""

from __future__ import annotations

import msgspec

__all__ = ["Quarantine", "Refusal"]

KILLS = 3
"""Workers an input may cost: once may be chance (memory was short), twice may be bad luck."""
TOO_MANY = 30
FORGIVEN = 600.0
HALF_LIFE = 60.0
FIRST, LONGEST = 2.0, 60.0
_MOST = 1024
"""Inputs and stages remembered; beyond, the oldest are forgotten."""

Refusal = tuple[str, str]
"""(outcome, reason) of a job that is not to run."""

_Input = tuple[str, int, str]
_Culprit = tuple[str, int, str]
"""(app, first stage, device), or "" for whoever it was."""


class _Suspect(msgspec.Struct):
    """An input that ended a worker; `kills` as of `at`."""

    nbytes: int
    kills: float
    at: float


class _Trouble(msgspec.Struct):
    """Kills by one device's stage, or by a stage; no job of it runs before `until`."""

    kills: float
    at: float
    until: float = 0.0
    pause: float = FIRST


class Quarantine:
    """Remembers what ended workers; times are the server's monotonic seconds."""

    def __init__(self) -> None:
        self.refused = 0
        self._suspects: dict[_Input, _Suspect] = {}
        self._sizes: dict[int, int] = {}
        self.troubles: dict[_Culprit, _Trouble] = {}
        """Who ended workers; while it is empty only inputs with a digest can be refused."""

    def watches(self, nbytes: int) -> bool:
        """True if a payload of this size must be known by its digest."""
        return nbytes in self._sizes

    def killed(self, app: str, start: int, device: str, digest: str, nbytes: int, now: float) -> list[str]:
        """A job, alone, ended its worker; returns what follows, in words for people."""
        notes = []
        key = (app, start, digest)
        suspect = self._suspects.pop(key, None)
        if suspect is None:
            suspect = _Suspect(nbytes, 0.0, now)
            self._sizes[nbytes] = self._sizes.get(nbytes, 0) + 1
        suspect.kills = _forgiven(suspect, now) + 1.0
        suspect.at = now
        self._suspects[key] = suspect
        if suspect.kills > KILLS - 1:
            notes.append(f"input {digest} of app {app!r} is quarantined at stage {start}: it killed {KILLS} workers; {device} sent it last")
        while len(self._suspects) > _MOST:
            self._forget(next(iter(self._suspects)))
        for who in (device, ""):
            text = self._trouble((app, start, who), now)
            notes += [text] if text else []
        return notes

    def survived(self, app: str, start: int) -> None:
        """A job of this stage came back with its worker alive."""
        self.troubles.pop((app, start, ""), None)

    def why_not(self, app: str, start: int, device: str, digest: str, now: float) -> Refusal | None:
        """Why a job must not run, or None."""
        suspect = self._suspects.get((app, start, digest)) if digest else None
        if suspect is not None and _forgiven(suspect, now) > KILLS - 1:
            self.refused += 1
            return "failed", f"quarantined: this input killed {KILLS} workers at stage {start} of app {app!r}"
        for who in (device, "") if self.troubles else ():
            trouble = self.troubles.get((app, start, who))
            if trouble is not None and now < trouble.until:
                self.refused += 1
                whose = f"of {who}" if who else "of all devices"
                return "dropped", f"suspended: jobs {whose} at stage {start} killed too many workers; again in {trouble.until - now:.0f} s"
        return None

    def _trouble(self, culprit: _Culprit, now: float) -> str:
        trouble = self.troubles.pop(culprit, None) or _Trouble(0.0, now)
        self.troubles[culprit] = trouble
        faded = 0.5 ** ((now - trouble.at) / HALF_LIFE) if culprit[2] else 1.0
        trouble.kills, trouble.at = trouble.kills * faded + 1.0, now
        while len(self.troubles) > _MOST:
            del self.troubles[next(iter(self.troubles))]
        if trouble.kills < TOO_MANY:
            trouble.pause = FIRST
            return ""
        if now < trouble.until:
            return ""  # jobs that were under way when it was suspended
        trouble.until = now + trouble.pause
        trouble.pause = min(LONGEST, 2 * trouble.pause)
        app, start, device = culprit
        seconds = trouble.until - now
        return f"{device or 'all devices'}: jobs of app {app!r} at stage {start} are suspended for {seconds:.0f} s: they kill workers"

    def _forget(self, key: _Input) -> None:
        nbytes = self._suspects.pop(key).nbytes
        self._sizes[nbytes] -= 1
        if not self._sizes[nbytes]:
            del self._sizes[nbytes]


def _forgiven(suspect: _Suspect, now: float) -> float:
    return max(0.0, suspect.kills - (now - suspect.at) / FORGIVEN)
