"""What each stage costs on both sides, by variant where it varies.

A stage that does not vary is one and the same in every variant. One that does begins, in a variant never seen, with what
it costs in the one before: a guess, which the first measurement replaces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from iot_client.splitting.knowledge import KnownOption, KnownStage
from iot_client.splitting.sizes import Size, Sizes

__all__ = ["Stage", "StageCosts"]

_ALPHA = 0.1
"""Weight of a new sample: a change is followed to 2/3 within ten frames."""
_PASSES_ALPHA = 0.03
_IDLE_SAMPLES = 8
"""Studies whose least waiting time counts as a stage's own."""


class Stage:
    """One stage with one variant: CPU seconds here, seconds there, the share of frames it passes on; below 0 is unknown."""

    __slots__ = ("cpu_s", "guessed", "idles", "passes", "server_s")

    def __init__(self, known: KnownStage) -> None:
        self.cpu_s = known.cpu_s
        self.server_s = known.server_s
        self.passes = known.passes
        self.idles = deque([known.idle_s], maxlen=_IDLE_SAMPLES)
        self.guessed = [False, False]
        """Whether what is known here, and there, is of another variant."""

    @property
    def idle_s(self) -> float:
        """Seconds it waits without computing."""
        return min(self.idles)

    def known(self) -> KnownStage:
        """As it can be kept."""
        return KnownStage(self.cpu_s, self.idle_s, self.server_s, self.passes)

    def ran(self, cpu_s: float) -> None:
        """It ran here."""
        self.cpu_s = cpu_s if self.guessed[0] else _smooth(self.cpu_s, cpu_s)
        self.guessed[0] = False

    def served(self, seconds: float) -> None:
        """It ran there."""
        self.server_s = seconds if self.guessed[1] else _smooth(self.server_s, seconds)
        self.guessed[1] = False

    def passed(self, passed: bool) -> None:
        """A frame went on behind it, or did not."""
        self.passes += _PASSES_ALPHA * (passed - self.passes)


class StageCosts:
    """All stages in all variants; `now` and `sizes` are of the one that frames are made with."""

    def __init__(self, stages: Iterable[KnownStage], options: Iterable[KnownOption]) -> None:
        self.now = [Stage(known) for known in stages]
        self.sizes = Sizes(options)
        self.variant = ""
        self._varies: tuple[bool, ...] = (False,) * len(self.now)
        self._first = len(self.now)
        self._stages: dict[str, list[Stage]] = {"": self.now}
        self._sizes: dict[str, Sizes] = {"": self.sizes}

    def vary(self, varies: tuple[bool, ...], variant: str) -> None:
        """These stages vary; what is known is of `variant`."""
        self._varies = varies or self._varies
        self._first = next((index for index, each in enumerate(self._varies) if each), len(self.now))
        self.variant = variant
        self._stages, self._sizes = {variant: self.now}, {variant: self.sizes}

    def make_with(self, variant: str) -> None:
        """Frames are made with this variant from now on."""
        self.now, self.sizes, self.variant = self.of(variant), self.sizes_of(variant), variant

    def of(self, variant: str | None) -> list[Stage]:
        """The stages in a variant; None: in one not known, which tells of those alone that do not vary."""
        if variant is None:
            return self._another(self.now)
        found = self._stages.get(variant)
        if found is None:
            found = self._stages[variant] = self._another(self.now)
        return found

    def sizes_of(self, variant: str) -> Sizes:
        """The sizes of values in a variant; at a cut before the first stage that varies they are the same in all."""
        found = self._sizes.get(variant)
        if found is None:
            found = self._sizes[variant] = Sizes()
            for (k, codec), size in self.sizes.measured.items():
                found.measured[k, codec] = size if k <= self._first else Size(size.nbytes, size.encode_s, size.decode_s, size.back_nbytes)
        return found

    def _another(self, stages: list[Stage]) -> list[Stage]:
        if not any(self._varies):
            return stages
        return [_guess(stage) if varies else stage for stage, varies in zip(stages, self._varies)]


def _guess(stage: Stage) -> Stage:
    made = Stage(stage.known())
    made.guessed = [True, True]
    return made


def _smooth(old: float, new: float) -> float:
    return new if old < 0.0 else old + _ALPHA * (new - old)
