"""One fault at a time: what it may cost, in numbers."""

from __future__ import annotations

from typing import Any

import pytest

import iot_client.events as iot
from experiments.simulation.checker import validate
from experiments.simulation.record import Started, Trace
from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from experiments.simulation.simulate import simulate
from iot_client.outcome import Done, Dropped
from wire.protocol import Submit, Welcome

STAGES = (Stage(device_ms=0.5), Stage(device_ms=4, cloud_ms=2, nbytes=20_000), Stage(device_ms=4, cloud_ms=2, nbytes=300))


def run(seed: int = 1, *, server: Server | None = None, network: Network | None = None, **device: Any) -> Trace:
    """One device, one server; every promise must be kept."""
    plan = Scenario(
        stages=STAGES, devices=(Device(network=network or Network(latency_ms=10, mbit_s=50), **device),), server=server or Server()
    )
    trace = simulate(plan, seed)
    assert validate(trace) == []
    return trace


def times(trace: Trace, kind: type, message: type | None = None) -> list[float]:
    """When the device heard or said this."""
    here = [(at, what) for at, host, what, _ in trace.records if host == "device0" and type(what) is kind]
    return [at for at, what in here if message is None or type(getattr(what, "message", None)) is message]


def outcomes(trace: Trace) -> list[Any]:
    """The outcomes in order of delivery."""
    return [what.outcome for _, _, what, _ in trace.records if type(what) is iot.Deliver]


@pytest.mark.parametrize("seed", range(20))
def test_a_restarted_server_serves_again_within_a_second_and_a_half(seed: int) -> None:
    """Killed for 0.1 to 3 s in live mode: welcomed again <= 1.5 s after it listens, and a server's result soon after."""
    trace = run(seed, server=Server(kills=((2.0, 0.1 + seed * 0.15),)), k=1, fps=30, frames=240)
    listens = [at for at, host, what, _ in trace.records if host == "server" and type(what) is Started][1]
    welcomed = min(at for at in times(trace, iot.MessageReceived, Welcome) if at > listens)
    assert welcomed - listens <= 1.5
    done = [at for at, _, what, _ in trace.records if type(what) is iot.Deliver and what.outcome == Done("cloud") and at > listens]
    assert min(done) - listens <= 2.0


def test_a_dead_server_leaves_no_gap_in_live_mode() -> None:
    """With the server gone for two seconds the device goes on by itself: no pause between frames beyond the age bound."""
    trace = run(server=Server(kills=((2.0, 2.0),)), k=1, fps=30, frames=240, max_age_ms=300)
    delivered = times(trace, iot.Deliver)
    assert max(b - a for a, b in zip(delivered, delivered[1:])) <= 0.3 + 1 / 30
    during = [what.outcome for at, _, what, _ in trace.records if type(what) is iot.Deliver and 2.5 < at < 4.0]
    assert len(during) > 40
    assert all(outcome == Done("device") for outcome in during)


def test_a_blackhole_is_left_after_the_silence_allowed() -> None:
    """A connection that swallows everything without a word is reopened within 2.5 s, and lossless loses nothing."""
    trace = run(network=Network(latency_ms=10, mbit_s=50, blackholes=(1.0,)), k=2, mode="lossless", fps=50, frames=150)
    assert [at for at in times(trace, iot.Reopen) if 1.0 < at <= 3.5]
    assert outcomes(trace) == [Done(outcome.where) for outcome in outcomes(trace)]


def test_a_slow_link_is_not_taken_for_a_dead_one() -> None:
    """Results of 170 KB over 0.5 Mbit/s take longer than the silence allowed, and still get through, all of them."""
    stages = (*STAGES[:2], Stage(cloud_ms=1, nbytes=170_000, placement="cloud"))
    plan = Scenario(stages=stages, devices=(Device(mode="lossless", k=2, frames=20, network=Network(mbit_s=0.5)),))
    trace = simulate(plan, 1)
    assert validate(trace) == []
    assert len(times(trace, iot.Reopen)) <= 4


def test_a_slow_uplink_is_not_filled_with_copies() -> None:
    """100 KB frames, six of them on their way over 1 Mbit/s, wait seconds for their receipts, and none is sent twice."""
    stages = (Stage(), Stage(nbytes=100_000), Stage(placement="cloud"))
    device = Device(k=2, mode="lossless", frames=60, window=6, network=Network(latency_ms=50, mbit_s=1))
    trace = simulate(Scenario(stages=stages, devices=(device,)), 1)
    assert validate(trace) == []
    sent = [what.message.seq for _, _, what, _ in trace.records if type(what) is iot.SendMessage and type(what.message) is Submit]
    assert sorted(sent) == list(range(60))


def test_a_lost_submit_is_sent_again_when_the_next_pong_shows_it() -> None:
    """On a link that drops 5 % of all messages lossless mode still delivers all, each resend on evidence."""
    trace = run(network=Network(latency_ms=5, mbit_s=50, drop=0.05), k=1, mode="lossless", frames=200)
    assert len(outcomes(trace)) == 200
    assert not any(type(outcome) is Dropped for outcome in outcomes(trace))


def test_a_hung_server_costs_a_live_stream_no_more_than_its_age_bound() -> None:
    """A server that stands still for three seconds delays no frame beyond the bound, and each has its outcome."""
    trace = run(server=Server(hangs=((2.0, 3.0),)), k=1, fps=30, frames=240, max_age_ms=200)
    delivered = [what for _, _, what, _ in trace.records if type(what) is iot.Deliver]
    assert max(what.latency for what in delivered) <= 0.2 + 1e-6
    assert len(delivered) == 240


def test_lossless_over_five_kills_loses_and_repeats_nothing() -> None:
    """Five restarts while the window is full: every frame Done once, in order."""
    kills = tuple((0.5 + 0.7 * i, 0.2) for i in range(5))
    trace = run(server=Server(kills=kills), k=1, mode="lossless", frames=600)
    assert [type(outcome) for outcome in outcomes(trace)] == [Done] * 600


def test_three_devices_share_a_server_and_nothing_crosses_over() -> None:
    """Three devices with different cuts on one server of one worker get each their own values."""
    devices = tuple(Device(k=k, mode="lossless", frames=80, network=Network(latency_ms=k)) for k in (1, 2, 3))
    assert validate(simulate(Scenario(stages=STAGES, devices=devices, server=Server(workers=1, batched=True)), 3)) == []


def test_reconnects_grant_no_more_than_the_credit() -> None:
    """Four resets while slow jobs are outstanding: what the server holds stays within 25 KB, as the checker counts."""
    stages = (Stage(), Stage(nbytes=10_000), Stage(cloud_ms=300, placement="cloud"))
    network = Network(latency_ms=10, mbit_s=50, resets=(0.5, 1.1, 1.7, 2.3))
    plan = Scenario(
        stages=stages, devices=(Device(network=network, k=2, mode="lossless", frames=40),), server=Server(workers=1, credit=25_000)
    )
    assert validate(simulate(plan, 1)) == []
