"""A scheduler whose plan changes by the clock: for runs that show what a change of variant may break, whoever plans it."""

from __future__ import annotations

from cloud_server.events import Command, Event, MessageReceived, SendMessage
from cloud_server.handshake import SchedulerConfig
from cloud_server.scheduler import Scheduler
from wire.protocol import Plan

__all__ = ["Replanning"]

_ANY = 1e9


class Replanning(Scheduler):
    """Plans one variant after the other, each for `every` seconds, for all devices alike; it looks when a message comes."""

    def __init__(self, config: SchedulerConfig, variants: tuple[str, ...], every: float) -> None:
        super().__init__(config)
        self._variants, self._every = variants, every

    def handle(self, event: Event, now: float) -> list[Command]:
        """As Scheduler.handle; then tells whoever has another variant than is planned now."""
        commands = super().handle(event, now)
        if type(event) is MessageReceived:
            planned = self._variants[int(now / self._every) % len(self._variants)]
            for session in self.sessions.values():
                if session.planned != planned and session.peer is not None:
                    session.planned = planned
                    commands.append(SendMessage(session.peer, Plan(planned, _ANY), session.number))
        return commands
