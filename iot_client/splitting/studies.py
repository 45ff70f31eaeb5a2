"""Frames that teach: a few at the start, then a trickle, so that ways not taken have a price too.

A study is an ordinary frame sent another way: all stages here (what each costs the device, how large each cut is), or
as few as possible here (what each costs the server). Nothing is run twice but an encoding or two.
"""

from __future__ import annotations

from iot_client.splitting.costs import LOSSLESS
from iot_client.splitting.policy import LOCAL, Heading
from iot_client.splitting.profile import Profile
from iot_client.splitting.split import SplitDecision

__all__ = ["Studies"]

_EVERY = 100
"""Frames per study of each kind: 2 % of all go another way at most."""
_RARELY = 10
"""Times fewer are sent while they cannot be in time: a late frame holds up all that follow it in order."""
_SHARE = 0.02
"""Of the device's CPU time, at most, for the detours."""
_AT_START = 2
"""Studies of each kind before the first choice."""
_ENCODINGS = 2
"""Lossy or compressed encodings tried per study; raw sizes cost nothing."""

_FLOATS = frozenset({"fp16", "int8"})
_CHEAP = _FLOATS | {"bits"}

_PNG_S = 2e-8
"""CPU seconds per byte that PNG takes, on a PC."""


class Studies:
    """Decides which frames are studied, and what is encoded in them.

    Args:
        k: the stage count frames have until enough is known.

    Attributes:
        late: set while a frame sent as early as possible misses its deadline.
    """

    def __init__(self, profile: Profile, k: int) -> None:
        self.k = k
        self._profile = profile
        self._turn = 0
        self._frames = 0
        self._cursor = 0
        self._begun = 0.0
        self.late = False

    @property
    def _most(self) -> int:
        return max(k for k, _, _ in self._profile.keys)

    @property
    def _fewest(self) -> int:
        return min(k for k, _, _ in self._profile.keys)

    def enough(self) -> bool:
        """True if every stage has a price where it may run, and the cuts have sizes."""
        profile = self._profile
        return profile.knows_device() and profile.knows_server() and (self._fewest == profile.n or bool(profile.sizes.measured))

    def first(self) -> Heading:
        """The way of a frame before there is a decision: studies in turn with the split asked for."""
        self._turn += 1
        step = self._turn % 3
        if step == 1 and (self._turn <= 6 * _AT_START or self._turn % 4 == 0):
            return self._here()
        if step == 2 and self._fewest < self._profile.n:
            return self._there()
        return Heading(self.k, self._smallest(self.k))

    def next(self, decision: SplitDecision) -> Heading | None:
        """The way of this frame if it is one to study."""
        self._frames += 1
        used = {decision.first.k} | ({decision.second.k} if decision.second is not None else set())
        every = _EVERY * _RARELY if self.late else _EVERY
        if self._frames % every == every // 2 and self._fewest not in used and self._bearable(decision):
            return self._there()
        waited, patience = self._frames - self._begun, self._patience(decision)
        # Where all stages run here anyway, only sizes are left to learn.
        if waited >= patience and (waited >= _RARELY * patience or self._most not in used or not self._sized()):
            self._begun = self._frames
            return self._here()
        return None

    def _sized(self) -> bool:
        """True if the value at every cut has been encoded in every family once."""
        measured = self._profile.sizes.measured
        ways = self._encoded()
        anchors = self._anchors(ways)
        return all(way in measured for way in ways if way[1] == "raw" or way[1] in _CHEAP or way in anchors)

    def _encoded(self) -> list[tuple[int, str]]:
        """The cuts that a frame passes here, with each codec there is."""
        most = self._most
        return [(k, codec) for k, codec, _ in self._profile.all_keys if codec and k <= most]

    def _patience(self, decision: SplitDecision) -> float:
        """Frames between two studies here, so that the detours take no more than their share of the CPU."""
        usual = decision.prediction.device_cpu_s
        whole = sum(max(0.0, cost) for cost in self._profile.cpu_s[: self._most])
        detour = max(0.0, whole - usual)
        return max(_EVERY, detour / (_SHARE / 2 * usual)) if usual > 0.0 else _EVERY * 10

    def _bearable(self, decision: SplitDecision) -> bool:
        """True unless the link is what limits: a frame sent early is then one that queues."""
        return decision.prediction.bottleneck not in ("link", "mbit budget")

    def _here(self) -> Heading:
        return Heading(self._most, self._smallest(self._most), self._to_encode())

    def _there(self) -> Heading:
        return Heading(self._fewest, self._smallest(self._fewest), ())

    def _smallest(self, k: int) -> str:
        """The codec that sends least from this cut, as far as is known: what a link of unknown rate is asked to carry first."""
        if k == self._profile.n:
            return LOCAL
        ways = [(quality, codec) for at, codec, quality in self._profile.keys if at == k]
        sizes = self._profile.sizes
        sized = [(size.nbytes, codec) for _, codec in ways if (size := sizes.of(k, codec)) is not None]
        lossy = {codec: quality for quality, codec in ways if quality < LOSSLESS}
        if lossy and not any(codec in lossy for _, codec in sized):
            return min(lossy, key=lambda codec: (lossy[codec], codec))
        return min(sized)[1] if sized else ways[0][1] if ways else "raw"

    def _useless(self) -> set[tuple[int, str]]:
        """Ways that were tried and make nothing smaller; trying them again costs time and tells nothing."""
        sizes = self._profile.sizes.measured
        useless = {
            (k, codec) for (k, codec), size in sizes.items()
            if codec in _CHEAP and (k, "raw") in sizes and size.nbytes > 0.97 * sizes[k, "raw"].nbytes
        }
        return useless | {(k, "fp16") for k, codec in useless if codec == "int8"}

    def _affordable(self, k: int) -> bool:
        """True if compressing the value at this cut takes no longer than a frame takes anyway."""
        raw = self._profile.sizes.of(k, "raw")
        return raw is not None and raw.nbytes * _PNG_S <= sum(max(0.0, cost) for cost in self._profile.cpu_s)

    def _anchors(self, ways: list[tuple[int, str]]) -> set[tuple[int, str]]:
        """One JPEG of each cut and width, from which the sizes of its other qualities follow."""
        ladders: dict[tuple[int, str], list[tuple[int, str]]] = {}
        for k, codec in ways:
            if codec.startswith("jpeg:"):
                ladders.setdefault((k, codec.partition("@")[2]), []).append((k, codec))
        return {ladder[len(ladder) // 2] for ladder in ladders.values()}

    def _to_encode(self) -> tuple[tuple[int, str], ...]:
        """Every raw size not known, floats in 8 bits too, and the next of the others in turn."""
        measured = self._profile.sizes.measured
        ways = self._encoded()
        first = [way for way in ways if way[1] in ("raw", "int8") and way not in measured]
        anchors, useless = self._anchors(ways), self._useless()
        ways = [way for way in ways if way not in useless]
        others = [way for way in ways if way[1] in _CHEAP or way in anchors or (way[1] == "png" and self._affordable(way[0]))]
        chosen = []
        for _ in range(min(_ENCODINGS, len(others))):
            chosen.append(others[self._cursor % len(others)])
            self._cursor += 1
        return (*first, *(way for way in chosen if way not in first))
