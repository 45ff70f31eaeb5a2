"""A result counts only on a lab that does what it says: round trip, rates and CPU share, measured and compared.

    found = calibrate(network)      # before network.play(), while the first point of the trace holds
    if not found.ok:
        raise LabError(found.text)
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

import msgspec

from experiments.links import LinkPoint
from experiments.live.cgroup import CpuQuota
from experiments.live.network import LabError, Network, Side, inside

__all__ = ["Calibration", "CpuCalibration", "calibrate", "calibrate_cpu", "goodput", "round_trips"]

PINGS = 9
RTT_TOLERANCE = 1.0  # ms
RATE_TOLERANCE = 0.07
CPU_TOLERANCE = 0.02  # cores
HEADERS = 52  # bytes of IPv4 and TCP with timestamps, in every packet
CHUNK = 64 * 1024


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What a network gave: median round trip in ms, TCP payload in Mbit/s plus its headers, and whether that is as asked."""

    rtt_ms: float
    up_mbit: float
    down_mbit: float
    ok: bool
    text: str


class CpuCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """What a quota gave: cores obtained by a process that wants more, and whether that is as asked."""

    cores: float
    ok: bool
    text: str


def calibrate(network: Network, *, seconds: float = 1.5) -> Calibration:
    """Compares a network, at the first point of its trace, with what the trace says; `seconds` for each direction.

    A link that is cut or loses packets has no rate to compare: there the text says so, and ok is False.
    """
    point = network.trace.points[0]
    if point.cut or point.loss:
        return Calibration(rtt_ms=0, up_mbit=0, down_mbit=0, ok=False, text="a link that begins with loss or a cut cannot be calibrated")
    rtt = 1e3 * statistics.median(round_trips(network, PINGS))
    rates = [goodput(network, side, seconds) for side in ("device", "server")]
    return _judge(point, rtt, rates[0], rates[1])


def _judge(point: LinkPoint, rtt: float, up: float, down: float) -> Calibration:
    small = 60 * 8 / 1e3  # a ping's kilobits, which take their turn in both directions
    wanted = 2 * point.delay_ms + small / point.up_mbit + small / point.down_mbit
    faults = []
    if abs(rtt - wanted) > RTT_TOLERANCE + point.jitter_ms:
        faults.append(f"round trip {rtt:.1f} ms, asked {wanted:.1f} +- {RTT_TOLERANCE + point.jitter_ms:g}")
    for what, got, asked in (("upload", up, point.up_mbit), ("download", down, point.down_mbit)):
        if abs(got / asked - 1) > RATE_TOLERANCE:
            faults.append(f"{what} {got:.2f} Mbit/s, asked {asked:g} +- {RATE_TOLERANCE:.0%}")
    rates = f"upload {up:.2f} of {point.up_mbit:g} Mbit/s, download {down:.2f} of {point.down_mbit:g} Mbit/s"
    text = f"round trip {rtt:.1f} of {wanted:.1f} ms, {rates}"
    if faults:
        text = f"calibration failed: {'; '.join(faults)}; is the machine busy?"
    return Calibration(rtt_ms=rtt, up_mbit=up, down_mbit=down, ok=not faults, text=text)


def calibrate_cpu(quota: CpuQuota, *, seconds: float = 1.0) -> CpuCalibration:
    """Lets a process that never rests run in the quota and compares what it got; nothing else may run in it meanwhile."""
    wanted = min(1.0, quota.cores)
    burner = subprocess.Popen(quota.command([sys.executable, "-c", "while True: pass"]))
    try:
        time.sleep(0.1)
        began, before = time.monotonic(), quota.usage()
        time.sleep(seconds)
        cores = (quota.usage() - before) / (time.monotonic() - began)
    finally:
        burner.kill()
        burner.wait()
    ok = abs(cores - wanted) <= CPU_TOLERANCE
    text = f"CPU share {cores:.3f}, asked {wanted:.3f} +- {CPU_TOLERANCE}"
    return CpuCalibration(cores=cores, ok=ok, text=text if ok else f"calibration failed: {text}; is the machine busy?")


def round_trips(network: Network, count: int, *, timeout: float = 3.0) -> list[float]:
    """Seconds of ICMP echoes from the device to the server, which its kernel answers; LabError where one is not answered."""
    with inside(network.device_ns):
        ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with ping:
        ping.settimeout(timeout)
        return [_ping(ping, network.server_ip, number) for number in range(count)]


def _ping(ping: socket.socket, address: str, number: int) -> float:
    key = struct.pack("!HH", os.getpid() & 0xFFFF, number)
    body = key + bytes(32)
    began = time.monotonic()
    ping.sendto(b"\x08\x00" + _checksum(b"\x08\x00\x00\x00" + body) + body, (address, 0))
    while True:
        try:
            answer = ping.recv(256)
        except TimeoutError as error:
            raise LabError(f"no answer to ping {number} from {address} within {ping.gettimeout()} s; is the link cut?") from error
        if answer[20:21] == b"\x00" and answer[24:28] == key:
            return time.monotonic() - began


def _checksum(data: bytes) -> bytes:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def goodput(network: Network, sender: Side, seconds: float) -> float:
    """Mbit/s of one TCP connection from that side, headers included: payload received x packet / (packet - HEADERS).

    The first quarter of the time is not counted: in it the connection finds the rate.
    """
    receiver: Side = "server" if sender == "device" else "device"
    address = network.server_ip if sender == "device" else network.device_ip
    with inside(network.namespace(receiver)):
        listener = socket.create_server((address, 0))
    with inside(network.namespace(sender)):
        source = socket.socket()
    mtu = network.mtu
    with listener, source:
        source.settimeout(10)
        source.connect(listener.getsockname())
        sink, _ = listener.accept()
        pump = threading.Thread(target=_pump, args=(source,))
        pump.start()
        try:
            with sink:
                rate = _received(sink, seconds)
        finally:
            pump.join()
    return rate * mtu / (mtu - HEADERS)


def _pump(source: socket.socket) -> None:
    """Sends until the far end hangs up."""
    chunk = bytes(CHUNK)
    try:
        while True:
            source.sendall(chunk)
    except OSError:  # that is the end of the measurement
        source.close()


def _received(sink: socket.socket, seconds: float) -> float:
    """Mbit/s of payload over the last three quarters of the time."""
    sink.settimeout(10)
    began = time.monotonic()
    marks: list[tuple[float, int]] = []
    total = 0
    while (now := time.monotonic()) < began + seconds:
        if now > began + seconds / 4:
            marks.append((now, total))
        total += len(sink.recv(CHUNK))
    first, last = marks[0], marks[-1]
    return (last[1] - first[1]) * 8 / 1e6 / (last[0] - first[0])
