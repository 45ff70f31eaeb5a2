"""Ways to break the rules of races, as mutations.py has them: name, path, what is gone then, and the edit."""

from __future__ import annotations

__all__ = ["RACES"]

_ARRIVAL = "iot_client/racing/arrival.py"
_CALIBRATION = "iot_client/racing/calibration.py"
_CANCELS = "cloud_server/batches/cancels.py"
_CONTEST = "iot_client/racing/contest.py"
_COST = "iot_client/racing/cost.py"
_HEDGING = "iot_client/racing/hedging.py"
_LINGER = "iot_client/racing/linger.py"
_MOMENT = "iot_client/racing/moment.py"
_MUSTER = "iot_client/racing/muster.py"
_MOMENT = "iot_client/racing/moment.py"
_MUSTER = "iot_client/racing/muster.py"
_RACES = "iot_client/racing/races.py"
_RIVALS = "iot_client/racing/rivals.py"
_SIBLINGS = "cloud_server/shares/siblings.py"
_TWINS = "iot_client/racing/twins.py"
_UNDECLARED = "iot_client/racing/undeclared.py"

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
    (
        "race-overtaken-early", _RACES, "a late frame waits until a later answer is due",
        "max((seq for seq, contest in self._stood.items() if contest.deadline < now or (due and contest.deadline == now)), default=-1)",
        "max(self._stood, default=-1)",
    ),
    (
        "race-late-marked", _CONTEST, "a local answer after the deadline is marked late",
        "            return Verdict(STANDS, self._twin, late=True)",
        "            return Verdict(STANDS, self._twin)",
    ),
    (
        "race-linger-most", _LINGER, "so many frames wait for late answers and no more",
        "            if len(self._until) > MOST:",
        "            if False:",
    ),
    (
        "race-cancel-queued", _CANCELS, "a cancelled job that waits is taken out of the queue",
        "        if self._dispatcher.backlog.withdraw(session, job):",
        "        if False:",
    ),
    (
        "race-cancel-batch", _CANCELS, "a cancelled job leaves the batch that waits for a worker",
        "        return [] if batch is None else [Withdraw(batch.batch, batch.app, job.session, seq)]",
        "        return []",
    ),
    (
        "race-muster-nobody", _MUSTER, "the race goes on among the others where one cloud takes no part",
        "        return len(self.absent) == len(self.without)",
        "        return bool(self.absent)",
    ),
    (
        "race-muster-hopeless", _MUSTER, "no frame waits for a cloud that takes no part",
        "        return [entrant for entrant, refusal in self.absent.items() if refusal.code != _FORBIDDEN]",
        "        return []",
    ),
    (
        "race-muster-key", _MUSTER, "a key may be allowed later, so that cloud is waited for",
        " if refusal.code != _FORBIDDEN]",
        "]",
    ),
    (
        "race-muster-offered", _RACES, "a frame that was offered to a cloud which takes no part is not sent to it later",
        "                self.rivals[entrant].withdraw(seq, lingers=False)\n                self._touched",
        "                self._touched",
    ),
    (
        "race-siblings-share", _SIBLINGS, "the sessions of one device in a race have one share of the workers' time",
        "        session.served = max(session.served, each.served)\n    session.siblings = found\n",
        "    session.siblings = ()\n",
    ),
    (
        "race-siblings-memory", _SIBLINGS, "they have one share of the memory",
        "    session.account.join(tuple(each.account for each in found))\n",
        "",
    ),
    (
        "race-siblings-twice", _SIBLINGS, "two that ask for the same alternative are two devices",
        "any(each.hello.variant == session.hello.variant for each in device)",
        "False",
    ),
    (
        "race-moment-price", _MOMENT, "a local run has its price",
        "    best, least = now, price + late * (1.0 - in_time(now))",
        "    best, least = now, late * (1.0 - in_time(now))",
    ),
    (
        "race-moment-wait", _MOMENT, "to wait for an answer may be worth more than to begin",
        "        if cost < least:",
        "        if False:",
    ),
    (
        "race-moment-risk", _MOMENT, "a run that begins later is in time by a lower chance",
        "        missed = late * (1.0 - in_time(at))",
        "        missed = 0.0",
    ),
    (
        "race-cost-chance", _COST, "a run is in time by the share of those before it that were as short",
        "(place + (seconds - low) / (high - low)) / _STEPS",
        "1.0",
    ),
    (
        "race-cost-sum", _COST, "the stages of a run take time one after another",
        "self._fixed + sum(part.quantile(share) or 0.0 for part in self._parts)",
        "self._fixed + max(part.quantile(share) or 0.0 for part in self._parts)",
    ),
    (
        "race-latest", _TWINS, "a local run begins early enough for what it takes",
        "        return frame.contest.deadline - takes - self._margin() - self._blocked()",
        "        return frame.contest.deadline - self._margin() - self._blocked()",
    ),
    (
        "race-missed-runs", _TWINS, "a frame without an answer at its deadline is run here then",
        "        return self._always or frame.contest.missed or not frame.contest.hopes",
        "        return self._always or not frame.contest.hopes",
    ),
    (
        "race-hopeless-runs", _TWINS, "a frame that no cloud can answer is run here at once",
        "        return self._always or frame.contest.missed or not frame.contest.hopes",
        "        return self._always or frame.contest.missed",
    ),
    (
        "race-doubt", _HEDGING, "while something is overdue nothing is believed to be in time",
        "_FEARED = (0.0, 0.2, 0.9)",
        "_FEARED = (0.0, 0.2, 0.0)",
    ),
    (
        "race-doubt-after", _ARRIVAL, "a late answer is doubted after until some were in time",
        "_CAUTION = 4",
        "_CAUTION = 0",
    ),
    (
        "race-doubt-corrected", _CALIBRATION, "what was foretold is corrected by what was seen",
        "        return (prior + cell.hits) / (prior / raw + cell.seen)",
        "        return raw",
    ),
    (
        "race-doubt-silence", _ARRIVAL, "a receipt that does not come makes a late answer likelier",
        " / self._way.share(_ratio(now - job.sent_at, job.way))",
        "",
    ),
    (
        "race-doubt-beat", _ARRIVAL, "a heartbeat without an answer is trouble",
        "        if not self._up or self._silent(now) or (",
        "        if not self._up or (",
    ),
    (
        "race-doubt-unknown", _HEDGING, "a frame whose fate is decided before its end counts as the chance it had",
        "self._saw(asked, 1.0 if now >= asked[0].end else self._table.corrected(raw.late, raw.kind))",
        "self._saw(asked, 1.0)",
    ),
    (
        "race-doubt-best", _HEDGING, "of several clouds the best one counts",
        "                if late < best.late:",
        "                if late > best.late or best.late == _UNKNOWN:",
    ),
    (
        "race-undeclared-first", _UNDECLARED, "of answers that are alike the first one stands",
        " and not race.over and not race.stands:",
        " and not race.over:",
    ),
)
