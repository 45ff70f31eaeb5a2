"""Claims on the lab's real parts: the link carries what its trace says, a quota holds, and nothing is left behind."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.links import LinkPoint, LinkSpec, LinkTrace, LoadSpec
from experiments.live.calibrate import calibrate, calibrate_cpu, round_trips
from experiments.live.cgroup import CpuQuota
from experiments.live.load import Load, shares
from experiments.live.network import LabError, Network, inside, unavailable
from experiments.live.tun import Direction
from tests.conftest import REPO
from tests.integration.patience import patient

NETNS = Path("/run/netns")
needs_network = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


def direction(*points: LinkPoint, buffer: int = 256 * 1024) -> Direction:
    """The upload of a link that plays since 100."""
    made = Direction(LinkTrace(points), up=True, buffer=buffer, seed=1)
    made.play(100.0)
    return made


def point(at: float, up_mbit: float, **others: float) -> LinkPoint:
    return LinkPoint(at=at, up_mbit=up_mbit, down_mbit=99, **others)  # type: ignore[arg-type]


def test_a_packet_takes_its_turn_and_its_delay() -> None:
    """Packets leave one after the other at the rate, and arrive the delay later: 1000 bytes take 1 ms at 8 Mbit/s."""
    link = direction(point(0, 8, delay_ms=20))
    link.accept(bytes(1000), 100.0)
    assert link.next_due == pytest.approx(100.021)
    link.accept(bytes(1000), 100.0005)
    assert link.backlog == 2000
    link.settle(100.0015)
    assert link.backlog == 1000


def test_a_change_of_the_rate_counts_within_a_packet() -> None:
    """A packet half of which is through when the rate falls sends the other half at the new rate."""
    link = direction(point(0, 8), point(1, 0.8))
    link.accept(bytes(1000), 100.9995)
    assert link.next_due == pytest.approx(101.005)


def test_a_full_buffer_drops_the_newest() -> None:
    """What does not fit in the buffer is dropped and counted, and there is room again when packets have left."""
    link = direction(point(0, 0.8), buffer=30_000)
    for _ in range(31):
        link.accept(bytes(1000), 100.0)
    assert (link.backlog, link.dropped) == (30_000, 1)
    link.accept(bytes(1000), 100.011)
    assert (link.backlog, link.dropped) == (30_000, 1)


def test_a_cut_loses_what_comes_in_and_what_waits() -> None:
    """A packet that comes in during a cut is lost, as is one still in the buffer; before and after it, none."""
    link = direction(point(0, 8), point(1, 8, cut=True), point(2, 8))
    for now, lost in ((100.5, 0), (100.9995, 1), (101.5, 2), (102.0, 2)):
        link.accept(bytes(1000), now)
        assert link.lost == lost


def test_jitter_never_reorders() -> None:
    """Under jitter packets arrive within the delay +- jitter, or with the one before, and in order."""
    link = direction(point(0, 800, delay_ms=20, jitter_ms=10))
    for index in range(200):
        link.accept(bytes([index]), 100 + index * 0.001)
    reading, writing = os.pipe()
    took: list[float] = []
    for tick in range(2500):
        now = 100 + tick * 1e-4
        before = link.carried
        link.deliver(now, writing)
        took += [now - (100 + index * 0.001) for index in range(before, link.carried)]
    assert os.read(reading, 999) == bytes(range(200))
    assert 0.010 <= min(took) < 0.015 and 0.025 < max(took) <= 0.0302
    os.close(reading)
    os.close(writing)


def test_loss_is_a_share_of_the_packets() -> None:
    """A loss of 20 % takes about every fifth packet, after it took its turn on the link."""
    link = direction(point(0, 8, loss=0.2))
    for index in range(2000):
        link.accept(bytes(100), 100 + index * 0.001)
    assert link.lost == pytest.approx(400, rel=0.2)


@needs_network
def test_round_trip_and_rates_are_those_of_the_trace() -> None:
    """A link of 10 Mbit/s up, 20 down and 50 ms passes its own calibration."""
    with Network(LinkSpec(up_mbit=10, down_mbit=20, delay_ms=25).trace(60)) as network:
        found = patient(lambda: calibrate(network, seconds=1.2), lambda found: found.ok)
    assert found.ok, found.text
    assert found.rtt_ms == pytest.approx(50, abs=1.5) and (found.up_mbit, found.down_mbit) == pytest.approx((10, 20), rel=0.04)


@needs_network
def test_calibration_names_what_is_off() -> None:
    """A network that is not what was asked fails with the two numbers."""
    with Network(LinkSpec(up_mbit=10, delay_ms=5).trace(60)) as network:
        network.trace = LinkSpec(up_mbit=10, down_mbit=30, delay_ms=15).trace(60)
        found = calibrate(network, seconds=0.6)
    assert not found.ok
    assert "asked 30.1 +- 1" in found.text and "asked 30 +- 7%" in found.text and "upload" not in found.text


@contextmanager
def flood(network: Network) -> Iterator[None]:
    """UDP from the device, 28 Mbit/s and more than the link takes, while the block runs."""
    with inside(network.server_ns):
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind((network.server_ip, 0))
    with inside(network.device_ns):
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    over = threading.Event()

    def pour() -> None:
        while not over.wait(0.01):
            for _ in range(25):
                source.sendto(bytes(1372), sink.getsockname())

    thread = threading.Thread(target=pour)
    with sink, source:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def carried_mbit(log: Path, start: float, stop: float) -> float:
    """Mbit/s of the upload between two times of the trace, from the log."""
    lines = csv.DictReader(log.read_text().splitlines())
    rows = [(float(row["time"]), float(row["trace_s"] or -1), int(row["up_bytes"])) for row in lines]
    inner = [row for row in rows if start <= row[1] <= stop]
    return (inner[-1][2] - inner[0][2]) * 8e-6 / (inner[-1][0] - inner[0][0])


@needs_network
def test_the_trace_is_replayed_from_play_on(tmp_path: Path) -> None:
    """The log shows 16 Mbit/s, then 4, then nothing in a cut, then 4 again; bytes count as the owner is told."""
    trace = LinkTrace((point(0, 16), point(1, 4), point(2, 4, cut=True), point(2.6, 4)))
    log = tmp_path / "link.csv"
    with Network(trace, log=log, name="steps") as network:
        assert round_trips(network, 1)[0] < 0.1
        with flood(network):
            began = network.play()
            time.sleep(max(0.0, began + 3.6 - time.monotonic()))
        assert network.carried()[0] > 1e6 > network.carried()[1]
    assert carried_mbit(log, 0.25, 0.95) == pytest.approx(16, rel=0.03)
    assert carried_mbit(log, 1.05, 1.95) == pytest.approx(4, rel=0.03)
    assert carried_mbit(log, 2.1, 2.6) == 0
    assert carried_mbit(log, 2.8, 3.5) == pytest.approx(4, rel=0.03)


@needs_network
def test_a_cut_link_answers_nobody() -> None:
    """During a cut a ping has no answer, and the error asks for the cut; after it, pings are answered again."""
    with Network(LinkSpec(up_mbit=10, delay_ms=5, cuts=((0, 0.5),)).trace(9)) as network:
        began = network.play()
        with pytest.raises(LabError, match="is the link cut"):
            round_trips(network, 1, timeout=0.2)
        assert not calibrate(network).ok
        time.sleep(max(0.0, began + 0.55 - time.monotonic()))
        assert len(round_trips(network, 3)) == 3


@needs_network
def test_programs_run_on_their_side() -> None:
    """A command line for a side sees its own side's address, and an unknown side is an error."""
    with Network(LinkSpec(up_mbit=10).trace(9)) as network:
        for side, address in (("device", network.device_ip), ("server", network.server_ip)):
            argv = network.command(side, ["ip", "-4", "-o", "address"])  # type: ignore[arg-type]
            seen = subprocess.run(argv, capture_output=True, text=True, timeout=20)
            assert address in seen.stdout
        with pytest.raises(ValueError, match="'cloud'"):
            network.command("cloud", [])  # type: ignore[arg-type]


@needs_network
def test_an_exception_leaves_nothing() -> None:
    """After an exception in the block the namespaces, the link process and its log are gone."""
    network = Network(LinkSpec(up_mbit=10).trace(9))
    pids = []
    try:
        with network:
            pids.append(network.link_pid)
            assert (NETNS / network.device_ns).exists() and network.log.exists()
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not (NETNS / network.device_ns).exists() and not (NETNS / network.server_ns).exists()
    assert not Path(f"/proc/{pids[0]}").exists() and not network.log.exists()
    with pytest.raises(LabError, match="closed"):
        network.carried()


@needs_network
def test_a_network_that_does_not_start_leaves_nothing() -> None:
    """An unknown congestion control is an error that lists the allowed ones, after which no namespace is left."""
    network = Network(LinkSpec(up_mbit=10).trace(9), congestion="hope")
    with pytest.raises(LabError, match="'hope', legal are: .*reno"):
        network.__enter__()
    assert not (NETNS / network.device_ns).exists()


@needs_network
def test_a_dead_link_is_an_error() -> None:
    """When the link process was killed, the next question says how it ended; the rest is removed as always."""
    with Network(LinkSpec(up_mbit=10).trace(9)) as network:
        os.kill(network.link_pid, signal.SIGKILL)
        with pytest.raises(LabError, match="link process ended with -9"):
            network.play()
    assert not (NETNS / network.server_ns).exists()


OWNER = """
import time
from experiments.links import LinkSpec
from experiments.live.network import Network
with Network(LinkSpec(up_mbit=10).trace(9)) as network:
    print(network.device_ns, network.server_ns, network.link_pid, flush=True)
    time.sleep(60)
"""


@needs_network
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM remove all; after SIGKILL the link process ends by itself, and the next network removes the rest."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO)
    assert owner.stdout is not None
    device, server, pid = owner.stdout.readline().split()
    assert (NETNS / device).exists()
    owner.send_signal(number)
    owner.communicate(timeout=20)
    if number == signal.SIGKILL:
        assert set(Network.sweep()) >= {device, server}
    assert not (NETNS / device).exists() and not (NETNS / server).exists()
    deadline = time.monotonic() + 3
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}/exe").exists()


def test_without_rights_the_error_says_what_is_needed() -> None:
    """A user other than root gets one sentence, not a traceback of `ip`."""
    script = (
        "import os; from experiments.links import LinkSpec; from experiments.live.network import LabError, Network\n"
        "if not os.geteuid(): os.setuid(65534)\n"
        "try: Network(LinkSpec(up_mbit=10).trace(9)).__enter__()\n"
        "except LabError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, timeout=30)
    assert run.stdout.startswith("a test network needs ") and run.stdout.count("\n") == 1, run.stderr


@pytest.fixture
def quota() -> Iterator[CpuQuota]:
    """A quarter of a core."""
    made = CpuQuota(0.25)
    try:
        made.__enter__()
    except LabError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_a_quota_gives_its_share(quota: CpuQuota) -> None:
    """A process that never rests gets the quarter of a core it may have, and less when the quota says so."""
    found = patient(lambda: calibrate_cpu(quota, seconds=1.0), lambda found: found.ok)
    assert found.ok and found.cores == pytest.approx(0.25, abs=0.02), found.text
    assert quota.throttled() > 0
    quota.set(0.12)
    found = patient(lambda: calibrate_cpu(quota, seconds=0.6), lambda found: found.ok)
    assert found.cores == pytest.approx(0.12, abs=0.02)


def test_a_quota_is_removed_and_frees_its_processes(quota: CpuQuota) -> None:
    """A process that was added counts; one that outlives the group goes on outside of it."""
    child = subprocess.Popen(["sleep", "20"])
    try:
        quota.add(child.pid)
        folders = quota._folders
        assert all(str(child.pid) in (folder / "cgroup.procs").read_text().split() for folder in folders)
        quota.close()
        assert not any(folder.exists() for folder in folders) and child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("cores", [0.0, 1e6, float("nan")])
def test_a_quota_out_of_range_is_refused(cores: float) -> None:
    """No machine gives nothing, or a million cores."""
    with pytest.raises(ValueError, match="cores = "):
        CpuQuota(cores)


def taken(quota: CpuQuota) -> float:
    """Cores used in the group, over 0.8 s."""
    began, before = time.monotonic(), quota.usage()
    time.sleep(0.8)
    return (quota.usage() - before) / (time.monotonic() - began)


def test_a_load_takes_its_share_of_the_quota(quota: CpuQuota) -> None:
    """A neighbour of 0.2 cores takes them once it plays and not before; in a smaller quota it gets no more than that."""
    quota.set(1.0)
    with Load(LoadSpec(steps=((0, 0.2),)).trace(), quota=quota) as load:
        rested = quota.usage()
        time.sleep(0.2)
        assert quota.usage() - rested < 0.01
        load.play()
        for cores, expected in ((1.0, 0.2), (0.1, 0.1)):
            quota.set(cores)
            share = patient(lambda: taken(quota), lambda share: abs(share - expected) < 0.03)  # noqa: B023 (called at once)
            assert share == pytest.approx(expected, abs=0.03)
        pids = load.pids
    assert len(pids) == 1 and not Path(f"/proc/{pids[0]}").exists()


def test_a_load_of_many_cores_is_cut_into_layers() -> None:
    """2.5 cores are two whole ones and a half, at each time of the trace; no load needs no process."""
    layers = shares(LoadSpec(steps=((0, 0.5), (3, 2.5))).trace())
    assert [[layer.at(t) for layer in layers] for t in (0, 3)] == [[0.5, 0, 0], [1, 1, 0.5]]
    assert shares(LoadSpec().trace()) == []
