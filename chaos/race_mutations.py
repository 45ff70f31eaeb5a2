"""Ways to break the rules of races, as mutations.py has them: name, path, what is gone then, and the edit."""

from __future__ import annotations

__all__ = ["RACES"]

_CONTEST = "iot_client/racing/contest.py"
_LINGER = "iot_client/racing/linger.py"
_MOMENT = "iot_client/racing/moment.py"
_MUSTER = "iot_client/racing/muster.py"
_RACES = "iot_client/racing/races.py"
_RIVALS = "iot_client/racing/rivals.py"

RACES: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "race-deadline", _CONTEST, "at the deadline the best answer there is stands",
        "        if best >= 0:\n            return self._standing(best)\n        self.missed = True\n",
        "        self.missed = True\n",
    ),
    (
        "race-tie", _CONTEST, "an answer at the very deadline is in time",
        "elif now < self.deadline or (now == self.deadline and not due):",
        "elif now < self.deadline:",
    ),
    (
        "race-rank", _CONTEST, "the clouds rank in their order, local last",
        "            return entrant\n        return int(",
        "            return -entrant\n        return int(",
    ),
    (
        "race-merge-waits", _CONTEST, "an answer waits for its counterpart where both are merged",
        "return self.hopes if best == self._twin else self.possible(self._twin)",
        "return False",
    ),
    (
        "race-cancel", _RIVALS, "losers are cancelled at the verdict",
        "                self._stream.out.append(self.peer.send(Cancel(seq)))\n            else:",
        "                pass\n            else:",
    ),
    (
        "race-twice", _RACES, "a frame has one verdict",
        "        if frame is None or contest is None or contest.verdict is not None or frame.state == SETTLED:",
        "        if frame is None or contest is None:",
    ),
    (
        "race-overtaken", _RACES, "a late answer makes no other one late",
        "            if seq < last:\n",
        "            if False:\n",
    ),
    (
        "race-offer", _LINGER, "late answers are offered to the app",
        "                self._stream.out.append(OfferLate(message.seq, self._stream.config.pivot, entrant))\n",
        "",
    ),
    (
        "race-away", _RACES, "a server that is not up is not waited for",
        "                    frame.contest.reach(entrant, rival.up)\n                    self._touched[seq] = frame\n",
        "                    self._touched[seq] = frame\n",
    ),
    (
        "race-last", _RACES, "extrapolation goes from the latest value before",
        "return max((other for other in self._values if other < seq), default=-1)",
        "return min((other for other in self._values if other < seq), default=-1)",
    ),
    (
        "race-never", _MOMENT, "a run that costs more than it saves is not begun",
        "    if late < least:\n        best, least = _NEVER, late\n",
        "",
    ),
    (
        "race-hopeless", _MUSTER, "a cloud that may yet allow this device's key is waited for",
        " if refusal.code != _FORBIDDEN]",
        "]",
    ),
)
