"""One race run live: iot-client and cloud-server as processes, on a network of their own with the experiment's link and outages.

Both are the programs as they are; what they did is read from the device's log of events and commands.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

import iot_client.events as iot
from experiments.links import LinkTrace
from experiments.live.calibrate import calibrate
from experiments.live.child import Child, in_namespace
from experiments.live.network import LabError, Network, unavailable
from experiments.live.start import LOADING, SLACK
from experiments.simulation.record import Record
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.ledger import Ledger
from experiments.speculation.rows import BinRow, RaceRun
from iot_client.session_config import SessionConfig
from metrics.trace import read_trace, registry
from tasks.factory import with_parameters
from wire.protocol import Result

__all__ = ["LIVE", "recorded", "refused", "run_live"]

LIVE = ("risk", "always", "never")
"""What `--hedge` can say; the other systems are no client's."""
_APP = "experiments.speculation.app:app"
_CUT = 2
_PORT = 5757
_TRIES = 3
_GRACE = 0.01
"""Seconds behind the deadline that a delivery may come: what is promised of it for 99 of 100."""


def refused(lab: SpeculationLab) -> str:
    """Why this cannot be run live, as one sentence; "" if it can."""
    others = [system for system in lab.systems if system not in LIVE]
    if others:
        return f"systems {', '.join(others)}; legal live are {', '.join(LIVE)}: name them with --policies"
    return unavailable()


def run_live(lab: SpeculationLab, system: str, deadline_ms: float, seed: int) -> RaceRun:
    """One run.

    Raises:
        LabError: the link is not what was asked, or a process failed; the text says which.
    """
    trace = lab.link_of(seed).trace(lab.seconds + 2 * SLACK, seed)
    _calibrated(trace)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spw-")))
        network = stack.enter_context(Network(trace, name="race", seed=seed))
        app = with_parameters(_APP, [f"{name}={value}" for name, value in _parameters(lab, deadline_ms, seed).items()])
        server = Child(in_namespace(network.server_ns, _server(app, network)), errors=folder / "server.err", what="server")
        stack.enter_context(server).expect("ready", LOADING)
        device = Child(in_namespace(network.device_ns, _device(app, network, system, folder, lab)), errors=folder / "d.err", what="device")
        stack.enter_context(device)
        began = network.play()
        device.wait(lab.seconds + LOADING + SLACK)
        return recorded(lab, system, deadline_ms, seed, folder, began)


def _parameters(lab: SpeculationLab, deadline_ms: float, seed: int) -> dict[str, Any]:
    return {
        "deadline": deadline_ms / 1e3, "fps": lab.fps, "frames": int(lab.seconds * lab.fps), "head_ms": lab.head_ms, "nbytes": lab.nbytes,
        "seed": seed, "local_low": lab.local_ms[0], "local_high": lab.local_ms[1], "cloud_low": lab.cloud_ms[0],
        "cloud_high": lab.cloud_ms[1],
    }


def _server(app: str, network: Network) -> list[str]:
    where = ["--host", network.server_ip, "--port", str(_PORT), "--insecure"]
    return [sys.executable, "-m", "cloud_server", "--app", app, *where, "--workers", "1", "--executor", "thread", "--quiet"]


def _device(app: str, network: Network, system: str, folder: Path, lab: SpeculationLab) -> list[str]:
    where = ["--host", f"{network.server_ip}:{_PORT}", "--insecure", "--hedge", system, "--mode", "live", "--workers", str(lab.workers)]
    logs = ["--trace", str(folder / "trace.jsonl"), "--summary", str(folder / "summary.json"), "--quiet"]
    return [sys.executable, "-m", "iot_client", str(_CUT), "--app", app, *where, *logs]


def _calibrated(trace: LinkTrace) -> None:
    """Raises LabError if the link's rates are not what its first point says."""
    point = msgspec.structs.replace(trace.points[0], at=0.0, loss=0.0, cut=False)
    for _ in range(_TRIES):
        with Network(LinkTrace((point,), 3600.0), name="cal") as network:
            found = calibrate(network)
        if found.ok:
            return
    raise LabError(found.text)


def recorded(lab: SpeculationLab, system: str, deadline_ms: float, seed: int, folder: Path, began: float) -> RaceRun:
    """What the device left in a folder, with times since `began`."""
    ledger = Ledger(_CUT)
    for at, what in _log(folder / "trace.jsonl"):
        ledger.append(Record(at - began, "device", what))
        if type(what) is iot.MessageReceived and type(what.message) is Result:
            ledger.served(what.message.seq, sum(what.message.times_us) / 1e6 / what.message.batch)
    race = msgspec.json.decode((folder / "summary.json").read_bytes())["race"]
    frames = ledger.frames()
    return RaceRun(
        system=system, deadline_ms=deadline_ms, seed=seed, frames=frames, unread=max(0, int(lab.seconds * lab.fps) - len(frames)),
        cuts=lab.outages.cuts(lab.seconds, seed), bins=tuple(BinRow(*each) for each in race["risk"]), brier=race["brier"],
        grace_s=_GRACE,
    )  # fmt: skip


def _log(path: Path) -> Iterator[tuple[float, Any]]:
    for entry in read_trace(path, registry(iot.Event, iot.Command, SessionConfig)):
        if entry.kind in ("event", "command"):
            yield entry.at, entry.body
