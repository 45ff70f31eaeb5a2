"""What a client asks of a race, checked against its app and its servers, as the machine needs it."""

from __future__ import annotations

from iot_client.racing.config import HEDGES, RaceConfig
from tasks import App, Speculation

__all__ = ["check_race", "deadline_of", "local_variant", "race_of"]


def check_race(
    app: App, *, hosts: int, deadline: float | None, hedge: str, mode: str, goal: bool, spooled: bool, variant: str | None
) -> None:
    """Say what does not go together.

    Raises:
        ValueError: naming the argument, and what to do.
    """
    if hedge not in HEDGES:
        raise ValueError(f"hedge={hedge!r}; legal: one of {', '.join(HEDGES)}")
    declared = app.speculation is not None
    if declared and variant is not None:
        raise ValueError(f"variant={variant!r}: the variants of app {app.name!r} are the entrants of its race; leave variant out")
    if not hosts:
        return
    if not declared and deadline is None and hosts > 1:
        raise ValueError(
            f"host: {hosts} servers, and nothing to race for: give deadline, or an app with a Speculative stage (docs/speculation.md)"
        )
    if not declared and deadline is None and hedge != "risk":
        raise ValueError(f"hedge={hedge!r} is for races: give deadline, or an app with a Speculative stage (docs/speculation.md)")
    if not (declared or hosts > 1 or hedge != "risk"):
        return
    which = f"app {app.name!r} races its answers" if declared else "answers race here"
    for given, name, why in (
        (goal, "goal", "where a frame is cut is fixed then; leave the goal out"),
        (spooled, "spool", "its frames wait for no later run; leave the spool out"),
    ):
        if given:
            raise ValueError(f"{name}: {which}, and {why}")


def race_of(app: App, *, hosts: int, split: int, deadline: float | None, hedge: str, mode: str) -> RaceConfig | None:
    """The race of this client's frames; None where there is none, or a plain one of one server and the device itself.

    Args:
        hosts: how many servers there are. split: stages on the device; all of them leave nothing to race.
    """
    spec = app.speculation
    if not hosts or split == app.n:
        return None
    alone = not app.why_not(app.n, frozenset(app.missing()))
    if spec is not None:
        clouds = (*spec.clouds, *spec.clouds[-1:] * (hosts - len(spec.clouds)))
        return RaceConfig(
            clouds=clouds, local=spec.local if alone else None, deadline=deadline_of(app, deadline) or spec.deadline,
            prefer=spec.prefer, on_miss=spec.on_miss, hedge=hedge, sends_when=spec.sends_when, merges=spec.merges and alone,
            extrapolates=spec.extrapolates, tells_late=spec.tells_late,
        )
    if deadline is None or (hosts == 1 and hedge == "risk"):
        return None
    return RaceConfig(
        clouds=("",) * hosts, local="" if alone else None, deadline=deadline, prefer="first",
        on_miss="drop" if mode == "live" else "late", hedge=hedge,
    )


def deadline_of(app: App, given: float | None) -> float | None:
    """Seconds from capture to answer: what is asked for, else what the app's race declares."""
    return given if given is not None or app.speculation is None else app.speculation.deadline


def local_variant(spec: Speculation | None) -> str:
    """What stages that vary run with on a device whose app declares a race; "" without one."""
    return "" if spec is None or spec.local is None else spec.local
