"""What `iot-client --list` prints: the app's stages, where they may run, and where the app may be split."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from iot_client.media.display import render
from tasks import App, Speculative, Task
from tasks.alternative import Alternative
from tasks.crossing import Crossing, Loss

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["listing", "stages_table"]


_FLOATS = {0: "", 16: "fp16", 8: "int8"}


def listing(app: App, stream: TextIO) -> str:
    """The table, made for `stream`, and a line of legal stage counts."""
    legal = ", ".join(map(str, app.legal_cuts(app.missing()))) or "none"
    return render(
        stream,
        stages_table(app),
        f"Legal stage counts on this device: {legal}. With {app.n} everything runs here and no server is needed.",
        *(_variants(app) if app.race is None else _race(app, app.race)),
        "A server that lacks a package allows fewer, and says so when asked.",
    )


def stages_table(app: App) -> Table:
    """One row per stage: its count, name, placement, what it needs, whether the app may be split behind it, and what is sent then.

    Behind what is sent stands, in brackets, what may be lost of it: `frame (jpeg:50)`.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=f"{app.name} (version {app.version}, fingerprint {app.fingerprint()})", title_justify="left", box=box.SIMPLE)
    for column in ("STAGES", "stage", "runs on", "needs", "split behind it", "sends (may lose)"):
        table.add_column(column, justify="right" if column == "STAGES" else "left", overflow="fold")
    missing = app.missing()
    for index, stage in enumerate(app.chain):
        reason = app.why_not(index + 1, frozenset(missing))
        needs = _needs(stage, missing.get(index, ()))
        sends = "-" if reason else _sends(app, index + 1)
        table.add_row(str(index + 1), stage.stage_name, _where(app, index), needs, reason or "legal", sends)
    if app.aggregate is not None:
        needs = ", ".join(app.aggregate.requires) or "-"
        table.add_row("-", app.aggregate.stage_name, "one place for all devices", needs, "(aggregate)", "-")
    return table


def _variants(app: App) -> list[str]:
    named = ", ".join(f"{variant.name} (accuracy {variant.accuracy:g})" for variant in app.variants.values())
    return [f"Variants: {named}. Without a plan of a server the first is used, or that of --variant."] if named else []


_PREFERS = {
    "accuracy": "the best answer in that order wins",
    "cloud": "the first cloud that answers wins",
    "first": "the first answer wins",
}
_MISSES = {
    "late": "the local answer is waited for, or where there is none a cloud's",
    "drop": "the frame is dropped",
    "extrapolate": "the last answer is extrapolated",
}


def _race(app: App, race: Speculative) -> list[str]:
    """Who races and by which rule, in words."""
    clouds = ", ".join(f"{each.name}: {_tasks(each)}" for each in race.clouds)
    local = "no local one" if race.local is None else f"then local: {_tasks(race.local)}{_lacking(app.lacking(race.local.name))}"
    return [
        f"Race at {race.stage_name!r}: {clouds}, {local}.",
        f"Within {race.deadline * 1e3:g} ms of capture {_PREFERS[race.prefer]}; without one {_MISSES[race.on_miss]}.",
    ]


def _tasks(alternative: Alternative) -> str:
    return " -> ".join(task.stage_name for task in alternative.tasks)


def _lacking(packages: tuple[str, ...]) -> str:
    return f" (not here: {', '.join(packages)} is missing)" if packages else ""


def _where(app: App, index: int) -> str:
    stage, behind = app.chain[index], app.speculation is not None and index > app.speculation.stage
    if isinstance(stage, Speculative):
        return "cloud" if stage.local is None else "device and cloud, raced"
    where = "device" if behind else "device or cloud" if stage.placement == "any" else stage.placement
    return where + ", keeps state" * stage.stateful + ", varies" * stage.varies


def _needs(stage: Task, missing: tuple[str, ...]) -> str:
    needed = stage.needs("device")
    words = [f"{name} (missing here)" if name in missing else name for name in needed]
    return ", ".join(words + [f"{name} (server)" for name in stage.needs("cloud") if name not in needed]) or "-"


def _sends(app: App, k: int) -> str:
    """What a frame cut at k sends."""
    crossing = app.crossing(k, app.cut(k, app.missing()).stop)
    if crossing.sends is not None:
        return ", ".join(f"{field}{_bracketed(crossing, field)}" for field in sorted(crossing.sends)) or "nothing"
    losses = [f"{field} {_loss(loss)}".strip() for field, loss in sorted(crossing.lossy.items())]
    return f"the whole value ({', '.join(losses)})" if losses else "the whole value"


def _bracketed(crossing: Crossing, field: str) -> str:
    loss = crossing.lossy.get(field, crossing.lossy.get(""))
    return f" ({_loss(loss)})" if loss else ""


def _loss(loss: Loss) -> str:
    words = f"jpeg:{loss.quality}" if loss.quality else "", f"width:{loss.width}" if loss.width else "", _FLOATS[loss.bits]
    return " ".join(filter(None, words))
