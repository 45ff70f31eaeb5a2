"""Which variant frames that begin now are made with: what the server planned, what the user fixed, or the app's first.

    PLAN, RESULT -> wanted -> LoadVariant -> VariantReady -> now

A variant is loaded before the first frame begins with it, so that no frame waits for a model; until then frames go on
with the one before. What has begun keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.events import Command, LoadVariant, Note, VariantReady
from wire.protocol import Plan, Welcome

__all__ = ["Variants"]

_MINOR = 3
"""The protocol minor that brought variants."""
_ANY = 1e9
"""The allowance that is no bound."""


class Variants:
    """Of one session; `now` is "" where its app has none.

    Args:
        names: the app's variants; the first is for when nobody plans.
        fixed: the one the user chose, which nothing changes; "" for none.
    """

    def __init__(self, names: Sequence[str], fixed: str) -> None:
        self.now = fixed or (names[0] if names else "")
        self._names = tuple(names)
        self._fixed = fixed
        self._planned = ""
        self._wanted = self.now
        self._old = False
        self.allowance = float("inf")
        """Server seconds per second this device may use."""

    def welcome(self, message: Welcome) -> list[Command]:
        """A session stands: a new one has no plan yet, and a server of before variants runs with the first."""
        self._old = message.minor < _MINOR
        if not message.resumed:
            self._planned, self.allowance = "", float("inf")
        if self._old and self._fixed and self._fixed != self._names[0]:
            text = f"the server speaks 1.{message.minor}, which knows no variants: frames are made with {self._names[0]!r}"
            return [Note("warning", f"{text}, not with {self._fixed!r}")]
        return []

    def plan(self, message: Plan) -> None:
        """The server planned anew."""
        self._planned = message.variant
        self.allowance = float("inf") if message.allowance >= _ANY else message.allowance

    def answered(self, planned: str) -> None:
        """A RESULT says what is planned as it leaves."""
        self._planned = planned

    def follow(self, up: bool) -> list[Command]:
        """What is to be loaded now; `up` says whether there is a server."""
        wanted = self._choice(up)
        if wanted == self._wanted:
            return []
        self._wanted = wanted
        return [] if wanted == self.now else [LoadVariant(wanted)]

    def ready(self, event: VariantReady) -> list[Command]:
        """It was loaded, and frames begin with it if it is still wanted; or it cannot be, and they go on as before."""
        if event.error:
            return [Note("warning", f"variant {event.variant!r} cannot be used here: {event.error}; going on with {self.now!r}")]
        if event.variant == self._wanted:
            self.now = event.variant
        return []

    def _choice(self, up: bool) -> str:
        if not self._names:
            return ""
        if up and self._old:
            return self._names[0]
        if self._fixed:
            return self._fixed
        return self._planned if up and self._planned in self._names else self._names[0]
