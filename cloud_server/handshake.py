"""Who may have a session, and on what terms: HELLO against what this server serves."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cloud_server.offer import AppInfo, ShipConfig, shipped_as
from cloud_server.sessions import Session
from wire.protocol import CODECS, MINOR, Hello, Welcome

__all__ = ["AppInfo", "SchedulerConfig", "checksums", "welcome", "why_not"]

_CHECKSUMS = 2
"""The minor version that brought them."""


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes: `memory` for all devices together, `credit` for one; `copies`: workers get their own.

    There are no shipped apps without `ship`, and no plans for apps with variants without `plans`. `epoch` names this life of the
    server; never 0, never reused.
    """

    server: str
    epoch: int
    apps: dict[str, AppInfo]
    workers: int = 1
    depth: int = 2
    max_batch: int = 16
    memory: int = 512 * 2**20
    credit: int = 32 * 2**20
    max_job: int = 16 * 2**20
    heartbeat: float = 0.5
    lease: float = 60.0
    receipt: float = 0.002
    record: bool = False
    max_sessions: int = 4096
    checksum: bool = False
    copies: bool = False
    ship: ShipConfig | None = None
    plans: bool = True
    resident: int = 3


def why_not(
    hello: Hello, config: SchedulerConfig, offered: Callable[[], AppInfo | tuple[str, str] | None], known: Session | None, sessions: int,
    stopping: bool, sender: str = "",
) -> tuple[str, str] | None:
    """The error code and text with which this HELLO is refused, or None.

    Args:
        offered: what is served under the name in HELLO, if anything, or why it is not; asked only of who may be answered.
        known: the session of this number, if there is one; sessions: how many there are.
        sender: the name under which the device's key is allowed, "" without keys. A session belongs to its key, and the
            device's name is that name, or that name, a slash and more (a device with two cameras: cam1/left, cam1/right).
    """
    if sender and sender not in (hello.device, hello.device.partition("/")[0]):
        return "forbidden", f"this key is allowed as {sender!r}, and the device calls itself {hello.device!r}: give --device {sender}"
    if known is not None and known.sender != sender:
        return "forbidden", f"session {known.number:x} belongs to another key"
    if stopping:
        return "shutdown", f"{config.server} is shutting down"
    app = offered()
    if isinstance(app, tuple):
        return app
    if app is None:
        served = ", ".join(sorted(config.apps)) or "none"
        remedy = "Start cloud-server with --app for it, or ship it (--ship)"
        return "unknown_app", f"app {hello.app!r} is not served here; served: {served}. {remedy}"
    if hello.fingerprint != app.fingerprint:
        return "fingerprint", _difference(hello, app)
    if not any(codec in CODECS for codec in hello.codecs):
        return "codec", f"no codec in common: device {', '.join(hello.codecs)}; server {', '.join(CODECS)}"
    if known is not None and (known.device, known.app) != (hello.device, shipped_as(hello, known.number)):
        return "busy", f"session {known.number:x} belongs to another device or app"
    if known is None and sessions >= config.max_sessions:
        return "busy", f"{sessions} sessions are the most this server takes"
    return None


def welcome(hello: Hello, config: SchedulerConfig, app: AppInfo, limit: int, resumed: bool) -> Welcome:
    """The terms: credit, sizes, times, what this host lacks, and how many jobs it runs at a time."""
    differs = hello.source_hash and app.source_hash and hello.source_hash != app.source_hash
    warnings = ["the source text of the app differs between device and server; its declared shape agrees"] if differs else []
    unfit = _unfit(hello, app)
    if unfit:
        warnings.append(f"this server cannot run {unfit}")
    return Welcome(
        MINOR, config.server, limit, min(config.max_job, config.credit), int(config.heartbeat * 1e6), int(config.lease * 1e6),
        tuple(codec for codec in CODECS if codec in hello.codecs), tuple(sorted({*app.lacks, app.race})) if unfit else app.lacks,
        resumed, "; ".join(warnings),
        config.ship.workers if hello.bundle and config.ship else config.workers, checksums(hello, config),
    )


def _unfit(hello: Hello, app: AppInfo) -> str:
    """Why this host cannot run the alternative of a race that this device's HELLO fixes, in words; "" if it can."""
    return app.why_unfit(hello.variant) if app.race >= 0 and hello.variant else ""


def checksums(hello: Hello, config: SchedulerConfig) -> bool:
    """True if both sides state and check checksums of buffers: either asked for them, and the device knows them."""
    return hello.minor >= _CHECKSUMS and (hello.checksum or config.checksum)


def _difference(hello: Hello, app: AppInfo) -> str:
    """What differs between the device's app and ours, in words."""
    both = f"fingerprint {hello.fingerprint} on the device, {app.fingerprint} on the server"
    if hello.app_version != app.version:
        return f"app {hello.app!r}: version {hello.app_version} on the device, {app.version} on the server ({both})"
    if hello.stages != app.stages:
        return f"app {hello.app!r}: stages {' '.join(hello.stages)} on the device, {' '.join(app.stages)} on the server ({both})"
    return f"app {hello.app!r}: placements, parameters, variants or value types differ ({both})"
