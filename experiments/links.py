"""What a link and a busy neighbour do over time: specs as a TOML file has them, traces as a lab replays them.

    link = {kind = "step", up_mbit = 20, low_mbit = 2, period_s = 10, delay_ms = 25, cuts = [[12, 1.5]]}
    load = {steps = [[0, 0.0], [5, 0.8]]}

A trace is a step function: each point holds from its time on, the last one for ever. The same spec, duration and
seed give the same trace on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["LinkPoint", "LinkSpec", "LinkTrace", "LoadPoint", "LoadSpec", "LoadTrace"]

DECILES = {
    "lte": (2.86, 8.84, 10.92, 12.43, 13.50, 14.70, 15.90, 17.47, 19.90, 22.67, 26.33),
    "wifi": (12.9, 23.4, 40.6, 46.1, 50.4, 53.2, 56.4, 61.3, 65.0, 71.8, 90.8),
}
"""Mbit/s, every tenth of the one-second values in the upload traces of Jellyfish (RTSS 2022): their means are 15.2 and 51.9."""
CORRELATION = {"lte": 0.67, "wifi": 0.74}
"""Of one second with the next, in the same traces."""
BLOCK = 200
"""Values in one synthetic block, as many as those traces have; it loops."""
SYNTHETIC, SYNTHETIC_S = (20.0, 15.0, 10.0, 7.5, 10.0, 15.0, 20.0), 20.0
"""Mbit/s of the staircase trace that comes with Jellyfish, and the seconds of each step."""
LONGEST = 86_400.0
SLOPE_STEPS = 20


class LinkPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link from `at` seconds on: rates in Mbit/s, one-way delay and jitter in ms, loss a chance per packet, each way.

    A cut link loses every packet.
    """

    at: float
    up_mbit: float
    down_mbit: float
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    cut: bool = False


class LinkTrace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link's points by time, for `duration` seconds.

    Raises:
        ValueError: there is no point, the first is not at 0, or the times do not rise.
    """

    points: tuple[LinkPoint, ...]
    duration: float = 0.0

    def __post_init__(self) -> None:
        _check_times("link trace", [point.at for point in self.points])

    def at(self, t: float) -> LinkPoint:
        """The point that holds at t seconds; before 0 the first."""
        return self.points[max(0, bisect_right(self.points, t, key=lambda point: point.at) - 1)]


class LinkSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link in a few words. Rates in Mbit/s; `down_mbit` is the upload's rate of the time where not given.

    constant   up_mbit
    step       up_mbit for period_s, low_mbit for period_s, and so on
    ramp       falls from up_mbit to low_mbit within period_s and stays there
    sawtooth   falls like a ramp in every period_s and jumps back
    lte, wifi  one value per second with the spread and correlation of measured uploads, in an order that is the seed's
    synthetic  a staircase: 20, 15, 10, 7.5, 10, 15, 20, each for 20 s, from step offset_lines on, looping
    file       one value per line of `path`, each for seconds_per_line, from line offset_lines on, looping; 0 is a cut

    `cuts` are (start, seconds). `seed` pins what is otherwise the run's.

    Raises:
        ValueError: a value is out of its range, or does not go with the kind; the text says what is legal.
    """

    kind: Literal["constant", "step", "ramp", "sawtooth", "lte", "wifi", "synthetic", "file"] = "constant"
    up_mbit: float | None = None
    low_mbit: float | None = None
    down_mbit: float | None = None
    period_s: float = 10.0
    delay_ms: float = 10.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    cuts: tuple[tuple[float, float], ...] = ()
    path: str | None = None
    seconds_per_line: float = 1.0
    offset_lines: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("up_mbit", 0.05, 1_000.0), ("low_mbit", 0.05, 1_000.0), ("down_mbit", 0.05, 1_000.0), ("period_s", 0.2, LONGEST),
            ("delay_ms", 0.0, 5_000.0), ("jitter_ms", 0.0, 1_000.0), ("loss", 0.0, 0.9), ("seconds_per_line", 0.1, LONGEST),
            ("offset_lines", 0, 10_000_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"link: {name} = {value}, legal is {low:g} to {high:g}")
        for start, seconds in self.cuts:
            if start < 0 or seconds <= 0:
                raise ValueError(f"link: cut [{start:g}, {seconds:g}], legal is [start >= 0, seconds > 0]")
        self._check_kind()

    def _check_kind(self) -> None:
        sloped, given = ("step", "ramp", "sawtooth"), self.up_mbit is not None
        if self.kind in ("constant", *sloped) and not given:
            raise ValueError(f"link: kind {self.kind!r} needs up_mbit, the rate of the upload")
        if self.kind in sloped and self.low_mbit is None:
            raise ValueError(f"link: kind {self.kind!r} needs low_mbit, the rate to which it falls")
        if self.kind not in ("constant", *sloped) and given:
            raise ValueError(f"link: kind {self.kind!r} takes its rate from the trace; leave up_mbit out")
        if self.kind not in sloped and self.low_mbit is not None:
            raise ValueError(f"link: kind {self.kind!r} falls to nothing; leave low_mbit out")
        if (self.kind == "file") != (self.path is not None):
            raise ValueError(f"link: kind {self.kind!r} with path = {self.path!r}; a path goes with kind 'file', and only there")

    def trace(self, duration_s: float, seed: int = 0) -> LinkTrace:
        """The link for duration_s seconds.

        Raises:
            ValueError: the duration is not positive, or the file has a line that is no rate.
            OSError: the file cannot be read.
        """
        if not 0 < duration_s <= LONGEST:
            raise ValueError(f"link: a trace of {duration_s} s, legal is above 0 to {LONGEST:g}")
        rates = self._rates(duration_s, seed if self.seed is None else self.seed)
        times = {at for at, _ in rates} | {edge for start, seconds in self.cuts for edge in (start, start + seconds)}
        points = []
        for at in sorted(time for time in times if time < duration_s):
            rate = rates[bisect_right(rates, at, key=lambda pair: pair[0]) - 1][1]
            points.append(self._point(at, rate))
        return LinkTrace(tuple(points), duration_s)

    def _point(self, at: float, rate: float) -> LinkPoint:
        cut = rate <= 0 or any(start <= at < start + seconds for start, seconds in self.cuts)
        up = max(rate, 0.05)
        down = up if self.down_mbit is None else self.down_mbit
        return LinkPoint(
            at=at, up_mbit=up, down_mbit=down, delay_ms=self.delay_ms, jitter_ms=self.jitter_ms, loss=self.loss, cut=cut
        )

    def _rates(self, duration: float, seed: int) -> list[tuple[float, float]]:
        """(from when, Mbit/s), the first at 0."""
        if self.kind in DECILES:
            return _looped(_synthetic(self.kind, seed), 0, 1.0, duration)
        if self.kind == "synthetic":
            return _looped(list(SYNTHETIC), self.offset_lines, SYNTHETIC_S, duration)
        if self.path is not None:
            return _looped(_read(self.path), self.offset_lines, self.seconds_per_line, duration)
        assert self.up_mbit is not None
        if self.low_mbit is None:
            return [(0.0, self.up_mbit)]
        if self.kind == "step":
            return _looped([self.up_mbit, self.low_mbit], 0, self.period_s, duration)
        fall = (self.low_mbit - self.up_mbit) / (SLOPE_STEPS - 1)
        slope = [self.up_mbit + fall * index for index in range(SLOPE_STEPS)]
        until = min(duration, self.period_s) if self.kind == "ramp" else duration
        return _looped(slope, 0, self.period_s / SLOPE_STEPS, until)


class LoadPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work wanted from `at` seconds on, in cores: 0.5 is half of one, 2 is all of two."""

    at: float
    busy: float


class LoadTrace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A load's points by time. ValueError where there is none, the first is not at 0, or the times do not rise."""

    points: tuple[LoadPoint, ...]

    def __post_init__(self) -> None:
        _check_times("load trace", [point.at for point in self.points])

    def at(self, t: float) -> float:
        """The cores wanted at t seconds."""
        return self.points[max(0, bisect_right(self.points, t, key=lambda point: point.at) - 1)].busy

    @property
    def most(self) -> float:
        """The most cores wanted at any time."""
        return max(point.busy for point in self.points)


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else runs on the machine: (from when in seconds, cores), idle before the first step.

    Raises:
        ValueError: a time or a share is out of its range.
    """

    steps: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for at, busy in self.steps:
            if at < 0 or not 0 <= busy <= 64:
                raise ValueError(f"load: step [{at:g}, {busy:g}], legal is [seconds >= 0, cores 0 to 64]")

    def trace(self) -> LoadTrace:
        """The steps as a trace; ValueError where their times do not rise."""
        idle = () if self.steps and self.steps[0][0] == 0 else ((0.0, 0.0),)
        return LoadTrace(tuple(LoadPoint(at=at, busy=busy) for at, busy in (*idle, *self.steps)))


def _check_times(what: str, times: list[float]) -> None:
    if not times or times[0] != 0:
        raise ValueError(f"{what}: the first point is at {times[0] if times else None}, legal is 0")
    for earlier, later in zip(times, times[1:]):
        if later <= earlier:
            raise ValueError(f"{what}: a point at {later:g} after one at {earlier:g}; times must rise")


def _looped(values: list[float], offset: int, seconds: float, duration: float) -> list[tuple[float, float]]:
    """The values in turn from one on, each for so many seconds, over and over."""
    count = max(1, ceil(duration / seconds))
    return [(index * seconds, values[(offset + index) % len(values)]) for index in range(count)]


def _read(path: str) -> list[float]:
    """Mbit/s, one value per line; empty lines are none."""
    rates = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                rates.append(float(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {line.strip()!r} is no rate; legal is one number of Mbit/s per line") from error
            if not 0 <= rates[-1] <= 1_000:
                raise ValueError(f"{path}, line {number}: {rates[-1]:g} Mbit/s, legal is 0 to 1000")
    if not rates:
        raise ValueError(f"{path}: no line with a rate; legal is one number of Mbit/s per line")
    return rates


def _synthetic(kind: str, seed: int) -> list[float]:
    """A block of Mbit/s whose distribution is exactly that of DECILES and whose order is a mean-reverting walk's.

    The walk (AR(1)) only ranks the seconds; the quantiles are then dealt out by rank, so every seed has the same
    mean and range (as amplitude-adjusted surrogates do, Theiler et al., Physica D 58, 1992).
    """
    keep = CORRELATION[kind]
    noise = [_bell(seed, index) for index in range(2 * BLOCK)]
    walk = list(accumulate(noise, lambda value, step: keep * value + step))[BLOCK:]  # the first half forgets the start
    order = sorted(range(BLOCK), key=walk.__getitem__)
    rates = [0.0] * BLOCK
    for rank, index in enumerate(order):
        rates[index] = _quantile(DECILES[kind], rank / (BLOCK - 1))
    return rates


def _quantile(deciles: tuple[float, ...], share: float) -> float:
    place = share * (len(deciles) - 1)
    low = min(int(place), len(deciles) - 2)
    return deciles[low] + (place - low) * (deciles[low + 1] - deciles[low])


def _bell(seed: int, index: int) -> float:
    """A number of mean 0 that looks normal: the sum of four uniform ones."""
    return sum(_unit(seed, 4 * index + part) for part in range(4)) - 2.0


def _unit(seed: int, index: int) -> float:
    """A number in [0, 1) that looks random and depends on its arguments only (the splitmix64 finalizer)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ mixed >> 31) / 2**64
