"""The promises by number, as docs/promises.md lists them."""

from __future__ import annotations

__all__ = ["ROWS"]

ROWS: dict[int, str] = {
    1: "lossless: each result delivered exactly once, in order",
    2: "recovery after a server's death is a matter of a second",
    3: "local fallback: the device goes on without its server",
    4: "live: freshest first, age bounded",
    5: "lossless: backpressure, never unbounded memory",
    6: "memory is bounded for all",
    7: "a split change loses, reorders and stalls nothing",
    8: "a split change under faults neither",
    9: "a device's death frees what the server kept for it",
    10: "a reconnect resumes the session",
    11: "a slow client does not hurt others",
    12: "a poisonous task is contained",
    13: "deadlines are honoured, a race has one winner",
    14: "batching is invisible",
    15: "a mismatch is refused at HELLO, in words",
    16: "a corrupted frame never reaches a task",
    17: "oversize is refused at both ends",
    18: "an unauthorised client meets a closed socket",
    19: "a replay is refused",
    20: "no code is executed from data",
    21: "code is shipped only if enabled, signed, in a worker",
    22: "hostile bytes do no harm",
    23: "clocks may be wrong",
    24: "a clean stop",
    25: "a bad link works",
    26: "a link that comes and goes works",
    27: "offloading is never worse than staying local",
    28: "simulated faults: no seed breaks a promise",
    29: "a broken protocol turns the tests red",
}
