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

    `race` is the stage whose alternatives race, -1 for none. They are its variants then, and of each `batches` says whether it takes
    several jobs at once there, and `unfit` why this host does not run it, "" if it does.
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
    race: int = -1
    batches: tuple[bool, ...] = ()
    unfit: tuple[str, ...] = ()

    @property
    def planned(self) -> bool:
        """True if a plan says which variant a device runs with: an alternative of a race is chosen by its device."""
        return len(self.variants) > 1 and self.race < 0

    def variant(self, *named: str) -> str:
        """The first of these that is given; else the first this host runs, "" for an app without variants."""
        first = next((name for name, unfit in zip(self.variants, self.unfit) if not unfit), self.variants[0] if self.variants else "")
        return next(filter(None, named), first)

    def why_unfit(self, variant: str) -> str:
        """Why this host does not run a job with this variant, in words; "" if it does."""
        if variant not in self.variants:
            return f"variant {variant!r}: app {self.name!r} has {', '.join(self.variants) or 'none'} here" if variant else ""
        unfit = self.unfit[self.variants.index(variant)] if self.unfit else ""
        return f"variant {variant!r}: {unfit}" if unfit else ""

    def batches_at(self, start: int, stop: int, variant: str) -> bool:
        """True if some stage of [start, stop) takes several jobs at once, with this variant."""
        raced = start <= self.race < stop and variant in self.variants and self.batches[self.variants.index(variant)]
        return raced or any(batched for index, batched in enumerate(self.batched[start:stop], start) if index != self.race)


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
