"""Ways to break what keeps a server for all: who is let in, who goes first, who may have how much; as race_mutations.py has its own."""

from __future__ import annotations

__all__ = ["GUARDS"]

_CEILINGS = "cloud_server/planning/ceilings.py"
_DOOR = "wire/door.py"
_DOUBT = "iot_client/servers/doubt.py"
_KNOCKS = "wire/knocks.py"
_MEMORY = "cloud_server/shares/memory.py"
_PRECEDENCE = "cloud_server/executors/precedence.py"

GUARDS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "knock-parts", _KNOCKS, "who is turned away is counted as if he had come to the door",
        " / self.turned.of(address) / spent",
        " / spent",
    ),
    (
        "knock-listed", _KNOCKS, "a program of the kernel has room for the addresses that are listed",
        "[:_LISTED]",
        "",
    ),
    (
        "door-syn", _DOOR, "a connection that stands loses no packet",
        "(_EQUAL, 0, rest - 2, _SYN)",
        "(_EQUAL, 0, 0, _SYN)",
    ),
    (
        "step-again", _PRECEDENCE, "who serves comes forward as soon as the kernel lets him",
        "and self._step(process.pid, 0):",
        "and (self._step(process.pid, 0) or True):",
    ),
    (
        "overdue-floor", _PRECEDENCE, "a batch of moments is not overdue at once",
        "max(_OVERDUE_S, _OVERDUE_TIMES * longest)",
        "_OVERDUE_TIMES * longest",
    ),
    (
        "doubt-level", _DOUBT, "a long calm does not make a link certain",
        "min(most, max(least, self._level * (1.0 + _STEP * (LATE - late))))",
        "max(least, self._level * (1.0 + _STEP * (LATE - late)))",
    ),
    (
        "ceiling-steps", _CEILINGS, "each step up is paid for",
        "_worth(clients[session], ladder[place], ladder[place + 1])",
        "_worth(clients[session], held[session], ladder[0])",
    ),
    (
        "window-line", _MEMORY, "who waits for memory has no wider window for asking again",
        "if sent + self.need > self._grown and self.number not in memory.waiting:",
        "if sent + self.need > self._grown:",
    ),
    (
        "window-share", _MEMORY, "a window grows from what it has, not from what it may not have",
        "2 * max(min(self.window, self.share), self.need)",
        "2 * max(self.window, self.need)",
    ),
)
