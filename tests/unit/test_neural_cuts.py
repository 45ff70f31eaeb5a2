"""A split that runs through a neural network: what crosses there, and when the choice goes there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tests.neural_app import app, image

from experiments.appcosts import AppCosts, WayCosts
from experiments.lab import DeviceSpec, GoalSpec, Lab
from experiments.links import LinkSpec
from experiments.virtual import run_virtual
from iot_client.cli.listing import stages_table
from iot_client.cuts import Crossings
from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.goal import Goal
from iot_client.splitting.split import choose
from iot_client.splitting.ways import ways_of
from tasks import App, Input, Task
from tasks.run import Runner
from wire.payload import Packer

CUTS = (1, 2, 3, 4, 5)
MS = (0.1, 1.0, 20.0, 20.0, 60.0, 1.0)
"""CPU of each stage here; the server takes half of it."""
BYTES = {
    1: {"raw": 61_440, "jpeg:50": 6_000}, 2: {"raw": 245_760, "fp16": 90_000, "int8": 42_000},
    3: {"raw": 300_000, "fp16": 80_000, "int8": 40_000}, 4: {"raw": 120_000, "fp16": 32_000, "int8": 16_000},
    5: {"raw": 40_000, "fp16": 10_000, "int8": 5_000},
}
QUALITY = {"raw": 100, "fp16": 99, "int8": 97, "jpeg:50": 50}


def split(k: int, codec: str, item: Any) -> Any:
    """The network's answer with the value at cut k sent in this codec."""
    runner, packer, crossings = Runner(app, lambda: 0.0, app.instances()), Packer(app.types), Crossings(app, app.n)
    value = runner.run(0, k, item).value
    return runner.run(k, app.n, packer.unpack(crossings.pack(packer, k, value, codec))).value


@pytest.mark.parametrize("k", CUTS)
def test_the_answer_differs_by_what_the_codec_loses(k: int) -> None:
    """At every cut raw is exact, fp16 nearly so and int8 near; the picture itself is not touched by either."""
    item = image()
    exact = split(k, "raw", item)
    errors = [float(np.abs(np.subtract(split(k, codec, item), exact)).max()) for codec in ("raw", "fp16", "int8")]
    assert errors[0] == 0 and errors[1] <= (5e-4 if k > 1 else 0) and errors[2] <= (5e-3 if k > 1 else 0)
    assert k == 1 or errors[1] < errors[2]


def test_every_cut_behind_a_float_has_its_ways_and_the_table_says_so() -> None:
    """The picture as JPEG, features as fp16 and int8; `--list` names the loss."""
    found = {k: {codec for at, codec, _ in ways_of(app, CUTS, app.n, "live", None) if at == k} for k in CUTS}
    assert "jpeg:50" in found[1] and "int8" not in found[1]
    assert all({"raw", "fp16", "int8"} <= found[k] and "jpeg:50" not in found[k] for k in CUTS[1:])
    sends = list(stages_table(app).columns[5].cells)
    assert sends == ["the whole value (jpeg:50)", *["the whole value (int8)"] * 4, "nothing"]


def costs(mbit: float, share: float = 1.0) -> Costs:
    """The network on a device with this share of a core, a link of so many Mbit/s and a server twice as fast as a whole core."""
    options = [Option(6), *(Option(k, codec, QUALITY[codec], n, 1e-3, 5e-4, 200.0) for k in BYTES for codec, n in BYTES[k].items())]
    stages = tuple(StageCost(ms / 1e3, 0.0, ms / 2e3) for ms in MS)
    return Costs(
        stages=stages, options=tuple(options), stop=6, stretch=1 / share, cpu=share, up=mbit * 125e3, down=mbit * 125e3, rtt=0.02,
        server_cpu=1.0,
    )


@pytest.mark.parametrize(("mbit", "share", "slo", "way"), [
    (10, 0.25, 0.24, (4, "int8")),  # 164 ms of stages, 4 of encoding, 13 of link, 20 round trip, 31 there
    (10, 0.25, 0.25, (4, "fp16")),  # 13 ms more
    (10, 0.25, 0.19, (3, "int8")),
    (10, 0.25, 0.10, (1, "jpeg:50")),
    (2, 0.25, 0.30, (4, "int8")),
    (2, 0.25, 0.20, (1, "jpeg:50")),  # 42 KB would take 168 ms
    (200, 0.25, 0.30, (4, "raw")),  # the link carries it: nothing need be lost
    (2, 1.0, 0.11, (6, "")),
    (2, 1.0, 0.10, (1, "jpeg:50")),
])
def test_the_choice_goes_into_the_network_where_that_pays(mbit: float, share: float, slo: float, way: tuple[int, str]) -> None:
    """As far as the device comes in time, with no more loss than the link needs: a neural cut where it is in time, the
    compressed picture where only that is, all here where the device can."""
    chosen = choose(costs(mbit, share), Goal(slo=slo))
    assert chosen.met and (chosen.first.k, chosen.first.codec) == way, chosen.prediction


def test_a_least_quality_above_97_keeps_floats_at_16_bits_or_more() -> None:
    """int8 counts as 97 and fp16 as 99."""
    chosen = [choose(costs(10, 0.25), Goal(slo=0.24, min_quality=least)).first for least in (97, 98, 99, 100)]
    assert [(option.k, option.codec) for option in chosen] == [(4, "int8"), (3, "fp16"), (3, "fp16"), (1, "raw")]


MEASURED = AppCosts(
    cpu_s=tuple(ms / 1e3 for ms in MS), idle_s=(0.0,) * 6, passes=(1.0,) * 6, back=(0.0, *(200.0,) * 5, 0.0), cores=4.0,
    ways=tuple(WayCosts(k, codec, n, 5e-4, 3e-4) for k in BYTES for codec, n in BYTES[k].items()),
)
LAB = Lab(
    name="toy network", app="tests.neural_app:app", seconds=40, rate=4, mode="live", goal=GoalSpec(fps=4, slo_ms=350), start=1,
    device=DeviceSpec(cpu=0.25), link=LinkSpec(up_mbit=10, delay_ms=10),
)


@pytest.mark.parametrize(("mbit", "slo", "cuts", "codecs"), [
    (2.5, 350.0, {4}, {"int8"}), (10.0, 350.0, {4}, {"fp16"}), (2.0, 250.0, {1}, {f"jpeg:{quality}" for quality in range(50, 96, 5)}),
])
def test_a_session_finds_the_cut_by_itself(mbit: float, slo: float, cuts: set[int], codecs: set[str]) -> None:
    """With nothing known at the start, after ten seconds most frames go through the cut that pays, and in time."""
    lab = replace(LAB, link=LinkSpec(up_mbit=mbit, delay_ms=10), goal=GoalSpec(fps=4, slo_ms=slo))
    rows = [row for row in run_virtual(lab, "auto", 0, costs=MEASURED).frames if row.captured > 10]
    assert len(rows) > 100
    assert sum(row.k in cuts and row.codec in codecs for row in rows) > 0.8 * len(rows), {(row.k, row.codec) for row in rows}
    assert sum(row.outcome == "done" and row.latency <= slo / 1e3 for row in rows) > 0.9 * len(rows)


class Reader(Task):
    """Reads features and a picture, and bears some loss of both."""

    reads, writes = ("fine", "coarse", "picture"), ()
    accepts = {"fine": ("fp16",), "coarse": ("int8",), "picture": ("jpeg:50",)}

    def run(self, item: Any) -> Any:
        return item


def test_a_codec_touches_only_the_fields_whose_readers_bear_it() -> None:
    """int8 those that accept 8 bits, fp16 those that accept 16 too, JPEG the pictures; all others come as they were."""
    made = App("mixed", [Input(), Reader()])
    features = np.random.default_rng(1).normal(size=(8, 20, 20)).astype(np.float32)
    value = {"fine": features, "coarse": features, "picture": image(64, 64)}
    changed = {}
    for codec in ("raw", "int8", "fp16", "jpeg:50"):
        back = Packer().unpack(Crossings(made, 2).pack(Packer(), 1, value, codec))
        changed[codec] = {name for name in value if not np.array_equal(back[name], value[name])}
    assert changed == {"raw": set(), "int8": {"coarse"}, "fp16": {"fine", "coarse"}, "jpeg:50": {"picture"}}
