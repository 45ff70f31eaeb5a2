"""One turn over one link, with keys or without, alone in fresh processes: prints what it measured as JSON.

    python -m benchmarks.curve_turn --payload encoded --seconds 2 --keys
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.child import Child, free_port, python
from benchmarks.curve_app import app
from benchmarks.frames import SHAPES, natural
from benchmarks.isolated import give_up_after
from benchmarks.meter import Meter, Turn
from iot_client.client import Client
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import make_pair, write_pair

__all__ = ["PAYLOADS", "main"]

PAYLOADS = ("encoded", "jpeg:80", "raw")
"""A JPEG that lies ready; a frame encoded there and decoded here, as a camera's are; a frame as it lies in memory."""
HOST = "127.0.0.1"
WINDOW = 8
_STUCK = 60


def make_keys(folder: Path) -> tuple[Path, Path]:
    """A server's folder and a device's, which know each other."""
    server, device = folder / "server", folder / "device"
    for each in (server, device):
        each.mkdir()
    theirs, mine = make_pair("server"), make_pair("device")
    write_pair(server / SERVER_KEY, theirs)
    write_pair(device / DEVICE_KEY, mine)
    edit_keyring(server / DEVICES, lambda keys: keys.update(device=mine.public), "devices")
    edit_keyring(device / SERVERS, lambda keys: keys.update({HOST: theirs.public}), "servers")
    return server, device


def take_turn(payload: str, keys: tuple[Path, Path] | None, *, warmup: float, seconds: float) -> Turn:
    """Keep eight frames under way until the meter has what it wants."""
    port = free_port()
    given = [] if keys is None else ["--keys", str(keys[0])]
    command = python("cloud_server", "--app", "benchmarks.curve_app:app", "--port", str(port), "--workers", "1", "--quiet", *given)
    items = [_item(payload, seed) for seed in range(8)]
    with Child(command) as server:
        codec = payload if ":" in payload else "raw"
        client = Client(app, host=HOST, port=port, split=1, window=WINDOW, codec=codec, keys=None if keys is None else keys[1])
        with client:
            return _exchange(client, items, Meter(server.pid, warmup=warmup, seconds=seconds))


def _exchange(client: Client, items: list[Any], meter: Meter) -> Turn:
    sent = answered = 0
    results = client.results(timeout=20)
    while meter.turn is None:
        while sent - answered < WINDOW:
            client.submit(items[sent % len(items)])
            sent += 1
        result = next(results)
        if type(result.outcome).__name__ != "Done":
            raise RuntimeError(f"frame {result.seq}: {result.outcome}")
        answered += 1
        meter.count()
    client.end()
    for _ in results:
        pass
    return meter.turn


def _item(payload: str, seed: int) -> Any:
    import cv2

    image = natural(SHAPES["640x480"], seed)
    if payload != "encoded":
        return image
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG")
    return np.asarray(data).reshape(-1).copy()


def main() -> None:
    """Take one turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", choices=PAYLOADS, default="encoded")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--keys", action="store_true", help="CURVE, both sides with keys")
    options = parser.parse_args()
    give_up_after(_STUCK)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keys = make_keys(folder) if options.keys else None
        turn = take_turn(options.payload, keys, warmup=0.3 * options.seconds, seconds=options.seconds)
    print(msgspec.json.encode(turn).decode(), flush=True)


if __name__ == "__main__":
    main()
