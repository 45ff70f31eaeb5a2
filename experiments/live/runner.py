"""One live run: a network, a server and devices that really exist, from their start to the rows they leave.

    run = run_live(load("my_lab.toml"), "auto", seed=0, note=print)

The clock starts when the link's trace does, with everybody connected. All that was made is removed at the end, also
after an exception, Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import msgspec
import psutil

from experiments.lab import Lab, check_run
from experiments.links import LinkPoint, LinkTrace
from experiments.live.calibrate import Calibration, calibrate
from experiments.live.cgroup import CpuQuota
from experiments.live.child import Child, in_namespace
from experiments.live.clips import Clip, frames_of
from experiments.live.collect import LinkLog, frame_rows, sample_rows, shifted
from experiments.live.load import Load
from experiments.live.network import LabError, Network, unavailable
from experiments.live.recording import Plan, Recording
from experiments.live.scores import judge_of
from experiments.live.start import LOADING, finish, finished, loaded, python, ready
from experiments.live.weak import cores_for
from experiments.reporting.runs import Run

__all__ = ["Calibrated", "run_live"]

Calibrated = dict[LinkPoint, Calibration]
"""Links that have been calibrated, by the point at which their traces begin."""
PEERS = ("reqrep", "pubsub")
PORT = 5757
MARGIN = 30.0
"""Seconds that a trace is longer than its run: frames in flight at the end still need a link."""
TRIES = 3
"""Calibrations before a run is refused; a busy moment of the machine is not the link's fault."""


class _Setting(msgspec.Struct, frozen=True):
    """What is the same for all attempts at a run."""

    lab: Lab
    policy: str
    seed: int
    clip: Clip
    cores: float
    note: Callable[[str], None]
    calibrated: Calibrated

    @property
    def family(self) -> str:
        return self.policy.partition(":")[0]


class _Outcome(msgspec.Struct):
    """What is known when the processes have ended."""

    began: float
    recordings: list[Recording]
    facts: dict[str, float]
    link: LinkLog
    trace: LinkTrace


def run_live(
    lab: Lab, policy: str, seed: int, note: Callable[[str], None] = lambda text: None, *, calibrated: Calibrated | None = None
) -> Run:
    """Runs one policy of a lab with one seed.

    Args:
        note: told what is being done, in a line.
        calibrated: kept by the caller between runs, so that a link is calibrated once.

    Raises:
        ValueError: the policy is none, or none that can be run live.
        LabError: the host lacks something, the link is not what was asked, or a process failed; the text says which.
    """
    check_run(lab, policy)
    if lacking := unavailable():
        raise LabError(lacking)
    with _heeding_sigterm():
        clip = frames_of(lab.clip, lab.size)
        facts: dict[str, float] = {}
        cores = lab.device.cpu
        if lab.device.cpu_for:
            weak = cores_for(lab, clip, note)
            cores, facts["local_fps"] = weak.cores, weak.fps
        facts["cpu_given"] = cores or float(os.cpu_count() or 1)
        setting = _Setting(lab, policy, seed, clip, cores, note, {} if calibrated is None else calibrated)
        outcome = _warmed(setting) if lab.warm and policy == "auto" else _attempt(setting)
        return _run(setting, outcome, facts)


def _warmed(setting: _Setting) -> _Outcome:
    """A run that begins with what another has learned."""
    with tempfile.TemporaryDirectory(prefix="spw-") as profiles:
        setting.note("a first run, to learn from")
        _attempt(setting, profiles)
        return _attempt(setting, profiles)


def _attempt(setting: _Setting, profiles: str = "") -> _Outcome:
    lab = setting.lab
    trace = lab.link.trace(lab.seconds + MARGIN, setting.seed)
    found = _calibration(setting, trace.points[0])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spw-")))
        congestion = lab.congestion or None
        network = stack.enter_context(Network(trace, name="live", log=folder / "link.csv", seed=setting.seed, congestion=congestion))
        plans = [_plan(setting, network, folder, index, profiles) for index in range(lab.device.count)]
        server = _server(setting, network, folder, plans[0], stack)
        quotas = [stack.enter_context(CpuQuota(setting.cores)) if setting.cores else None for _ in plans]
        devices = [stack.enter_context(_device(setting, network, folder, plan)) for plan in plans]
        loads = [stack.enter_context(Load(lab.device.load.trace(), quota=quota)) for quota in quotas if lab.device.load]
        for device, quota in zip(devices, quotas):
            loaded(device, quota)
        for device in devices:
            ready(device)
        before = _spent(server, quotas)
        began = _play(setting, network, devices, loads)
        for device, plan in zip(devices, plans):
            finished(device, plan)
        facts = _facts(found, before, _spent(server, quotas))
        recordings = [finish(*each) for each in zip(devices, quotas, plans)]
        return _Outcome(began, recordings, facts, LinkLog(network.log), trace)


def _play(setting: _Setting, network: Network, devices: list[Child], loads: list[Load]) -> float:
    """The link's trace, the neighbours and the sources start; the time at which they did."""
    setting.note(f"{setting.policy}: {setting.lab.seconds:g} s from now on, devices: {len(devices)}")
    began = network.play()
    for device in devices:
        device.tell(f"play {began!r}")
    for load in loads:
        load.play()
    return began


def _device(setting: _Setting, network: Network, folder: Path, plan: Plan) -> Child:
    if setting.family in PEERS:
        argv = python("experiments.live.peers", folder, f"device{plan.device}", plan, "device")
    else:
        argv = python("experiments.live.device", folder, f"device{plan.device}", plan)
    errors = folder / f"device{plan.device}.err"
    return Child(in_namespace(network.device_ns, argv), errors=errors, what=f"device {plan.device}")


def _plan(setting: _Setting, network: Network, folder: Path, index: int, profiles: str) -> Plan:
    lab = setting.lab
    # A live source that nothing paces would give as many frames as memory can; a clip has a rate of its own.
    rate = lab.rate or (setting.clip.fps if lab.mode == "live" else 0.0)
    return Plan(
        app=lab.app, policy=setting.policy, clip=setting.clip.path, shape=setting.clip.shape, mode=lab.mode, seconds=lab.seconds,
        out=str(folder / f"device{index}.msgpack"), rate=rate, start=lab.start, goal=lab.goal, workers=lab.device.workers,
        offset=index * setting.clip.shape[0] // lab.device.count,  # no two cameras film the same
        device=index, devices=lab.device.count, host=network.server_ip, port=PORT, peer=network.device_ip, profiles=profiles,
        variant=lab.variant,
    )  # fmt: skip


def _server(setting: _Setting, network: Network, folder: Path, plan: Plan, stack: ExitStack) -> Child | None:
    """The other end, ready; None for a policy without one."""
    lab = setting.lab
    if setting.family == "local":
        return None
    if setting.family in PEERS:
        argv = python("experiments.live.peers", folder, "hub", plan, "serve")
    else:
        argv = [
            sys.executable, "-m", "cloud_server", "--app", lab.app, "--host", network.server_ip,
            "--port", str(PORT), "--workers", str(lab.server.workers), "--insecure", "--quiet", "--executor", "thread",
        ]  # fmt: skip
    server = stack.enter_context(Child(in_namespace(network.server_ns, argv), errors=folder / "server.err", what="server"))
    server.expect("ready", LOADING)
    if lab.server.cpu:  # threads, so that it holds for the stages as well; a weak server loads as fast as any: that is no part of the run
        stack.enter_context(CpuQuota(lab.server.cpu)).add(server.pid)
    return server


def _calibration(setting: _Setting, point: LinkPoint) -> Calibration:
    """How the link is where the trace begins, measured without its loss and cuts; raises LabError if it is not as asked."""
    known = setting.calibrated.get(point)
    if known is not None or setting.family == "local":
        return known or Calibration(rtt_ms=0, up_mbit=0, down_mbit=0, ok=True, text="not needed")
    clean = msgspec.structs.replace(point, at=0.0, loss=0.0, cut=False)
    for _ in range(TRIES):
        with Network(LinkTrace((clean,), 3600.0), name="cal", congestion=setting.lab.congestion or None) as network:
            found = calibrate(network)
        setting.note(found.text)
        if found.ok:
            setting.calibrated[point] = found
            return found
    raise LabError(found.text)


def _spent(server: Child | None, quotas: list[CpuQuota | None]) -> dict[str, float]:
    """CPU seconds of the server, and seconds that devices were throttled, so far."""
    spent = {"throttled_s": sum(quota.throttled() for quota in quotas if quota is not None)}
    if server is not None:
        times = psutil.Process(server.pid).cpu_times()
        spent["server_cpu_s"] = times.user + times.system
    return spent


def _facts(found: Calibration, before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    facts = {name: after[name] - before[name] for name in after}
    if found.rtt_ms:
        facts |= {"rtt_ms": found.rtt_ms, "up_mbit": found.up_mbit, "down_mbit": found.down_mbit}
    return facts


def _run(setting: _Setting, outcome: _Outcome, facts: dict[str, float]) -> Run:
    """The rows, with the answers scored."""
    lab, began = setting.lab, outcome.began
    judge = judge_of(lab.app, setting.clip)
    load = lab.device.load.trace() if lab.device.load else None
    link = outcome.link if lab.device.count == 1 else None
    frames, samples, decisions, notes = [], [], [], []
    for device, recording in enumerate(outcome.recordings):
        frames += frame_rows(device, recording, began, judge)
        samples += sample_rows(device, recording, began, trace=outcome.trace, load=load, link=link)
        decisions += shifted(recording.decisions, began)
        notes += [f"device {device}: {text}" for text in recording.notes]
    facts |= outcome.facts
    facts["device_cpu_s"] = sum(recording.cpu_s for recording in outcome.recordings)
    stages = next((recording.stages for recording in outcome.recordings if recording.stages), ())
    facts |= {f"stage{index}_cpu_s": seconds for index, seconds in enumerate(stages)}
    facts["skipped"] = float(sum(recording.skipped for recording in outcome.recordings))
    return Run(
        lab.name, "live", setting.policy, setting.seed, lab.seconds, tuple(frames), tuple(samples), tuple(decisions), facts, tuple(notes)
    )


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """SIGTERM ends the block like an exit, so that what was made is removed; a handler that is there already is left alone."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
