"""Costs of two apps as if measured on a small computer, so that claims on the virtual body hold on every machine."""

from __future__ import annotations

from experiments.appcosts import AppCosts, WayCosts

__all__ = ["BALL", "WATCH"]

_RAW = {1: 562_528, 2: 1_125_043, 3: 750_042, 4: 562_904, 5: 562_565}
_BITS = {1: 562_528, 2: 1_125_043, 3: 585_988, 4: 562_904, 5: 562_565}
_JPEG = {
    1: (13_082, 22_786, 55_464), 2: (575_597, 585_301, 617_979), 3: (36_542, 46_246, 78_924), 4: (13_458, 23_162, 55_840),
    5: (13_075, 22_766, 55_415),
}  # fmt: skip


def _ball() -> tuple[WayCosts, ...]:
    ways = []
    for k in _RAW:
        ways += [WayCosts(k, "raw", _RAW[k], 2e-4, 1e-4), WayCosts(k, "bits", _BITS[k], 3e-4, 1e-4)]
        ways += [WayCosts(k, f"jpeg:{q}", n, 2.2e-3, 5e-4) for q, n in zip((50, 80, 95), _JPEG[k])]
    return tuple(ways)


BALL = AppCosts(
    cpu_s=(4e-3, 12e-3, 6e-3, 3e-3, 6e-4, 8e-4), idle_s=(0.0,) * 6, passes=(1.0, 1.0, 1.0, 0.95, 0.87, 1.0), ways=_ball(),
    back=(0.0, 56.0, 56.0, 56.0, 56.0, 5.0, 0.0), cores=4.0,
)  # fmt: skip
"""examples.ball_tracking.app:app: 26 ms of CPU a frame."""

WATCH = AppCosts(
    cpu_s=(1e-4, 3e-4, 2e-3), idle_s=(0.0,) * 3, passes=(1.0,) * 3, back=(0.0, 400.0, 0.0, 0.0), cores=4.0,
    ways=(
        WayCosts(1, "raw", 921_600, 3e-4, 1e-4), WayCosts(1, "bits", 921_600, 3e-4, 1e-4), WayCosts(1, "png", 450_000, 2e-2, 6e-3),
        *(WayCosts(1, f"jpeg:{q}", n, 2e-3, 2e-3) for q, n in ((20, 11_000), (50, 20_000), (80, 36_000), (95, 90_000))),
    ),
)  # fmt: skip
"""experiments.apps:watch: all stages after the source in the cloud."""
