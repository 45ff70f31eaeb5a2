"""From the trace of a simulated run to the rows of a Run."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.lab import Lab
from experiments.links import LinkTrace, LoadTrace
from experiments.reporting.runs import DecisionRow, FrameRow, Run, SampleRow, decision_row, ended
from experiments.setting import Setting
from experiments.simulation.record import Broken, Record, Stood, Trace
from iot_client.events import Decided, Deliver, Note

__all__ = ["facts_of", "run_of"]


def run_of(lab: Lab, setting: Setting, policy: str, seed: int, trace: Trace) -> Run:
    """The rows of all devices. What the simulation itself found broken is among the notes."""
    frames, samples, decisions, notes = [], [], [], []
    load = lab.device.load.trace() if lab.device.load else None
    link = trace.scenario.link
    for number, plan in enumerate(trace.scenario.devices):
        records = trace.of(f"device{number}")
        frames += list(_frames(number, records, plan.clock))
        samples += list(_samples(number, records, link, load))
        decisions += list(_decisions(number, records))
        notes += [f"device {number}: {each.what.text}" for each in records if type(each.what) in (Note, Broken)]
    notes += [f"{each.host}: {each.what.text}" for each in trace.records if type(each.what) is Broken and each.host in ("world", "server")]
    return Run(
        lab=lab.name, body="simulate", policy=policy, seed=seed, seconds=lab.seconds, frames=tuple(frames), samples=tuple(samples),
        decisions=tuple(decisions), facts=facts_of(lab, setting, seed), notes=tuple(notes),
    )


def facts_of(lab: Lab, setting: Setting, seed: int) -> dict[str, float]:
    """Figures of the whole run. `link_step_N` and `load_step_N` are the seconds at which link and load change."""
    facts = {"local_fps": setting.local_fps, "cpu_given": setting.given}
    points = lab.link.trace(lab.seconds, seed).points
    facts |= {"up_mbit": points[0].up_mbit, "down_mbit": points[0].down_mbit, "rtt_ms": 2 * points[0].delay_ms}
    facts |= {f"link_step_{index}": point.at for index, point in enumerate(points) if index}
    if lab.device.load is not None:
        facts |= {f"load_step_{index}": point.at for index, point in enumerate(lab.device.load.trace().points) if index}
    return facts


def _frames(number: int, records: list[Record], clock: float) -> Iterator[FrameRow]:
    """Every frame that was captured while frames could be: each has its Deliver."""
    for record in records:
        what = record.what
        if type(what) is Deliver:
            yield FrameRow(number, what.seq, what.captured_at - clock, *ended(what))


def _samples(number: int, records: list[Record], link: LinkTrace | None, load: LoadTrace | None) -> Iterator[SampleRow]:
    """Rates between neighbouring looks at the device."""
    stood = [(record.at, record.what) for record in records if type(record.what) is Stood]
    for (before, then), (at, now) in zip(stood, stood[1:]):
        seconds = max(at - before, 1e-9)
        point = link.at(at) if link is not None else None
        yield SampleRow(
            number, at, now.k, now.codec, (now.cpu_s - then.cpu_s) / seconds, (now.up - then.up) / seconds,
            (now.down - then.down) / seconds, 0.0 if point is None or point.cut else point.up_mbit * 125e3,
            load.at(at) if load else 0.0, now.rate, now.p50, now.p95, now.server_s, now.estimate,
        )  # fmt: skip


def _decisions(number: int, records: list[Record]) -> Iterator[DecisionRow]:
    for record in records:
        what = record.what
        if type(what) is Decided:
            yield decision_row(number, record.at, what)
