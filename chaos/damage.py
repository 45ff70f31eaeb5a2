"""Row 16: bits flipped between device and server never reach a task or the user; what was hit is sent again."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from chaos.apps import answer, picture, pictures
from chaos.proxy import BitFlips, Proxy
from chaos.registry import Broken, Run, Seen, promise
from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors.thread import ThreadExecutor
from iot_client import Client, Done
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import fresh_folder, make_pair, write_pair

__all__ = ["Stream", "bits_in_framing", "bits_in_messages", "bits_under_keys", "stream_through"]

_WINDOW = 8
_LONGEST_STALL, _LONGEST_SILENCE = 1.0, 6.0
"""Seconds; the latter where the framing is hit: silence shows it, and that takes as long as bytes on their way may explain it."""


class Stream:
    """What came of frames sent through a proxy that flips bits."""

    def __init__(self) -> None:
        self.results = self.wrong = self.lost = 0
        self.gaps: list[float] = []
        self.found = self.flipped = self.framing = self.connections = self.passed = 0


def stream_through(flips: BitFlips, frames: int, seed: int, side: int = 128, *, keys: Path | None = None) -> Stream:
    """Send frames to a server through the proxy, lossless, and compare every answer with what it must be.

    With checksums; with `keys` instead encrypted, by keys made in that folder.
    """
    ours, theirs = (None, None) if keys is None else _enrolled(keys)
    server = Server({pictures.name: pictures}, ThreadExecutor({pictures.name: pictures}, 2), port=0, checksum=keys is None, keys=theirs)
    thread = serve_in_thread(server)
    seen = Stream()
    try:
        with Proxy(server.port, flips, seed) as proxy:
            with Client(
                pictures, host="127.0.0.1", port=proxy.port, split=2, own_source=False, want=("*",), window=_WINDOW, connect_timeout=20.0,
                keys=ours,
            ) as client:
                _run(client, frames, side, seen)
                told = server.statistics()
                seen.found = client.statistics().damaged + told.bad_messages + told.damaged
            seen.flipped, seen.framing = proxy.flipped["body"], proxy.flipped["framing"]
            seen.connections, seen.passed = proxy.connections, sum(proxy.messages)
    finally:
        server.stop()
        thread.join(10.0)
    return seen


def _enrolled(folder: Path) -> tuple[Path, Path]:
    """Folders with the keys of a device and of a server that know each other."""
    device, server = fresh_folder(folder / "device"), fresh_folder(folder / "server")
    pair, mine = make_pair(), make_pair("camera")
    write_pair(server / SERVER_KEY, pair)
    write_pair(device / DEVICE_KEY, mine)
    edit_keyring(device / SERVERS, lambda known: known.update({"127.0.0.1": pair.public}), "servers")
    edit_keyring(server / DEVICES, lambda known: known.update({"camera": mine.public}), "devices")
    return device, server


def _run(client: Client, frames: int, side: int, seen: Stream) -> None:
    last = time.monotonic()
    expected: dict[int, Any] = {}
    sent = 0
    while seen.results < frames:
        while sent < frames and len(expected) < 2 * _WINDOW:
            item = picture(sent, side)
            expected[sent] = answer(item)
            client.submit(item, timeout=30.0)
            sent += 1
        if sent == frames:
            client.end()
        for result in client.results(timeout=30.0):
            now = time.monotonic()
            seen.gaps.append(now - last)
            last = now
            seen.results += 1
            value = expected.pop(result.seq)
            seen.lost += type(result.outcome) is not Done
            seen.wrong += type(result.outcome) is Done and not (value == result.value).all()
            if sent < frames and len(expected) < _WINDOW:
                break


@promise(16, "bits flipped in messages: found, and sent again", quick=500, full=10_000)
def bits_in_messages(run: Run) -> Seen:
    """One bit in one message of a hundred, both ways, with checksums."""
    seen = stream_through(BitFlips(0.01), run.count, run.seed)
    return _judge(run, seen, promised_found=True)


@promise(16, "bits flipped in the transport's framing: the session goes on", quick=300, full=3_000)
def bits_in_framing(run: Run) -> Seen:
    """As before, half of them in flags and lengths of the frames of ZMTP, which breaks the link or shifts all that follows."""
    seen = stream_through(BitFlips(0.01, framing=0.5, after=10), run.count, run.seed)
    return _judge(run, seen, promised_found=False)


@promise(16, "bits flipped under encryption: the link breaks, the session goes on", quick=300, full=10_000)
def bits_under_keys(run: Run) -> Seen:
    """One bit in one part of a hundred: what was hit does not decrypt, and the link is made anew."""
    seen = stream_through(BitFlips(0.01, after=10), run.count, run.seed, keys=run.folder)
    return _judge(run, seen, promised_found=False)


def _judge(run: Run, seen: Stream, *, promised_found: bool) -> Seen:
    figures = {
        "messages": seen.passed, "flipped": seen.flipped, "in framing": seen.framing, "found": seen.found, "wrong": seen.wrong,
        "links": seen.connections, "longest gap s": round(max(seen.gaps), 2),
        "p99 gap ms": round(1e3 * statistics.quantiles(seen.gaps, n=100)[98], 1),
    }
    told = Seen(good=seen.results - seen.wrong - seen.lost, tried=run.count, figures=figures)
    if seen.wrong or seen.lost:
        raise Broken(f"{seen.wrong} wrong and {seen.lost} lost of {run.count} frames, promised are none", told)
    if promised_found and seen.found != seen.flipped:
        raise Broken(f"{seen.found} damaged messages were found, {seen.flipped} had a bit flipped", told)
    longest = _LONGEST_STALL if promised_found else _LONGEST_SILENCE
    if max(seen.gaps) > longest:
        raise Broken(f"no result for {max(seen.gaps):.2f} s, promised is at most {longest} s", told)
    return told
