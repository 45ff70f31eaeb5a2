"""Ways to break the protocol, one edit each: what the tests must notice.

Each edit is text that stands exactly once in a file; a change of that code changes the mutant with it (a unit test tells).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MUTATIONS", "Mutation"]


class Mutation(NamedTuple):
    """Replace `old` by `new` in `path`; `removes` says what is gone then."""

    name: str
    path: str
    old: str
    new: str
    removes: str


_SCHEDULER, _SESSIONS, _MEMORY = "cloud_server/scheduler.py", "cloud_server/sessions.py", "cloud_server/memory.py"
_OWNER, _RECEIPTS, _HANDSHAKE = "cloud_server/ownership.py", "cloud_server/receipts.py", "cloud_server/handshake.py"
_SESSION, _PEER, _STREAM, _DISPATCH = "iot_client/session.py", "iot_client/peer.py", "iot_client/stream.py", "iot_client/dispatch.py"
_FALLBACK, _REPORTS, _DELIVERY, _DAMAGE = "iot_client/fallback.py", "iot_client/reports.py", "iot_client/delivery.py", "iot_client/damage.py"
_PROTOCOL, _CHECKSUM, _RACE = "wire/protocol.py", "wire/checksum.py", "iot_client/race.py"

MUTATIONS = (
    # -- the server: once each, and no more than asked for
    Mutation("dedup-running", _SESSIONS, "return over or seq in self.results or seq in self.jobs", "return over or seq in self.results",
             "a SUBMIT sent twice while it runs is known"),
    Mutation("dedup-finished", _SESSIONS, "return over or seq in self.results or seq in self.jobs", "return over or seq in self.jobs",
             "a SUBMIT whose RESULT is held is known"),
    Mutation("dedup-acked", _SESSIONS, "if generation else seq < self.acked", "if generation else False",
             "a SUBMIT of long ago is known"),
    Mutation("epoch-server", _SCHEDULER, " or event.epoch != self.config.epoch:", ":", "messages to an earlier life are refused"),
    Mutation("link-check", _SCHEDULER, "session is None or (session.peer, session.sender) != (event.peer, event.sender) or",
             "session is None or", "messages on a link that said no HELLO are refused"),
    Mutation("hold-results", _SCHEDULER, "session.hold(result, nbytes if done else 0)", "pass", "RESULTs are held until they are acked"),
    Mutation("resend-result", _SCHEDULER, "            self._send(session, result, payload)\n", "            pass\n",
             "a SUBMIT sent twice is answered by the RESULT held"),
    Mutation("receipt-again", _SCHEDULER, "self._send(session, Credit(session.account.announce(), \"submit\", seq, event.nbytes, 0))",
             "pass", "a SUBMIT sent twice while it runs gets its receipt again"),
    Mutation("receipts-before-pong", _SCHEDULER, "for job in self._receipts.take_of(session):", "for job in ():",
             "all receipts owed go before PONG"),
    Mutation("receipt-of-report", _SCHEDULER, "self._send(session, Credit(session.account.announce(), \"report\", message.seq, event.nbytes, 0))",
             "pass", "REPORTs get a receipt"),
    Mutation("ack-on-submit", _SCHEDULER, "        self._acknowledge(session, message.acked)\n        seq = message.seq",
             "        seq = message.seq", "SUBMIT's ack lets results go"),
    Mutation("ack-on-ping", _SCHEDULER, "        self._acknowledge(session, message.acked)\n        session.account.reconcile",
             "        session.account.reconcile", "PING's ack lets results go"),
    Mutation("lease", _SCHEDULER, "if now - s.heard > self.config.lease]", "if False]", "silent sessions end"),
    Mutation("heard", _SCHEDULER, "        session.heard = now\n", "", "a session that speaks lives on"),
    Mutation("peer-gone", _SCHEDULER, "                session.unbind()\n\n    def _on_revoked", "                pass\n\n    def _on_revoked",
             "nothing is said to a link that is gone"),
    Mutation("shed-late", _SCHEDULER, "self._costs.predict((session.app, job.start, job.stop)) > job.deadline:", "0.0 > job.deadline + 1e9:",
             "jobs that cannot be in time do not run"),
    Mutation("cancelled-runs", _SCHEDULER, "if job.cancelled or job.seq < session.acked:", "if False:", "jobs nobody waits for do not run"),
    Mutation("release-input", _SCHEDULER, "            if token not in again:\n                self._out.append(Release(token))\n", "",
             "payloads are released when their batch ends"),
    Mutation("forget-acked", _SCHEDULER, "        for seq, done in session.acknowledge(acked):\n            if done:\n",
             "        for seq, done in session.acknowledge(acked):\n            if False:\n", "acked results are forgotten"),
    Mutation("stop-drains", _SCHEDULER, "if self._batches or self._backlog.size or self._finished:", "if self._finished:",
             "a server that stops answers what runs"),
    Mutation("stop-refuses", _SCHEDULER, "problem = (\"dropped\", \"shutdown\") if self._stopping else why_not_run", "problem = why_not_run",
             "a server that stops takes no new jobs"),
    Mutation("batch-owner", "cloud_server/batching.py", "while session.queue and len(found) < most and session.app == segment[0]:",
             "while session.queue and len(found) < most:", "a batch is of one app"),
    Mutation("batch-segment", "cloud_server/batching.py", "if (head.start, head.stop) != segment[1:] or head.alone:", "if head.alone:",
             "a batch is of one segment of stages"),
    Mutation("awaited", "cloud_server/aftermath.py", "return job if job is not None and job.token == token else None", "return job",
             "an answer belongs to the job that was submitted last"),
    Mutation("depth", _SCHEDULER, "while len(self._batches) < self.config.workers * self.config.depth:", "while True:",
             "batches under way are bounded"),
    Mutation("report-once", _SESSIONS, "if seq < self._reports_floor or seq in self._reports:", "if False:", "a REPORT is folded once"),
    Mutation("offset", _SESSIONS, " - max(0.0, late - min(self._fastest[0], self._fastest_before))", " - late",
             "clocks are never compared"),
    Mutation("fence-older", _OWNER, "        if message.generation <= self.generation:\n            return False\n", "",
             "an older STATE is refused"),
    Mutation("fence-jobs", _OWNER, "job is None or job.generation != self.generation or not self.state:", "job is None or not self.state:",
             "jobs of an older generation are void"),
    Mutation("one-at-a-time", _OWNER, "if self.running is not None or job is None or", "if job is None or",
             "stages with state run one frame at a time"),
    Mutation("fold-order", _OWNER, "        self.expect = job.seq + 1\n", "        self.expect = max(self.waiting, default=job.seq + 1)\n",
             "stages with state see frames in seq order"),
    # -- memory and credit
    Mutation("credit-server", _MEMORY, "return max(0, self.received - self.limit)", "return 0", "a job beyond the credit is dropped"),
    Mutation("credit-frees", _MEMORY, "        self.kept += nbytes\n", "        self.kept += max(0, nbytes)\n", "an ended job frees its bytes"),
    Mutation("credit-cap", _MEMORY, "            return min(wanted, free)\n", "            return wanted\n", "all sessions together stay under one cap"),
    Mutation("credit-lost", _MEMORY, "        if sent > self.received:\n            self.received = sent\n", "        if False:\n            pass\n",
             "what the link lost is given back"),
    Mutation("credit-device", _PEER, "return self.state == UP and self.sent + nbytes <= self.limit", "return self.state == UP",
             "the device keeps to its credit"),
    Mutation("credit-shrinks", _PEER, "        if message.limit > self.limit:\n            self.limit = message.limit\n        if message.receipt",
             "        self.limit = message.limit\n        if message.receipt", "an old CREDIT never lowers the limit"),
    # -- the device: the link
    Mutation("epoch-device", _PEER, "return self.state == UP and epoch == self.epoch\n\n    def knows", "return self.state == UP\n\n    def knows",
             "messages of another life of the server are ignored"),
    Mutation("session-device", _PEER, "        if session != self._session:\n            return False\n", "",
             "messages of another session are ignored"),
    Mutation("silence", _PEER, "if self.state == UP and now >= self._heard + self._silence():", "if False:", "a silent server is left"),
    Mutation("hello-retry", _PEER, "if self.state == PROBING and now >= self._hello_at + max(self._backoff, 4 * self.rtt):", "if False:",
             "an unanswered HELLO costs the link"),
    Mutation("hello-required", _PEER, "            self.state = PROBING\n            return [self._say_hello(now, acked)]\n        return [Note",
             "            return []\n        return [Note", "a server that forgot us hears HELLO again"),
    Mutation("reopen", _PEER, "if self.state == DOWN and now >= self._reopen_at:", "if False:", "a link that stays down gets a new socket"),
    Mutation("welcome-twice", _PEER, "return self.state == PROBING  #", "return True  #", "a HELLO said twice counts once"),
    Mutation("garbled", _PEER, "if self._garbled >= _HOPELESS:", "if False:", "a link that is beyond reading is left"),
    Mutation("counters-anew", _PEER, "self.sent, self.limit = 0, message.limit", "self.limit = message.limit", "counters start anew with WELCOME"),
    Mutation("lost-submit", _PEER, "if stamp_us < message.stamp_us]", "if False]", "a PONG shows which SUBMITs were lost"),
    # -- the device: frames
    Mutation("resend-unanswered", _SESSION, "        self.stream.ready = deque(unanswered)\n", "        self.stream.ready = deque()\n",
             "after WELCOME all that is unanswered is sent again"),
    Mutation("late-result", _SESSION, "if frame is None or not frame.awaits(message.start, message.generation):", "if frame is None:",
             "a RESULT for a frame that has its outcome is ignored"),
    Mutation("delivery-order", _DELIVERY, "(frame := self.waiting.pop(self.head, None)) is not None:",
             "(frame := self.waiting.pop(next(iter(self.waiting)), None)) is not None:", "outcomes leave in seq order"),
    Mutation("age-bound", _STREAM, "            if left > 0 or (left == 0 and not due):\n                return\n", "            return\n",
             "live frames are given up at their age bound"),
    Mutation("newest", _STREAM, "while len(self.waiting) > self.config.depth:", "while False:", "of frames that wait only the newest stay"),
    Mutation("once-twin", _FALLBACK, "return frame.out and self._once(frame) >= 0", "return False", "a stage marked once gets no twin"),
    Mutation("fallback", _FALLBACK, "                if stream.running < 2 * self._config.workers:\n                    stream.run_twin(frame, now)\n",
             "                pass\n", "without a server the device finishes its frames itself"),
    Mutation("oversize", _DISPATCH, "if frame.payload > peer.max_job:", "if False:", "what the server would not take is not sent"),
    Mutation("report-lost", _REPORTS, "if sent < time and seq not in self._unsent]", "if False]", "a REPORT that was lost is sent again"),
    Mutation("report-anew", _REPORTS, "        self._unsent = dict.fromkeys(self._pending)\n", "", "REPORTs are offered again on a new link"),
    Mutation("memory-permit", _STREAM, "        if self._kept >= config.memory:\n            wanted = 0\n        elif self.live:", "        if self.live:",
             "values kept are bounded"),
    # -- bytes
    Mutation("crc-part0", _PROTOCOL, "if zlib.crc32(first[_PREFIX.size :], zlib.crc32(first[:_BEFORE_CRC])) != crc:", "if False:",
             "a damaged part 0 is no message"),
    Mutation("crc-buffers", _CHECKSUM, "    if found == message.crc:\n", "    if True:\n", "damaged buffers are found"),
    Mutation("damaged-submit", _DAMAGE, "        frame.state = READY\n        self._stream.ready.append(frame)\n", "",
             "what was damaged is sent again"),
    Mutation("size-check", _PROTOCOL, "    if size > max_job + MAX_HEADER + _PREFIX.size:\n", "    if False:\n", "a message beyond the limit is refused"),
    Mutation("fingerprint", _HANDSHAKE, "if hello.fingerprint != app.fingerprint:", "if False:", "another app is refused at HELLO"),
)  # fmt: skip
