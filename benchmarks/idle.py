"""What an idle device costs: CPU and memory of a connected `iot-client` without frames, and what importing it imports."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

from benchmarks.child import Child, ChildFailed, free_port, python
from benchmarks.cpu import cpu_seconds
from benchmarks.report import Report, arguments, median

__all__ = ["main"]

TARGET_CPU = 1.0
"""Percent of a core."""
TARGET_RSS = 40.0
"""MB beyond Python with OpenCV and numpy."""
FORBIDDEN = ("torch", "matplotlib")
MODULES = ("iot_client", "iot_client.client", "iot_client.__main__")

_BARE = "import cv2, numpy, threading; print('ready', flush=True); threading.Event().wait()"
_CONNECT_TIMEOUT = 20.0
_SETTLE = 2.0
_MB = 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("idle", "CPU and memory of an idle, connected device; modules its import brings in.", rounds=1)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long to watch it (default 20)")
    options = parser.parse_args(argv)
    seconds = 3.0 if options.quick else options.seconds
    report = Report("idle", f"iot-client connected to a server for {seconds:.0f} s, no frames")
    try:
        _costs(report, [_idle(seconds) for _ in range(options.rounds)])
    except ChildFailed as error:
        report.problem(str(error))
    _imports(report)
    return report.finish(options.json)


def _costs(report: Report, measured: list[tuple[float, float]]) -> None:
    cpu, rss, bare = median([cpu for cpu, _ in measured]), median([rss for _, rss in measured]), _bare_rss()
    report.table("idle device", ("what", "value", "target"), [
        ["CPU, % of a core", cpu, f"<= {TARGET_CPU}"],
        ["RSS, MB", rss, None],
        ["RSS of Python + cv2 + numpy, MB", bare, None],
        ["RSS beyond that, MB", rss - bare, f"<= {TARGET_RSS:.0f}"],
    ])


def _idle(seconds: float) -> tuple[float, float]:
    """Percent of a core and MB of a connected client."""
    port = free_port()
    with Child(python("cloud_server", "--app", "benchmarks.idle_app:app", "--port", str(port), "--workers", "1")):
        command = python("iot_client", "1", "--host", "127.0.0.1", "--port", str(port), "--app", "benchmarks.idle_app:app", "--quiet")
        with Child(command, ready="") as client:
            _await_connection(client, port)
            time.sleep(_SETTLE)
            before, began = cpu_seconds(client.pid), time.monotonic()
            time.sleep(seconds)
            used = (cpu_seconds(client.pid) - before) / (time.monotonic() - began)
            _await_connection(client, port)
            return 100 * used, psutil.Process(client.pid).memory_info().rss / _MB


def _bare_rss() -> float:
    """MB of Python with only OpenCV and numpy imported."""
    with Child([sys.executable, "-c", _BARE]) as bare:
        return float(psutil.Process(bare.pid).memory_info().rss / _MB)


def _await_connection(client: Child, port: int) -> None:
    give_up = time.monotonic() + _CONNECT_TIMEOUT
    while time.monotonic() < give_up:
        links = psutil.Process(client.pid).net_connections("tcp")
        if any(link.raddr and link.raddr.port == port and link.status == psutil.CONN_ESTABLISHED for link in links):
            return
        time.sleep(0.1)
    raise ChildFailed(f"the client did not connect within {_CONNECT_TIMEOUT:.0f} s:\n{client.output()}")


def _imports(report: Report) -> None:
    """What `import iot_client` and its parts load, in fresh interpreters."""
    rows = []
    for module in MODULES:
        code = f"import {module}, sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
        done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)
        if done.returncode:
            report.problem(f"import {module}: {done.stderr.strip().splitlines()[-1]}")
            continue
        found = [name for name in FORBIDDEN if name in done.stdout.split()]
        rows.append([module, _milliseconds(done.stderr, module), ", ".join(found) or "none", "none"])
        if found:
            report.problem(f"import {module} imports {' and '.join(found)}")
    report.table("imports", ("module", "ms", f"of {', '.join(FORBIDDEN)}", "target"), rows)


def _milliseconds(trace: str, module: str) -> float:
    """Cumulative time of one module in the output of -X importtime (microseconds: self | cumulative | name)."""
    for line in trace.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[2].strip() == module:
            return int(fields[1]) / 1e3
    return float("nan")


if __name__ == "__main__":
    sys.exit(main())
