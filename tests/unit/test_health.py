"""What a program tells orchestrators: health, readiness, metrics over HTTP, and sd_notify."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics.exposition import Distribution, Figure, exposition
from metrics.health import Vitals, ask, parse_address
from metrics.histogram import LogHistogram
from metrics.pulse import Pulse
from metrics.service import notify, watchdog_seconds


class Loop:
    """Turns when it is woken, unless it is stuck."""

    def __init__(self) -> None:
        self.turns = 0
        self.stuck = False

    def wake(self) -> None:
        self.turns += not self.stuck


def some_figures() -> Iterator[Figure | Distribution]:
    latencies = LogHistogram()
    for seconds in (0.003, 0.03, 0.3):
        latencies.add(seconds)
    yield Figure("spillway_test_sessions", "Devices.", {"": 2})
    yield Figure("spillway_test_drops_total", "Drops.", {"late": 3, 'a "b"\n': 1}, "reason")
    yield Distribution("spillway_test_latency_seconds", "Latency.", latencies)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def vitals(loop: Loop) -> Iterator[Vitals]:
    with Vitals(Pulse(lambda: loop.turns, loop.wake, 0.2), some_figures, port=0) as vitals:
        yield vitals


def get(vitals: Vitals, path: str) -> tuple[bool, str]:
    assert vitals.port is not None
    return ask("127.0.0.1", vitals.port, path)


def test_ready_from_serving_to_stopping(vitals: Vitals) -> None:
    """Healthy all the time; ready only in between, with the reason before and after."""
    assert [get(vitals, "/healthz"), get(vitals, "/readyz")] == [(True, "ok"), (False, "starting")]
    vitals.serving()
    assert [get(vitals, "/healthz"), get(vitals, "/readyz")] == [(True, "ok"), (True, "ok")]
    vitals.stopping()
    assert [get(vitals, "/healthz"), get(vitals, "/readyz")] == [(True, "ok"), (False, "stopping")]


def test_a_stuck_loop_is_unhealthy(vitals: Vitals, loop: Loop) -> None:
    """Woken, it does not turn: neither healthy nor ready, until it does."""
    vitals.serving()
    loop.stuck = True
    assert [get(vitals, "/healthz"), get(vitals, "/readyz")] == [(False, "the loop does not turn")] * 2
    loop.stuck = False
    assert get(vitals, "/healthz") == (True, "ok")


def test_metrics_are_what_prometheus_reads(vitals: Vitals) -> None:
    """Gauge, counter with an escaped label, histogram with cumulative buckets: the parser of the client library takes them."""
    from prometheus_client.parser import text_string_to_metric_families as parsed

    assert get(vitals, "/metrics")[0]
    samples = {(s.name, *s.labels.values()): s.value for f in parsed(exposition(some_figures()).decode()) for s in f.samples}
    assert samples["spillway_test_sessions",] == 2
    assert samples["spillway_test_drops_total", "late"] == 3
    assert samples["spillway_test_drops_total", 'a "b"\n'] == 1
    buckets = [samples["spillway_test_latency_seconds_bucket", bound] for bound in ("0.002", "0.005", "0.05", "0.5", "+Inf")]
    assert buckets == [0, 1, 2, 3, 3]
    assert samples["spillway_test_latency_seconds_sum",] == pytest.approx(0.333)


def test_other_paths_say_which_there_are(vitals: Vitals) -> None:
    """404 with the legal ones."""
    assert get(vitals, "/") == (False, "there are /healthz, /readyz and /metrics")


def test_nobody_there_is_not_well() -> None:
    """The client says whom it asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    well, words = ask("127.0.0.1", port)
    assert not well
    assert f"nobody answers at 127.0.0.1:{port}" in words


def test_those_who_say_nothing_do_not_keep_others_out(vitals: Vitals) -> None:
    """Forty connections that never ask: the next request is answered or closed at once, and answered when they are gone."""
    assert vitals.port is not None
    silent = [socket.create_connection(("127.0.0.1", vitals.port)) for _ in range(40)]
    get(vitals, "/healthz")
    for each in silent:
        each.close()
    assert any(get(vitals, "/healthz")[0] for _ in range(200))


def test_the_port_is_free_again_at_once(loop: Loop) -> None:
    """Closed with a connection open, the next one gets the same port."""
    pulse = Pulse(lambda: loop.turns, loop.wake, 0.2)
    with Vitals(pulse, some_figures, port=0) as first:
        assert first.port is not None
        get(first, "/healthz")
        lingering = socket.create_connection(("127.0.0.1", first.port))
    with lingering, Vitals(pulse, some_figures, port=first.port) as second:
        assert get(second, "/healthz") == (True, "ok")


@pytest.mark.parametrize(("text", "address"), [("9100", ("127.0.0.1", 9100)), ("h:1", ("h", 1)), ("[::1]:9100", ("::1", 9100))])
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """A port alone is one of this machine."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:0", "host:99999", "host:x"])
def test_what_is_no_address(text: str) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match="write HOST:PORT"):
        parse_address(text)


def test_systemd_hears_the_whole_life(tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY once it serves, WATCHDOG while the loop turns and not while it is stuck, STOPPING at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        with Vitals(Pulse(lambda: loop.turns, loop.wake, 0.2), some_figures) as vitals:
            vitals.serving()
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            loop.stuck = True
            heard = drain(systemd)
            assert heard.count(b"WATCHDOG=1") <= 2
        assert systemd.recv(100) == b"STOPPING=1"


def drain(link: socket.socket) -> list[bytes]:
    """All that comes until nothing has come for half a second."""
    heard, before = [], link.gettimeout()
    link.settimeout(0.5)
    try:
        while True:
            heard.append(link.recv(100))
    except TimeoutError:
        return heard
    finally:
        link.settimeout(before)


def test_where_nobody_listens_nothing_is_said() -> None:
    """No socket, a path that is none, a socket nobody holds: no error, no watchdog."""
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "somewhere"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    assert watchdog_seconds({}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "5000000"}) == 5.0


def test_no_thread_is_left(loop: Loop) -> None:
    """Closed, everything is gone; the thread of an answer may take a moment more."""
    before = set(threading.enumerate())
    with Vitals(Pulse(lambda: loop.turns, loop.wake, 0.2), some_figures, port=0) as vitals:
        vitals.serving()
        get(vitals, "/healthz")
    begun = [thread for thread in threading.enumerate() if thread not in before]
    for thread in begun:
        thread.join(2.0)
    assert not any(thread.is_alive() for thread in begun)
