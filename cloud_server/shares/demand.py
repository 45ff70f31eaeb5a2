"""Which alternatives of races the sessions here ask for, so that workers have them before the first job comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cloud_server.events import Preload
from cloud_server.offer import AppInfo
from cloud_server.sessions import Session

__all__ = ["Demand"]


class Demand:
    """What workers were told to load, by app; a HELLO says what its session will ask for.

    Args:
        workers: how many the server has; shipped: how many an app has that a device brought. Each is told the same.
    """

    def __init__(self, workers: int, shipped: int = 0) -> None:
        self._workers, self._shipped = workers, shipped
        self._told: dict[str, tuple[str, ...]] = {}

    def heard(self, session: Session, app: AppInfo, sessions: Mapping[int, Session]) -> list[Preload]:
        """A session began, or said HELLO again: what workers are to load now, what most sessions ask for first."""
        if app.race < 0:
            return []
        self._told = {each.app: self._told[each.app] for each in sessions.values() if each.app in self._told}
        wanted = self._wanted(app, [each.hello.variant for each in sessions.values() if each.app == session.app])
        if wanted == self._told.get(session.app, ()):
            return []
        self._told[session.app] = wanted
        return [Preload(worker, session.app, wanted) for worker in range(self._shipped if session.pool else self._workers)]

    @staticmethod
    def _wanted(app: AppInfo, asked: Iterable[str]) -> tuple[str, ...]:
        counts = Counter(name for name in asked if name and not app.why_unfit(name))
        return tuple(name for name, _ in counts.most_common())
