"""What a server offers to run: an app, as far as the machine must know it."""

from __future__ import annotations

import msgspec

from wire.protocol import Hello

__all__ = ["AppInfo", "ShipConfig", "pool_of", "shipped_as"]


class AppInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine must know of an app; the tuples have one entry per stage of the chain.

    `here` says which stages this host may run; `batched` which have `run_batch`; `once` which may not be tried again;
    `stateful` which keep state, () for none; `varies` which run with a variant. `variants` are the names of these, the first
    what a device runs without a plan, `accuracies` what each is worth, from 0 to 1.
    """

    name: str
    version: str
    fingerprint: str
    stages: tuple[str, ...]
    here: tuple[bool, ...]
    batched: tuple[bool, ...]
    once: tuple[bool, ...] = ()
    lacks: tuple[int, ...] = ()
    stateful: tuple[bool, ...] = ()
    source_hash: str = ""
    aggregate: bool = False
    variants: tuple[str, ...] = ()
    accuracies: tuple[float, ...] = ()
    varies: tuple[bool, ...] = ()


class ShipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much is taken: `most` bundles at a time of `max_bytes` each, `workers` processes for each."""

    most: int = 8
    max_bytes: int = 8 * 2**20
    workers: int = 1


def shipped_as(hello: Hello, session: int) -> str:
    """The name of a session's app in this server; no installed app has a # in its own."""
    return f"{hello.app}#{session:x}" if hello.bundle else hello.app


def pool_of(app: str) -> str:
    """The workers that run an app, by name: its own if it was shipped, else "", the server's."""
    return app if "#" in app else ""
