"""What an experiment asks for, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from experiments.lab import DeviceSpec, GoalSpec, Lab, ServerSpec
from experiments.links import LinkSpec, LoadSpec

__all__ = ["description"]


def description(lab: Lab) -> dict[str, str]:
    """Name -> words, in the order in which a report lists them."""
    size = f", {lab.size[0]} x {lab.size[1]}" if lab.size else ""
    start = f", from k = {lab.start}" if lab.start else ""
    return {
        "app": lab.app + start,
        "clip": lab.clip + size,
        "source": f"{lab.rate:g} frames per second" if lab.rate else "read as fast as the pipeline takes",
        "mode": lab.mode,
        "goal": _goal(lab.goal),
        "deadline": "none" if lab.deadline == inf else f"{lab.deadline * 1e3:g} ms",
        "device": _device(lab.device, lab.goal),
        "server": _server(lab.server),
        "link": _link(lab.link),
        "time": f"{lab.seconds:g} s, of which the first {lab.warmup:g} s are left out of the figures",
        "start": "with what a first run has learned" if lab.warm else "knowing nothing",
    }


def _goal(goal: GoalSpec) -> str:
    said = (
        (goal.fps, "at least {:g} fps"), (goal.slo_ms, "95 of 100 frames within {:g} ms"), (goal.max_cpu, "at most {:g} % of the CPU"),
        (goal.max_mbit, "at most {:g} Mbit/s"), (goal.min_quality, "JPEG quality {:g} or better"),
    )  # fmt: skip
    return ", ".join(text.format(value) for value, text in said if value is not None) or "none"


def _cores(cpu: float) -> str:
    return f"{cpu:g} cores" if cpu else "all of this machine"


def _device(device: DeviceSpec, goal: GoalSpec) -> str:
    cpu = _cores(device.cpu)
    if device.cpu_for and goal.fps:
        cpu = f"so weak that all stages there reach {device.cpu_for * goal.fps:.3g} fps"
    count = "" if device.count == 1 else f"{device.count} of them, each "
    return f"{count}{cpu}, {_workers(device.workers)}" + (f"; load of others: {_load(device.load)}" if device.load else "")


def _server(server: ServerSpec) -> str:
    return f"{_cores(server.cpu)}, {_workers(server.workers)}"


def _workers(count: int) -> str:
    return f"{count} worker" + ("s" if count > 1 else "")


def _load(load: LoadSpec) -> str:
    return ", ".join(f"{busy:g} cores from {at:g} s" for at, busy in load.steps) or "none"


def _link(link: LinkSpec) -> str:
    high, low = (f"{rate:g}" if rate is not None else "" for rate in (link.up_mbit, link.low_mbit))
    rates = {
        "constant": f"{high} Mbit/s up", "step": f"{high} and {low} Mbit/s up in turn, {link.period_s:g} s each",
        "ramp": f"from {high} down to {low} Mbit/s up within {link.period_s:g} s",
        "sawtooth": f"from {high} down to {low} Mbit/s up in every {link.period_s:g} s, then back at once",
        "lte": "LTE-like, 2.9 to 26 Mbit/s up, another rate each second", "wifi": "WiFi-like, 13 to 91 Mbit/s up, another rate each second",
        "synthetic": "a staircase from 20 down to 7.5 Mbit/s up and back, 20 s each",
        "file": f"replays {link.path}, {link.seconds_per_line:g} s per line from line {link.offset_lines}",
    }  # fmt: skip
    down = f", {link.down_mbit:g} Mbit/s down" if link.down_mbit is not None else ""
    more: Sequence[tuple[float, str]] = ((link.jitter_ms, "jitter {:g} ms"), (link.loss * 100, "{:g} % of packets lost"))
    parts = [f"{rates[link.kind]}{down}", f"{link.delay_ms:g} ms one way", *(text.format(value) for value, text in more if value)]
    parts += [f"cut at {start:g} s for {seconds:g} s" for start, seconds in link.cuts]
    return ", ".join(parts)
