"""What others do in the same blackout and at the same death of a server: imagezmq REQ/REP and vidgear NetGear.

    python -m chaos.rivals serve|send imagezmq|vidgear HOST PORT [SECONDS OUT]

The device's end sends pictures at 30 fps, as their examples do, and notes when each was answered or confirmed.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.child import free_port
from chaos.cuts import network_of
from chaos.registry import Run, Seen, Skipped, promise
from chaos.site import Process, Wrap
from experiments.links import LinkSpec
from experiments.live.child import in_namespace

__all__ = ["main", "others_in_a_blackout", "others_when_the_server_dies"]

RIVALS = ("imagezmq", "vidgear")
FPS = 30.0


def _serve(rival: str, host: str, port: int) -> None:
    if rival == "imagezmq":
        hub = importlib.import_module("imagezmq").ImageHub(open_port=f"tcp://{host}:{port}")
        print("ready", flush=True)
        while True:
            hub.recv_image()
            hub.send_reply(b"OK")
    gear = _gear(host, port, receive_mode=True)
    print("ready", flush=True)
    while gear.recv() is not None:
        pass


def _gear(host: str, port: int, *, receive_mode: bool) -> Any:
    netgear = importlib.import_module("vidgear.gears").NetGear
    return netgear(address=host, port=str(port), protocol="tcp", pattern=1, receive_mode=receive_mode, logging=False)


def _send(rival: str, host: str, port: int, seconds: float, out: str) -> None:
    times: list[float] = []
    picture = np.random.default_rng(0).integers(0, 256, (96, 72, 3), np.uint8)
    one = _sender(rival, host, port, picture)

    def loop() -> None:
        began = time.monotonic()
        while True:
            one()
            times.append(time.monotonic())
            slot = int((time.monotonic() - began) * FPS) + 1
            time.sleep(max(0.0, began + slot / FPS - time.monotonic()))

    threading.Thread(target=loop, daemon=True).start()  # it may hang for ever
    while not times:
        time.sleep(0.01)
    print("playing", flush=True)
    time.sleep(seconds)
    Path(out).write_bytes(msgspec.msgpack.encode(times))
    print("over", flush=True)
    sys.stdout.flush()
    os._exit(0)  # the loop may hang in a call that nothing ends


def _sender(rival: str, host: str, port: int, picture: Any) -> Callable[[], object]:
    if rival == "imagezmq":
        sender = importlib.import_module("imagezmq").ImageSender(connect_to=f"tcp://{host}:{port}")
        return lambda: sender.send_image("camera", picture)
    gear = _gear(host, port, receive_mode=False)
    return lambda: gear.send(picture)


def main() -> None:
    """One end of one of them."""
    role, rival, host, port = *sys.argv[1:4], int(sys.argv[4])
    if role == "serve":
        _serve(rival, host, port)
    else:
        _send(rival, host, port, float(sys.argv[5]), sys.argv[6])


def _figures(rival: str, times: Sequence[float], fault: float, back: float) -> dict[str, float | str]:
    before = max((time for time in times if time < fault + 0.2), default=fault)
    again = next((time for time in times if time > back), None)
    until = "no answer any more" if again is None else round(again - back, 2)
    return {f"{rival}: s until back": until, f"{rival}: gap s": "to the end" if again is None else round(again - before, 2)}


def _needs() -> None:
    for rival in RIVALS:
        try:
            importlib.import_module(rival)
        except ImportError:
            raise Skipped(f"{rival} is not installed: pip install '.[bench]' in the checkout") from None


def _rival(run: Run, rival: str, seconds: float, host: str, server: Wrap, device: Wrap) -> tuple[Process, Process, Path, list[str]]:
    port, out = free_port(), run.folder / rival
    serving = ["-m", "chaos.rivals", "serve", rival, host, str(port)]
    there = Process(serving, wrap=server)
    there.hear("ready")
    here = Process(["-m", "chaos.rivals", "send", rival, host, str(port), str(seconds), str(out)], wrap=device)
    here.hear("playing")
    return there, here, out, serving


@promise(2, "to compare: imagezmq REQ/REP and vidgear NetGear in a blackout of 5 s", quick=20, full=30)
def others_in_a_blackout(run: Run) -> Seen:
    """The link of `cuts.blackouts`; how long after its end an answer comes, within so many seconds."""
    _needs()
    figures: dict[str, float | str] = {}
    for rival in RIVALS:
        spec = LinkSpec(up_mbit=50, delay_ms=20, cuts=((3.0, 5.0),))
        with network_of(spec, 60.0) as network:
            there, here, out, _ = _rival(
                run, rival, float(run.count), network.server_ip, lambda argv: in_namespace(network.server_ns, argv),
                lambda argv: in_namespace(network.device_ns, argv),
            )
            try:
                began = network.play()
                here.hear("over", run.count + 20.0)
            finally:
                here.end()
                there.end()
        figures |= _figures(rival, msgspec.msgpack.decode(out.read_bytes(), type=list[float]), began + 3.0, began + 8.0)
    return Seen(good=1, tried=1, figures=figures)


@promise(2, "to compare: imagezmq REQ/REP and vidgear NetGear when their server is killed and started again", quick=15, full=30)
def others_when_the_server_dies(run: Run) -> Seen:
    """Killed after 2 s, started again at once; how long after it listens an answer comes."""
    _needs()
    figures: dict[str, float | str] = {}
    for rival in RIVALS:
        there, here, out, serving = _rival(run, rival, float(run.count), "127.0.0.1", _here, _here)
        try:
            time.sleep(2.0)
            fault = time.monotonic()
            there.strike()
            again = Process(serving)
            try:
                back = again.hear("ready")
                here.hear("over", run.count + 20.0)
            finally:
                again.end()
        finally:
            here.end()
            there.end()
        figures |= _figures(rival, msgspec.msgpack.decode(out.read_bytes(), type=list[float]), fault, back)
    return Seen(good=1, tried=1, figures=figures)


def _here(argv: Sequence[str]) -> Sequence[str]:
    return argv


if __name__ == "__main__":
    main()
