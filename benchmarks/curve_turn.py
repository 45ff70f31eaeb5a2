"""A link with keys beside one without, in short slices by turns: prints what it measured as JSON.

    python -m benchmarks.curve_turn --payload encoded --slices 20 --seconds 0.3
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.child import Child, free_port, python
from benchmarks.cpu import cpu_seconds, tree_cpu_seconds
from benchmarks.curve_app import app
from benchmarks.frames import SHAPES, natural
from benchmarks.isolated import give_up_after
from benchmarks.meter import Turn
from iot_client.client import Client
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import make_pair, write_pair

__all__ = ["PAYLOADS", "compare", "main"]

PAYLOADS = ("encoded", "jpeg:80", "raw")
"""A JPEG that lies ready; a frame encoded there and decoded here, as a camera's are; a frame as it lies in memory."""
HOST = "127.0.0.1"
WINDOW = 8
_STUCK = 120


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


def compare(payload: str, *, slices: int, seconds: float) -> list[tuple[Turn, Turn]]:
    """Plain and CURVE, slice by slice with the same processes, every second pair in the other order."""
    items = [_item(payload, seed) for seed in range(8)]
    with contextlib.ExitStack() as stack:
        keys = make_keys(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        links = [_open(stack, payload, each) for each in (None, keys)]
        for link in links:
            _slice(*link, items, seconds)
        pairs = []
        for number in range(slices):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            found = {index: _slice(*links[index], items, seconds) for index in order}
            pairs.append((found[0], found[1]))
        return pairs


def _open(stack: contextlib.ExitStack, payload: str, keys: tuple[Path, Path] | None) -> tuple[Client, int]:
    """A client at a server of its own, and that server's process."""
    port = free_port()
    given = [] if keys is None else ["--keys", str(keys[0])]
    command = python("cloud_server", "--app", "benchmarks.curve_app:app", "--port", str(port), "--workers", "1", "--quiet", *given)
    server = stack.enter_context(Child(command))
    codec = payload if ":" in payload else "raw"
    client = Client(app, host=HOST, port=port, split=1, window=WINDOW, codec=codec, keys=None if keys is None else keys[1])
    return stack.enter_context(client), server.pid


def _slice(client: Client, server: int, items: list[Any], seconds: float) -> Turn:
    """Keep eight frames under way for so long, and wait for all answers."""
    begun, before = time.perf_counter(), (cpu_seconds(os.getpid()), tree_cpu_seconds(server))
    sent = answered = 0
    results = client.results(timeout=20)
    while answered < sent or time.perf_counter() < begun + seconds:
        while sent - answered < WINDOW and time.perf_counter() < begun + seconds:
            client.submit(items[sent % len(items)])
            sent += 1
        if answered < sent:
            result = next(results)
            if type(result.outcome).__name__ != "Done":
                raise RuntimeError(f"frame {result.seq}: {result.outcome}")
            answered += 1
    wall = time.perf_counter() - begun
    spent = [after - at for after, at in zip((cpu_seconds(os.getpid()), tree_cpu_seconds(server)), before)]
    return Turn(answered, answered / wall, spent[0] * 1e3 / answered, spent[1] * 1e3 / answered)


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
    """Compare both links."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", choices=PAYLOADS, default="encoded")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--slices", type=int, default=20)
    options = parser.parse_args()
    give_up_after(_STUCK)
    print(msgspec.json.encode(compare(options.payload, slices=options.slices, seconds=options.seconds)).decode(), flush=True)


if __name__ == "__main__":
    main()
