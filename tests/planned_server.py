"""A server process whose plan changes with every twenty jobs: `python -m tests.planned_server PORT`."""

from __future__ import annotations

import sys

from cloud_server.coordinator import Server
from cloud_server.events import Command, Event, SendMessage
from cloud_server.executors import ProcessExecutor
from cloud_server.scheduler import Scheduler
from tests.variant_apps import tagged
from wire.protocol import Plan

_JOBS = 20


class Fickle(Scheduler):
    """Plans one variant after the other, for all devices alike."""

    def handle(self, event: Event, now: float) -> list[Command]:
        """As Scheduler.handle; then tells who has another variant than is planned now."""
        commands = super().handle(event, now)
        planned = list(tagged.variants)[self.executed // _JOBS % len(tagged.variants)]
        for session in self.sessions.values():
            if session.planned != planned and session.peer is not None:
                session.planned = planned
                commands.append(SendMessage(session.peer, Plan(planned, 1e9), session.number))
        return commands


def main(port: int) -> None:
    """Serve until killed."""
    server = Server({tagged.name: tagged}, ProcessExecutor({tagged.name: "tests.variant_apps:tagged"}, 2), port=port)
    server.scheduler = Fickle(server.scheduler.config)
    server.bind()
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
