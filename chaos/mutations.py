"""Ways to break the protocol, one edit each: what the tests must notice.

Each edit is text that stands exactly once in a file; a change of that code changes the mutant with it (a unit test tells).
"""

from __future__ import annotations

from typing import NamedTuple

from chaos.guard_mutations import GUARDS
from chaos.race_mutations import RACES

__all__ = ["MUTATIONS", "Mutation"]


class Mutation(NamedTuple):
    """Replace `old` by `new` in `path`; `removes` says what is gone then."""

    name: str
    path: str
    removes: str
    old: str
    new: str


_AFTERMATH = "cloud_server/batches/aftermath.py"
_RECEIPTS = "cloud_server/results/receipts.py"
_BATCHING = "cloud_server/batches/batching.py"
_SERVER_DISPATCH = "cloud_server/batches/dispatch.py"
_HANDSHAKE = "cloud_server/handshake.py"
_LEASE = "cloud_server/shares/lease.py"
_MEMORY = "cloud_server/shares/memory.py"
_OWNERSHIP = "cloud_server/ownership.py"
_SCHEDULER = "cloud_server/scheduler.py"
_SESSIONS = "cloud_server/sessions.py"
_DAMAGE = "iot_client/frames/damage.py"
_DELIVERY = "iot_client/frames/delivery.py"
_DEVICE_DISPATCH = "iot_client/frames/dispatch.py"
_FALLBACK = "iot_client/frames/fallback.py"
_FLIGHT = "iot_client/servers/flight.py"
_PEER = "iot_client/servers/peer.py"
_HOME = "iot_client/servers/home.py"
_REPORTS = "iot_client/frames/reports.py"
_STREAM = "iot_client/frames/stream.py"
_CHECKSUM = "wire/checksum.py"
_ANSWERS = "iot_client/frames/answers.py"
_PROTOCOL = "wire/protocol.py"

MUTATIONS = (
    Mutation(
        "dedup-running", _SESSIONS, "a SUBMIT sent twice while it runs is known",
        "return over or seq in self.results or seq in self.jobs",
        "return over or seq in self.results",
    ),
    Mutation(
        "dedup-finished", _SESSIONS, "a SUBMIT whose RESULT is held is known",
        "return over or seq in self.results or seq in self.jobs",
        "return over or seq in self.jobs",
    ),
    Mutation(
        "dedup-acked", _SESSIONS, "a SUBMIT of long ago is known",
        "if generation else seq < self.acked",
        "if generation else False",
    ),
    Mutation(
        "epoch-server", _SCHEDULER, "messages to an earlier life are refused",
        " or event.epoch != self.config.epoch:",
        ":",
    ),
    Mutation(
        "link-check", _SCHEDULER, "messages on a link that said no HELLO are refused",
        "session is None or session.peer != event.peer or session.sender != event.sender or",
        "session is None or",
    ),
    Mutation(
        "new-life", _SCHEDULER, "a session whose WELCOME was lost is a new one to its device",
        "resumed = session is not None and session.spoken  #",
        "resumed = session is not None  #",
    ),
    Mutation(
        "hold-results", _SCHEDULER, "RESULTs are held until they are acked",
        "session.hold(result, nbytes if done else 0)",
        "pass",
    ),
    Mutation(
        "resend-result", _RECEIPTS, "a SUBMIT sent twice is answered by the RESULT held",
        'yield replace(result, variant=session.planned), (session.number, seq) if result.outcome == "done" else None',
        "yield from ()",
    ),
    Mutation(
        "receipt-again", _RECEIPTS, "a SUBMIT sent twice while it runs gets its receipt again",
        'yield Credit(session.account.announce(), "submit", seq, event.nbytes, 0), None',
        "yield from ()",
    ),
    Mutation(
        "receipts-before-pong", _SCHEDULER, "all receipts owed go before PONG",
        "for job in self._receipts.take_of(session):",
        "for job in ():",
    ),
    Mutation(
        "receipt-of-report", _SCHEDULER, "REPORTs get a receipt",
        'self._send(session, Credit(session.account.announce(), "report", message.seq, event.nbytes, 0))',
        "pass",
    ),
    Mutation(
        "ack-on-submit", _SCHEDULER, "SUBMIT's ack lets results go",
        "        self._out += session.acknowledge(message.acked)\n        seq = message.seq",
        "        seq = message.seq",
    ),
    Mutation(
        "ack-on-ping", _SCHEDULER, "PING's ack lets results go",
        "        self._out += session.acknowledge(message.acked)\n        session.pinged",
        "        session.pinged",
    ),
    Mutation(
        "lease", _LEASE, "silent sessions end",
        "    if now - session.heard > silence:\n",
        "    if False:\n",
    ),
    Mutation(
        "heard", _SCHEDULER, "a session that speaks lives on",
        "        session.heard, session.spoken = now, True\n",
        "        session.spoken = True\n",
    ),
    Mutation(
        "peer-gone", _SCHEDULER, "nothing is said to a link that is gone",
        "                session.unbind()\n\n    def _on_revoked",
        "                pass\n\n    def _on_revoked",
    ),
    Mutation(
        "shed-late", _SERVER_DISPATCH, "jobs that cannot be in time do not run",
        "if job.deadline is None or self._forecasts[session.pool].free(now) + self._must_have(segment, 1) <= job.deadline:",
        "if True:",
    ),
    Mutation(
        "cancelled-runs", _SERVER_DISPATCH, "jobs nobody waits for do not run",
        "if job.cancelled or job.seq < session.acked:",
        "if False:",
    ),
    Mutation(
        "release-input", _SCHEDULER, "payloads are released when their batch ends",
        "                self._out.append(Release(token))\n        for done, token",
        "                pass\n        for done, token",
    ),
    Mutation(
        "forget-acked", _SESSIONS, "acked results are forgotten",
        "                gone.append(Forget(self.number, seq))\n",
        "                pass\n",
    ),
    Mutation(
        "stop-drains", _SCHEDULER, "a server that stops answers what runs",
        "if self._dispatcher.running or self._backlog.size or self._finished:",
        "if self._finished:",
    ),
    Mutation(
        "stop-refuses", _SCHEDULER, "a server that stops takes no new jobs",
        'problem = ("dropped", "shutdown") if self._stopping else why_not_run',
        "problem = why_not_run",
    ),
    Mutation(
        "batch-owner", _BATCHING, "a batch is of one app",
        "session.app == app and head.stop == stop and head.variant == variant\n                and (head",
        "head.stop == stop and head.variant == variant\n                and (head",
    ),
    Mutation(
        "batch-segment", _BATCHING, "a batch is of one segment of stages, or of its later ones",
        "head.stop == stop and head.variant == variant\n                and (head.start == start or (head.start > start and"
        " (app, head.start, stop, variant) in curves))\n",
        "True\n",
    ),
    Mutation(
        "awaited", _AFTERMATH, "an answer belongs to the job that was submitted last",
        "return job if job is not None and job.token == token else None",
        "return job",
    ),
    Mutation(
        "once-again", _AFTERMATH, "a job with a stage marked once is not tried again after its worker died",
        "return set() if once else try_again(",
        "return try_again(",
    ),
    Mutation(
        "report-once", _SESSIONS, "a REPORT is folded once",
        "if seq < self._reports_floor or seq in self._reports:",
        "if False:",
    ),
    Mutation(
        "offset", _SESSIONS, "clocks are never compared",
        " - max(0.0, late - min(self._fastest[0], self._fastest_before))",
        " - late",
    ),
    Mutation(
        "fence-older", _OWNERSHIP, "an older STATE is refused",
        "        if message.generation <= self.generation:\n            return False\n",
        "",
    ),
    Mutation(
        "fence-jobs", _OWNERSHIP, "jobs of an older generation are void",
        "job is None or job.generation != self.generation or not self.state:",
        "job is None or not self.state:",
    ),
    Mutation(
        "skip", _OWNERSHIP, "a SKIP closes the gap of a frame that will not come",
        "            self._skipped.add(seq)\n",
        "",
    ),
    Mutation(
        "fold-order", _OWNERSHIP, "stages with state see frames in seq order",
        "        self.expect = job.seq + 1\n",
        "        self.expect = max(self.waiting, default=job.seq + 1)\n",
    ),
    Mutation(
        "credit-server", _MEMORY, "a job beyond the credit is dropped",
        "        return self._count(nbytes)\n",
        "        return 0 * self._count(nbytes)\n",
    ),
    Mutation(
        "credit-frees", _MEMORY, "an ended job frees its bytes",
        "        self.kept += nbytes\n",
        "        self.kept += max(0, nbytes)\n",
    ),
    Mutation(
        "credit-cap", _MEMORY, "all sessions together stay under one cap",
        "max(missing, min(wanted, free - spare))\n",
        "wanted\n",
    ),
    Mutation(
        "credit-lost", _MEMORY, "what the link lost is given back",
        "        if sent > self.received:\n",
        "        if False:\n",
    ),
    Mutation(
        "credit-device", _PEER, "the device keeps to its credit",
        "return self.state == UP and self.sent + nbytes <= self.limit",
        "return self.state == UP",
    ),
    Mutation(
        "credit-shrinks", _PEER, "an old CREDIT never lowers the limit",
        "        if message.limit > self.limit:\n            self.limit = message.limit\n        if message.receipt",
        "        self.limit = message.limit\n        if message.receipt",
    ),
    Mutation(
        "epoch-device", _PEER, "messages of another life of the server are ignored",
        "return self.state == UP and epoch == self.epoch\n\n    def _said_twice",
        "return self.state == UP\n\n    def _said_twice",
    ),
    Mutation(
        "session-device", _PEER, "messages of another session are ignored",
        "        if session != self._session:\n            return False\n",
        "",
    ),
    Mutation(
        "silence", _PEER, "a silent server is left",
        "if self.state == UP and now >= self._heard + self._silence():",
        "if False:",
    ),
    Mutation(
        "hello-retry", _PEER, "an unanswered HELLO costs the link",
        "if self.state == PROBING and now >= self._hello_at + max(self._backoff, 4 * self.rtt):",
        "if False:",
    ),
    Mutation(
        "hello-required", _PEER, "a server that forgot us hears HELLO again",
        "            self.state = PROBING\n            return [self._say_hello(now, acked)]\n        return [Note",
        "            return []\n        return [Note",
    ),
    Mutation(
        "reopen", _PEER, "a link that stays down gets a new socket",
        "if self.state == DOWN and now >= self._reopen_at:",
        "if False:",
    ),
    Mutation(
        "welcome-twice", _PEER, "a HELLO said twice counts once",
        "return self.state == PROBING or self._said_twice(message, epoch)",
        "return True",
    ),
    Mutation(
        "garbled", _PEER, "a link that is beyond reading is left",
        "if self._garbled >= _HOPELESS:",
        "if False:",
    ),
    Mutation(
        "counters-anew", _PEER, "counters start anew with WELCOME",
        "self.sent, self.limit = 0, message.limit",
        "self.limit = message.limit",
    ),
    Mutation(
        "lost-submit", _FLIGHT, "a PONG shows which SUBMITs were lost",
        "if stamp < stamp_us]",
        "if False]",
    ),
    Mutation(
        "resend-unanswered", _HOME, "after WELCOME all that is unanswered is sent again",
        "        self._stream.ready = deque(unanswered)\n",
        "        self._stream.ready = deque()\n",
    ),
    Mutation(
        "late-result", _ANSWERS, "a RESULT for a frame that has its outcome is ignored",
        "if frame is None or not frame.awaits(message.start, message.generation):",
        "if frame is None:",
    ),
    Mutation(
        "delivery-order", _DELIVERY, "outcomes leave in seq order",
        "(frame := self.waiting.pop(self.head, None)) is not None:",
        "(frame := self.waiting.pop(next(iter(self.waiting)), None)) is not None:",
    ),
    Mutation(
        "age-bound", _STREAM, "live frames are given up at their age bound",
        "            if left > 0 or (left == 0 and not due):\n                return\n",
        "            return\n",
    ),
    Mutation(
        "newest", _STREAM, "of frames that wait only the newest stay",
        "while len(self.waiting) > self.config.depth:",
        "while False:",
    ),
    Mutation(
        "once-twin", _FALLBACK, "a stage marked once gets no twin",
        "return frame.out and self._once(frame) >= 0",
        "return False",
    ),
    Mutation(
        "fallback", _FALLBACK, "without a server the device finishes its frames itself",
        "                if stream.running < 2 * self._config.workers:\n                    stream.run_twin(frame, now)\n",
        "                pass\n",
    ),
    Mutation(
        "oversize", _DEVICE_DISPATCH, "what the server would not take is not sent",
        "if frame.payload > peer.max_job:",
        "if False:",
    ),
    Mutation(
        "report-lost", _REPORTS, "a REPORT that was lost is sent again",
        "if sent < time and seq not in self._unsent]",
        "if False]",
    ),
    Mutation(
        "report-anew", _REPORTS, "REPORTs are offered again on a new link",
        "        self._unsent = dict.fromkeys(self._pending)\n",
        "",
    ),
    Mutation(
        "memory-permit", _STREAM, "values kept are bounded",
        "        if self._kept >= config.memory:\n            wanted = 0\n        elif self.live:",
        "        if self.live:",
    ),
    Mutation(
        "crc-part0", _PROTOCOL, "a damaged part 0 is no message",
        " or _crc32(rest, _crc32(first[:_BEFORE_CRC])) != crc or major",
        " or major",
    ),
    Mutation(
        "crc-buffers", _CHECKSUM, "damaged buffers are found",
        "    if found == told:\n",
        "    if True:\n",
    ),
    Mutation(
        "damaged-submit", _DAMAGE, "what was damaged is sent again",
        "        frame.state = READY\n        self._stream.ready.append(frame)\n",
        "",
    ),
    Mutation(
        "size-check", _PROTOCOL, "a message beyond the limit is refused",
        "    if size > max_job + MAX_HEADER + _PREFIX_SIZE:\n",
        "    if False:\n",
    ),
    Mutation(
        "fingerprint", _HANDSHAKE, "another app is refused at HELLO",
        "if hello.fingerprint != app.fingerprint:",
        "if False:",
    ),
    *(Mutation(*each) for each in RACES + GUARDS),
)
