"""One device of a live run: the product's client, fed from memory, with what comes out written down.

    python -m experiments.live.device PLAN.json

It says `loaded` and waits for `go`; says `ready` when it stands with its server and waits for `play TIME`; says
`finished` when every frame has its outcome, and then writes its Recording. So its owner can let it load with all of
the machine, and weaken it after that.
"""

from __future__ import annotations

import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import cv2
import msgspec

from experiments.lab import fixed_cut
from experiments.live.clips import Frame, mapped
from experiments.live.recording import FrameNote, Pace, Plan, Recording, Sampler, pack, say, told
from experiments.reporting.runs import decision_row, ended
from iot_client import Client, Result
from iot_client.events import Decided
from iot_client.outcome import Done
from tasks import END, App
from tasks.app import load
from wire.heap import keep_freed_memory
from wire.payload import Packer

__all__ = ["Frames", "client_of", "main"]


class Frames:
    """A clip as a source: paced, repeated, for ever the same arrays."""

    def __init__(self, images: list[Frame], pace: Pace) -> None:
        self._images, self._pace = images, pace

    def read(self) -> Any:
        """The next frame when it is due."""
        index, _ = self._pace.due()
        return END if index < 0 else self._images[index % len(self._images)]

    def close(self) -> None:
        """Ends a read() that waits."""
        self._pace.close()


class _Diary:
    """What happens while frames run: as little as possible is done with it then."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.decided: list[tuple[float, Decided]] = []
        self.notes: list[str] = []

    def on_decided(self, decided: Decided) -> None:
        """One more decision."""
        self.decided.append((time.monotonic(), decided))

    def on_note(self, level: str, text: str) -> None:
        """Something a person should know."""
        self.notes.append(f"{level}: {text}")


def client_of(plan: Plan, app: App, source: Frames, diary: _Diary) -> Client:
    """The client that a policy stands for."""
    family, _, codec = plan.policy.partition(":")
    options: dict[str, Any] = {}
    if family != "local":
        options |= {"host": plan.host, "port": plan.port}
    if family == "remote":
        options |= {"codec": codec}
    if fixed := fixed_cut(plan.policy):
        options |= dict(zip(("split", "codec"), fixed))
    if family in ("auto", "threshold"):
        options |= {"goal": plan.goal.goal(), "policy": family, "split": plan.start or None, "profiles": plan.profiles or None}
    return Client(
        app, mode=plan.mode, workers=plan.workers, source=source, rate=plan.rate or None, device=f"device{plan.device}",
        connect_timeout=20.0, on_decided=diary.on_decided, on_note=diary.on_note,
        variant=plan.variant or None, **options,
    )  # fmt: skip


def main() -> None:
    """Reads the plan, runs, and leaves the Recording."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    keep_freed_memory()  # as iot-client does
    cv2.setNumThreads(1)  # a weak device has no second core to run ahead on
    app, images, pace, diary = load(plan.app), mapped(plan.clip, plan.shape), Pace(plan), _Diary()
    say("loaded")
    told("go")
    client = client_of(plan, app, Frames(images, pace), diary)
    client.start()
    say("ready")
    began = float(told("play"))
    sampler = Sampler(began, lambda: _seen(client))
    before = time.process_time()
    pace.play(began)
    sampler.start()
    last = threading.Timer(began + plan.seconds + plan.grace - time.monotonic(), client.stop, (0.2,))
    last.start()
    diary.results.extend(client.results())
    cpu = time.process_time() - before
    samples = sampler.stop()
    last.cancel()
    client.close(0.5)
    say("finished")
    recording = Recording(
        _frames(diary.results, pace.indices, Packer(app.types)), samples, tuple(decision_row(plan.device, *one) for one in diary.decided),
        pace.skipped, cpu, (*diary.notes, *filter(None, (client.source_error,))), _stages(client),
    )  # fmt: skip
    Path(plan.out).write_bytes(msgspec.msgpack.encode(recording))


def _stages(client: Client) -> tuple[float, ...]:
    known = client.learned()
    if known is None or any(stage.cpu_s < 0.0 for stage in known.stages):
        return ()
    return known.stages[0].cpu_s + known.overhead_s, *(stage.cpu_s for stage in known.stages[1:])


def _seen(client: Client) -> tuple[Any, ...]:
    """The fields of SampleNote from `sent` on."""
    now = client.statistics()
    standing = now.standing
    if standing is None:
        return now.bytes_sent, now.bytes_received, float(now.split), "" if now.link == "local" else now.codec
    k = standing.k + (standing.share * (standing.k2 - standing.k) if standing.k2 else 0.0)
    codec = standing.codec2 if standing.codec2 and (standing.share > 0.5 or not standing.codec) else standing.codec
    return (
        now.bytes_sent, now.bytes_received, k, codec, standing.rate, standing.p50, standing.p95, standing.server_s,
        standing.up or -1.0,
    )  # fmt: skip


def _frames(results: list[Result], indices: array[int], packer: Packer) -> tuple[FrameNote, ...]:
    return tuple(
        FrameNote(
            result.seq, indices[result.seq], result.captured_at, *ended(result),
            pack(packer, result.value) if isinstance(result.outcome, Done) else None,
        )
        for result in results
    )  # fmt: skip


if __name__ == "__main__":
    main()
