"""Apps with a race, for tests."""

from __future__ import annotations

from typing import Any

from tasks import App, Input, Speculative, StatefulTask, Task
from tasks.speculative import Chain


class Named(Task):
    """Says who it is; records its setup and its end."""

    def __init__(self, name: str, log: list[str] | None = None, **options: Any) -> None:
        self.name, self.log = name, [] if log is None else log
        vars(self).update(options)

    def setup(self) -> None:
        self.log.append(f"setup {self.name}")

    def run(self, item: Any) -> Any:
        return f"{item} {self.name}"

    def close(self) -> None:
        self.log.append(f"close {self.name}")


class Count(StatefulTask):
    """Counts the values it saw."""

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return (value, state + 1), state + 1


def raced(*behind: Task, local: Chain | None = None, cloud: Chain | tuple[Chain, ...] | None = None, **options: Any) -> App:
    """Input, a stage before, the race of a small and two large, and what follows."""
    local = Named("small") if local is None else local
    cloud = (Named("large"), [Named("crop"), Named("huge")]) if cloud is None else cloud
    return App("raced", [Input(), Named("resize"), Speculative(local, cloud, **options), *behind])
