"""A test network of its own: a device's and a server's namespace, and a link between them that replays a trace.

    with Network(LinkSpec(up_mbit=10, delay_ms=25).trace(60)) as network:
        server = Popen(network.command("server", ["cloud-server", "--bind", f"tcp://{network.server_ip}:5555"]))
        network.play()

Nothing outside the two namespaces is touched. The link is the user-space one of tun.py on every kernel: netem is
missing in many, reorders under jitter, and counts its buffer in packets, so that results would not compare.
All is removed at the end of the block, also after an exception, Ctrl-C and SIGTERM; what a killed owner left is
removed when the next network is made.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

import msgspec

from experiments.links import LinkTrace

__all__ = ["LOG_COLUMNS", "LOG_PERIOD", "LabError", "LinkConfig", "Network", "Side", "inside", "unavailable"]

LOG_COLUMNS = (
    "time", "trace_s", "up_bytes", "down_bytes", "up_mbit", "down_mbit", "up_queue", "down_queue",
    "up_dropped", "down_dropped", "up_lost", "down_lost", "cut",
)  # fmt: skip
"""time.monotonic(), seconds into the trace (empty before it), bytes carried so far, the trace's rates, bytes in the buffers,
packets dropped by full buffers and lost by chance or cuts so far, whether the link is cut."""
LOG_PERIOD = 0.1
INTERFACE = "link0"
DEVICE_IP, SERVER_IP = "10.77.0.1", "10.77.0.2"
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
CAPABILITIES = (12, 21)  # NET_ADMIN and SYS_ADMIN, <linux/capability.h>
NAME = re.compile(r"spw[\w.-]*-(\d+)-[0-9a-f]{6}[ds]")
NETNS = Path("/run/netns")
Side = Literal["device", "server"]


class LabError(Exception):
    """The lab lacks what it needs, or a part of it failed; the text says what to do."""


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the process that carries the packets is told at its start."""

    device_ns: str
    server_ns: str
    trace: LinkTrace
    buffer_bytes: int
    seed: int
    mtu: int
    log: str
    interface: str = INTERFACE


class Network:
    """Two namespaces and the link between them.

    Args:
        trace: what the link does from play() on; until then its first point holds.
        name: a word in the namespaces' names, for people who look at `ip netns`.
        log: where the CSV of LOG_COLUMNS goes, a row every LOG_PERIOD s; without it a file that is removed at the end.
        buffer_bytes: of the bottleneck, each way; never less than 250 ms of the rate of the time.
        mtu: of the link, in bytes.
        seed: of losses and jitter.
        congestion: TCP's congestion control in both namespaces, the machine's default where not given.

    Raises:
        LabError: on entry, the host lacks something (`unavailable`), or the link did not start.
    """

    def __init__(
        self, trace: LinkTrace, *, name: str = "", log: str | Path | None = None, buffer_bytes: int = 256 * 1024, mtu: int = 1500,
        seed: int = 0, congestion: str | None = None,
    ) -> None:  # fmt: skip
        stem = f"spw{name and '-' + name}-{os.getpid()}-{secrets.token_hex(3)}"
        self.trace = trace
        self.device_ns, self.server_ns = f"{stem}d", f"{stem}s"
        self.device_ip, self.server_ip = DEVICE_IP, SERVER_IP
        self._own_log = log is None
        self.log = Path(tempfile.gettempdir()) / f"{stem}.csv" if log is None else Path(log)
        self._config = LinkConfig(
            device_ns=self.device_ns, server_ns=self.server_ns, trace=trace, buffer_bytes=buffer_bytes, seed=seed, mtu=mtu,
            log=str(self.log),
        )  # fmt: skip
        self.mtu = mtu
        self._congestion = congestion
        self._link: subprocess.Popen[str] | None = None
        self._terminate: Any = None
        if not NAME.fullmatch(self.device_ns):
            raise ValueError(f"network: name = {name!r}, legal are letters, digits, '_', '.' and '-'")

    def __enter__(self) -> Network:
        if lacking := unavailable():
            raise LabError(lacking)
        self.sweep()
        self._heed_sigterm()
        try:
            for namespace in (self.device_ns, self.server_ns):
                _ip("netns", "add", namespace)
                _ip("-n", namespace, "link", "set", "lo", "up")
                self._tune(namespace)
            self._start_link()
            self._address(self.device_ns, self.device_ip)
            self._address(self.server_ns, self.server_ip)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def link_pid(self) -> int:
        """The process that carries the packets."""
        assert self._link is not None, "the network is closed"
        return self._link.pid

    def namespace(self, side: Side) -> str:
        """The namespace of that side; ValueError for another word."""
        if side not in ("device", "server"):
            raise ValueError(f"network: side = {side!r}, legal are 'device' and 'server'")
        return self.device_ns if side == "device" else self.server_ns

    def command(self, side: Side, argv: Sequence[str]) -> list[str]:
        """The command line that runs argv on that side."""
        return ["ip", "netns", "exec", self.namespace(side), *argv]

    def play(self) -> float:
        """Starts the trace and returns the time.monotonic() of its 0."""
        return float(self._ask("play"))

    def carried(self) -> tuple[int, int]:
        """Bytes handed over so far, IP headers included: (upload, download)."""
        up, down = self._ask("carried").split()
        return int(up), int(down)

    def close(self) -> None:
        """Removes the link, both namespaces and a log that nobody asked for; a second call does nothing."""
        link, self._link = self._link, None
        if link is not None:
            _end(link)
        for namespace in (self.device_ns, self.server_ns):
            _delete(namespace)
        if self._own_log:
            self.log.unlink(missing_ok=True)
        if self._terminate is not None:
            signal.signal(signal.SIGTERM, self._terminate)
            self._terminate = None

    @staticmethod
    def sweep() -> list[str]:
        """Removes the namespaces of owners that are gone, and returns their names."""
        found = [(path.name, NAME.fullmatch(path.name)) for path in NETNS.iterdir()] if NETNS.is_dir() else []
        dead = [name for name, match in found if match and not Path(f"/proc/{match[1]}").exists()]
        for name in dead:
            _delete(name)
        return dead

    def _start_link(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._link = subprocess.Popen(
            [sys.executable, "-m", "experiments.live.tun"], env={**os.environ, "PYTHONPATH": path}, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        answer = self._ask(msgspec.json.encode(self._config).decode())
        if answer != "ready":
            raise LabError(f"the link did not start ({answer!r}); its error is above")

    def _address(self, namespace: str, address: str) -> None:
        _ip("-n", namespace, "address", "add", f"{address}/30", "dev", INTERFACE)
        _ip("-n", namespace, "link", "set", INTERFACE, "mtu", str(self._config.mtu), "txqueuelen", "1000", "up")

    def _tune(self, namespace: str) -> None:
        """A connection learns nothing from the one before, so that calibrating does not change a run; and IPv6 keeps quiet."""
        with inside(namespace):
            Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1", encoding="utf-8")
            silence = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
            if silence.exists():
                silence.write_text("1", encoding="utf-8")
            if self._congestion is not None:
                try:
                    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(self._congestion, encoding="utf-8")
                except OSError as error:
                    legal = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text(encoding="utf-8").strip()
                    more = "the machine's net.ipv4.tcp_allowed_congestion_control lets namespaces have others"
                    raise LabError(f"congestion = {self._congestion!r}, legal are: {legal}; {more}") from error

    def _ask(self, line: str) -> str:
        link = self._link
        if link is None:
            raise LabError("the network is closed; ask within its `with` block")
        assert link.stdin is not None and link.stdout is not None
        try:
            link.stdin.write(f"{line}\n")
            answer = link.stdout.readline().strip()
        except OSError as error:
            raise LabError(f"the link process ended with {link.wait()}; its error is above") from error
        if not answer:
            raise LabError(f"the link process ended with {link.wait()}; its error is above")
        return answer

    def _heed_sigterm(self) -> None:
        """SIGTERM ends the block like an exit; a handler that is there already is left alone."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._terminate = signal.signal(signal.SIGTERM, _exit)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets, TUN devices and sysctls that this thread opens in the block belong to that network namespace.

    They stay there after it. Raises LabError where the namespace cannot be entered.
    """
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12

    def enter(fd: int) -> None:
        if libc.setns(fd, CLONE_NEWNET):
            raise LabError(f"cannot enter network namespace {namespace}: {os.strerror(ctypes.get_errno())}")

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(NETNS / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(away)
        finally:
            os.close(away)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def unavailable() -> str:
    """What this host lacks for a test network, as one sentence; empty where nothing is missing."""
    if shutil.which("ip") is None:
        return "a test network needs the program `ip`: install the package iproute2"
    rights = int(re.findall(r"CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(encoding="utf-8"))[0], 16)
    if not all(rights >> bit & 1 for bit in CAPABILITIES):
        return "a test network needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN: run as root, in a container with --privileged"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"a test network needs /dev/net/tun ({error.strerror}): run modprobe tun, or give the container --device /dev/net/tun"
    return ""


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise LabError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip() or done.returncode}; see `ip netns` for what is there")


def _delete(namespace: str) -> None:
    if (NETNS / namespace).exists():
        _ip("netns", "delete", namespace)


def _end(link: subprocess.Popen[str]) -> None:
    """Closes the line, which ends the process, and its devices with it."""
    assert link.stdin is not None and link.stdout is not None
    try:
        link.stdin.close()
    except OSError:  # it died before it took its last line
        pass
    try:
        link.wait(3)
    except subprocess.TimeoutExpired:
        link.kill()
        link.wait()
    link.stdout.close()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
