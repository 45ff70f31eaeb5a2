"""What one experiment is: an app, a clip, devices, a link, a goal, and the policies to compare; read from TOML.

    name = "17 fps on a weak device"
    app = "examples.ball_tracking.app:app"
    seconds = 30
    policies = ["auto", "threshold", "local", "oracle"]
    goal = {fps = 17}
    device = {cpu_for = 0.6}
    link = {kind = "constant", up_mbit = 200, delay_ms = 1}
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from experiments.links import LinkSpec, LoadSpec
from iot_client.splitting.goal import Goal

__all__ = ["BUILT_IN", "DeviceSpec", "GoalSpec", "Lab", "ServerSpec", "built_in", "check_run", "fixed_cut", "load", "why_not_policy"]

BUILT_IN = Path(__file__).parent / "labs"

_FIXED = ("auto", "threshold", "local", "oracle")
_CODED = ("remote", "reqrep", "pubsub")
_CUT = re.compile(r"cut:([1-9][0-9]{0,2}):(.+)")


class GoalSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As iot_client.Goal, in the units of the command line."""

    fps: float | None = None
    slo_ms: float | None = None
    max_cpu: float | None = None
    max_mbit: float | None = None
    min_quality: int | None = None

    def goal(self) -> Goal:
        """As the client takes it.

        Raises:
            ValueError: one is out of its range.
        """
        slo = None if self.slo_ms is None else self.slo_ms / 1e3
        return Goal(fps=self.fps, slo=slo, max_cpu=self.max_cpu, max_mbit=self.max_mbit, min_quality=self.min_quality)


class DeviceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The devices: how many, and how weak.

    `cpu` is the cores each has (0: all of this machine), or `cpu_for` makes it so weak that all stages there reach
    this share of goal.fps. `load` is what others on it burn over time, in cores of its own.
    """

    count: int = 1
    cpu: float = 0.0
    cpu_for: float = 0.0
    workers: int = 1
    load: LoadSpec | None = None


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server: its workers, and how many cores it has (0: all)."""

    workers: int = 1
    cpu: float = 0.0


class Lab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment.

    `variant` is that of the app which all frames use, "" the one that a device uses by itself. `clip` is "rendered", a video file
    (also a name in the folder SPILLWAY_CLIPS names), or MODULE:APP for what that app's own source gives, resized to `size` (width,
    height) and repeated. `rate` paces the source in frames per second, 0 reads as the pipeline takes. `start` is the split to begin
    with, 0 the fewest legal stages. `deadline_ms` is what counts as in time where the goal names no slo_ms. `warm` starts with what
    a first run of the same has learned. `policies` are auto, threshold, local, oracle, remote:CODEC (fewest stages here),
    cut:K:CODEC (K stages here), reqrep:QUALITY and pubsub:QUALITY (imagezmq, all stages after the source at the other end).
    `congestion` is TCP's congestion control in the live body, the system's own by default.
    """

    name: str
    app: str = "examples.ball_tracking.app:app"
    variant: str = ""
    clip: str = "rendered"
    size: tuple[int, int] | None = None
    seconds: float = 30.0
    warmup: float = 5.0
    mode: Literal["live", "lossless"] = "live"
    rate: float = 0.0
    start: int = 0
    goal: GoalSpec = GoalSpec()
    deadline_ms: float = 0.0
    warm: bool = False
    device: DeviceSpec = DeviceSpec()
    server: ServerSpec = ServerSpec()
    link: LinkSpec = LinkSpec(up_mbit=100.0, delay_ms=1.0)
    congestion: Literal["", "reno", "cubic", "bbr"] = ""
    policies: tuple[str, ...] = ("auto",)
    seeds: int = 1
    about: str = ""

    def __post_init__(self) -> None:
        for field, low, high in (("seconds", 1.0, 86_400.0), ("seeds", 1, 10_000), ("rate", 0.0, 10_000.0), ("start", 0, 256)):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"lab {self.name!r}: {field}={value}; legal: {low:g} to {high:g}")
        if not self.policies:
            legal = ", ".join((*_FIXED, "cut:K:CODEC", *(f"{family}:..." for family in _CODED)))
            raise ValueError(f"lab {self.name!r}: policies is empty; legal are {legal}")
        for policy in self.policies:
            problem = why_not_policy(policy)
            if problem:
                raise ValueError(f"lab {self.name!r}: {problem}")
        if self.device.cpu_for and not self.goal.fps:
            raise ValueError(f"lab {self.name!r}: device.cpu_for={self.device.cpu_for} is a share of goal.fps, which is not set")

    @property
    def deadline(self) -> float:
        """Seconds within which a result counts as in time; infinite if nothing says so."""
        milliseconds = self.goal.slo_ms or self.deadline_ms
        return milliseconds / 1e3 if milliseconds else float("inf")


def why_not_policy(policy: str) -> str:
    """What is wrong with a policy's name; "" if nothing."""
    family, colon, detail = policy.partition(":")
    if policy in _FIXED or (family in _CODED and colon and detail) or _CUT.fullmatch(policy):
        return ""
    return f"policy {policy!r}; legal are {', '.join(_FIXED)}, remote:CODEC, cut:K:CODEC, reqrep:QUALITY, pubsub:QUALITY"


def fixed_cut(policy: str) -> tuple[int, str] | None:
    """Stages on the device and codec of a policy that fixes both; None of others."""
    match = _CUT.fullmatch(policy)
    return (int(match[1]), match[2]) if match else None


def check_run(lab: Lab, policy: str) -> None:
    """Whether a body can run this policy.

    Raises:
        ValueError: it cannot; the text says why.
    """
    if problem := why_not_policy(policy):
        raise ValueError(problem)
    if policy == "oracle":
        raise ValueError("policy 'oracle' is computed from what is true or was measured; it cannot be run live or simulated")
    if policy == "threshold" and lab.goal.fps is None:
        raise ValueError(f"lab {lab.name!r}: policy 'threshold' moves below goal.fps, which is not set")
    lab.goal.goal()  # its own check, before anything is started


def built_in() -> dict[str, Path]:
    """The experiments that come with Spillway, by name."""
    return {path.stem: path for path in sorted(BUILT_IN.glob("*.toml"))}


def load(name: str | Path) -> Lab:
    """The experiment of this name, or in this TOML file.

    Raises:
        ValueError: there is none, or it is none; the text names the field or lists what there is.
    """
    known = built_in()
    path = known.get(str(name), Path(name))
    if not path.is_file():
        names = sorted(path.stem for path in BUILT_IN.rglob("*.toml"))
        raise ValueError(f"{name}: no such file, and no experiment of that name; there are {', '.join(names)}")
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Lab)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
