"""The command lines as processes, and a camera on loopback: what the tests of the client's command line share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).resolve().parents[2]
CLIENT = [sys.executable, "-m", "iot_client"]
RESULT_KEYS = [
    "stream", "seq", "outcome", "where", "split", "value", "reason", "latency_ms", "device_ms", "cloud_ms", "sent_bytes", "codec",
]
STAGES = ["get_frame", "calculate_hsv", "calculate_mask", "find_contours", "calculate_circle", "draw_circle"]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, in which the checkout is found and nothing else is set."""
    environ = {key: value for key, value in os.environ.items() if key not in ("HOST", "DISPLAY", "WAYLAND_DISPLAY")}
    return environ | {"PYTHONPATH": str(REPO)} | extra


def client(*arguments: object, cwd: Path | None = None, timeout: float = 60.0, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; fails if it leaves a traceback."""
    done = subprocess.run(
        [*CLIENT, *map(str, arguments)], cwd=cwd or REPO, env=environment(**environ), capture_output=True, text=True, timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


@contextmanager
def running(*arguments: object, cwd: Path | None = None, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The command line while it runs; killed if it still does when this is left."""
    command = [*CLIENT, *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=cwd or REPO, env=environment(**environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(path: Path) -> list[dict[str, object]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def counted(summary: dict[str, object]) -> int:
    """Outcomes in a summary."""
    return summary["done_device"] + summary["done_cloud"] + summary["filtered"] + sum(summary["dropped"].values()) + summary["failed"]


@contextmanager
def server(*arguments: object, cwd: Path | None = None) -> Iterator[int]:
    """The port of a real server, ready, on loopback."""
    command = [sys.executable, "-m", "cloud_server", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=cwd or REPO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready:"), ready + process.stdout.read()
        yield int(re.search(r":(\d+),", ready)[1])
    finally:
        process.terminate()
        process.communicate(timeout=20)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something another process does, at most 30 s."""
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


class Camera(BaseHTTPRequestHandler):
    """An IP camera (motion JPEG over HTTP) that is unplugged after a number of frames."""

    frames, stalls = 30, False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 128, np.uint8))[1].tobytes()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        try:
            for _ in range(self.frames):
                self.wfile.write(head + jpeg + b"\r\n")
                self.server.unplugged.wait(0.01)
            if self.stalls:
                self.server.unplugged.wait(60.0)
        except OSError:
            return  # the client left first

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def camera(frames: int, stalls: bool) -> Iterator[str]:
    """The camera's URL while it is served on loopback."""
    handler = type("Handler", (Camera,), {"frames": frames, "stalls": stalls})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.unplugged = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://me:secret@127.0.0.1:{server.server_port}/stream.mjpg"
    finally:
        server.unplugged.set()
        server.shutdown()
        server.server_close()
        thread.join()
