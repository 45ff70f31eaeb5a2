"""imagezmq as a user would run it: JPEG pictures to a hub, all stages after the source there, the answer back.

    python -m experiments.live.peers serve PLAN.json
    python -m experiments.live.peers device PLAN.json

`reqrep:Q` waits for each answer, which is the reply. `pubsub:Q` sends without waiting and gets answers over a second
PUB/SUB pair. The picture is the one image in what the source stage gives, so that both sides have the work they would
have with Spillway's fewest stages on the device; an app whose source gives no such thing sends the captured item.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from experiments.live.clips import Frame, mapped
from experiments.live.recording import FrameNote, Pace, Packed, Plan, Recording, Sampler, pack, say, told
from tasks import App
from tasks.app import load
from tasks.run import DONE, Runner
from tasks.values import field_names, fields_of, keep_fields
from wire.payload import Packer

__all__ = ["Answer", "Question", "main"]

ANSWERS = 1000
"""Added to the port on which PUB/SUB answers are published."""
PROBE = -1
"""The seq of a picture that only finds out whether somebody listens."""


class Question(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What travels beside a picture; `field` is "Type.field" of the value it belongs in, "" for the value itself."""

    device: int
    seq: int
    start: int
    field: str = ""


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What comes back: how the frame ended, the seconds its stages took, and the value if there is one."""

    device: int
    seq: int
    outcome: str
    seconds: float
    value: Packed | None = None


def _imagezmq() -> Any:
    try:
        return importlib.import_module("imagezmq")
    except ImportError:
        raise SystemExit("reqrep and pubsub need imagezmq: pip install '.[bench]' in the checkout") from None


def _publishes(plan: Plan) -> bool:
    return plan.policy.startswith("pubsub")


class Hub:
    """The server's end: one loop, as in imagezmq's examples."""

    def __init__(self, plan: Plan) -> None:
        app = load(plan.app).copy()
        self._runner = Runner(app, time.perf_counter, app.instances())
        self._runner.setup(0, app.n)
        self._n, self._packer = app.n, Packer(app.types)
        self._types = {kind.__name__: kind for kind in app.types}
        imagezmq = _imagezmq()
        self._answers: Any = None
        if not _publishes(plan):
            self._hub = imagezmq.ImageHub(open_port=f"tcp://{plan.host}:{plan.port}")
            return
        self._hub = imagezmq.ImageHub(open_port=f"tcp://{plan.peer}:{plan.port}", REQ_REP=False)
        for device in range(1, plan.devices):
            self._hub.connect(f"tcp://{plan.peer}:{plan.port + device}")
        self._answers = imagezmq.ImageSender(connect_to=f"tcp://{plan.host}:{plan.port + ANSWERS}", REQ_REP=False)

    def serve(self) -> None:
        """Answers one picture after the other, for ever."""
        while True:
            text, picture = self._hub.recv_jpg()
            answer = msgspec.msgpack.encode(self._answer(msgspec.json.decode(text, type=Question), picture))
            if self._answers is None:
                self._hub.send_reply(answer)
            else:
                self._answers.send_jpg("answer", answer)

    def _answer(self, question: Question, picture: Any) -> Answer:
        if question.seq == PROBE:
            return Answer(question.device, PROBE, DONE, 0.0)
        before = time.perf_counter()
        image: Any = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
        kind, _, field = question.field.partition(".")
        ran = self._runner.run(question.start, self._n, self._types[kind](**{field: image}) if field else image)
        value = pack(self._packer, keep_fields(ran.value, None)) if ran.kind == DONE else None
        return Answer(question.device, question.seq, ran.kind, time.perf_counter() - before, value)


class Camera:
    """The device's end, but for the sockets: pictures with their questions, and the notes of what became of them."""

    def __init__(self, plan: Plan, app: App, images: list[Frame]) -> None:
        self._plan, self._images = plan, images
        self._runner = Runner(app, time.perf_counter, app.instances())
        self.k, self._quality = min(app.legal_cuts()), int(plan.policy.partition(":")[2])
        self.codec = f"jpeg:{self._quality}"
        if app.cut(self.k).stop != app.n:
            raise SystemExit(f"{plan.policy}: app {app.name!r} has a stage that keeps state, which must stay on the device")
        self._runner.setup(0, self.k)
        self._field = self._find_field()
        if self._field is None:
            self.k = 0
        self.pace = Pace(plan)
        self.sent_bytes = self.received_bytes = 0
        self._asked: dict[int, tuple[int, float, int, str]] = {}
        self._answers: list[tuple[float, bytes]] = []
        self._sent = 0

    def probe(self) -> tuple[str, bytes]:
        """A question that nobody has to work on."""
        return self._text(PROBE), bytes(64)

    def next(self) -> tuple[str, bytes] | None:
        """The next picture that the source stages let through, when it is due; None at the end."""
        while True:
            index, due = self.pace.due()
            if index < 0:
                return None
            seq = len(self._asked)
            ran = self._runner.run(0, self.k, self._images[index % len(self._images)])
            self._asked[seq] = index, due, 0, ran.kind
            if ran.kind != DONE:
                continue
            image = getattr(ran.value, self._field.partition(".")[2]) if self._field else ran.value
            picture = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1].tobytes()
            self._asked[seq] = index, due, len(picture), ""
            self._sent += 1
            self.sent_bytes += len(picture)
            return self._text(seq), picture

    def take(self, data: bytes) -> None:
        """One answer has come."""
        self._answers.append((time.monotonic(), data))
        self.received_bytes += len(data)

    @property
    def waiting(self) -> int:
        """Pictures without an answer."""
        return self._sent - len(self._answers)

    def notes(self) -> tuple[FrameNote, ...]:
        """One note for each captured frame; one without an answer is dropped."""
        answers: dict[int, tuple[float, Answer]] = {}
        for at, data in list(self._answers):
            answer = msgspec.msgpack.decode(data, type=Answer)
            answers.setdefault(answer.seq, (at, answer))
        return tuple(self._note(seq, asked, answers.get(seq)) for seq, asked in sorted(self._asked.items()))

    def _note(self, seq: int, asked: tuple[int, float, int, str], found: tuple[float, Answer] | None) -> FrameNote:
        index, captured, nbytes, kind = asked
        if kind or found is None:
            return FrameNote(seq, index, captured, 0.0, kind or "dropped", "device" if kind else "", self.k, self.codec, nbytes)
        at, answer = found
        return FrameNote(
            seq, index, captured, at - captured, answer.outcome, "cloud", self.k, self.codec, nbytes, answer.seconds, answer.value
        )

    def _text(self, seq: int) -> str:
        return msgspec.json.encode(Question(self._plan.device, seq, self.k, self._field or "")).decode()

    def _find_field(self) -> str | None:
        """Where the only picture is in what the first stages give: "" if it is the value, None if there is no such one."""
        value = self._runner.run(0, self.k, self._images[0]).value
        if _is_picture(value):
            return ""
        fields = {name: item for name, item in fields_of(value).items() if item is not None} if field_names(value) else {}
        pictures = [name for name, item in fields.items() if _is_picture(item)]
        return f"{type(value).__name__}.{pictures[0]}" if len(fields) == len(pictures) == 1 else None


def _is_picture(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype == np.uint8 and (item.ndim == 2 or (item.ndim == 3 and item.shape[2] == 3))


class ReqRep:
    """One frame under way, as imagezmq by default."""

    def __init__(self, plan: Plan, camera: Camera) -> None:
        self._camera = camera
        self._sender = _imagezmq().ImageSender(connect_to=f"tcp://{plan.host}:{plan.port}")
        self._sender.send_jpg(*camera.probe())

    def send(self) -> None:
        """All frames until the end."""
        while question := self._camera.next():
            self._camera.take(self._sender.send_jpg(*question))


class PubSub:
    """Frames are sent as they come; answers come on a thread of their own."""

    def __init__(self, plan: Plan, camera: Camera) -> None:
        imagezmq = _imagezmq()
        self._camera, self._device = camera, plan.device
        self._sender = imagezmq.ImageSender(connect_to=f"tcp://{plan.peer}:{plan.port + plan.device}", REQ_REP=False)
        self._hub = imagezmq.ImageHub(open_port=f"tcp://{plan.host}:{plan.port + ANSWERS}", REQ_REP=False)
        self._heard = threading.Event()
        threading.Thread(target=self._listen, name="answers", daemon=True).start()
        while not self._heard.wait(0.05):  # what is published before the other end has subscribed is lost
            self._sender.send_jpg(*camera.probe())

    def send(self) -> None:
        """All frames until the end."""
        while question := self._camera.next():
            self._sender.send_jpg(*question)

    def _listen(self) -> None:
        while True:
            data = bytes(self._hub.recv_jpg()[1])
            answer = msgspec.msgpack.decode(data, type=Answer)
            if answer.device != self._device:
                continue
            if answer.seq == PROBE:
                self._heard.set()
            else:
                self._camera.take(data)


def _film(plan: Plan) -> None:
    """The device's life, in the steps of device.py."""
    cv2.setNumThreads(1)
    app, images = load(plan.app).copy(), mapped(plan.clip, plan.shape)
    say("loaded")
    told("go")
    camera = Camera(plan, app, images)
    link = (PubSub if _publishes(plan) else ReqRep)(plan, camera)
    say("ready")
    began = float(told("play"))
    sampler = Sampler(began, lambda: (camera.sent_bytes, camera.received_bytes, float(camera.k), camera.codec))
    before = time.process_time()
    camera.pace.play(began)
    sampler.start()
    sending = threading.Thread(target=link.send, name="camera", daemon=True)  # it may wait for ever for a reply
    sending.start()
    until = began + plan.seconds + plan.grace
    sending.join(max(0.0, until - time.monotonic()))
    while camera.waiting and time.monotonic() < until:
        time.sleep(0.02)
    cpu = time.process_time() - before
    samples = sampler.stop()
    camera.pace.close()
    say("finished")
    Path(plan.out).write_bytes(msgspec.msgpack.encode(Recording(camera.notes(), samples, (), camera.pace.skipped, cpu)))


def main() -> None:
    """Either end, until it is done or ended."""
    role, path = sys.argv[1:]
    plan = msgspec.json.decode(Path(path).read_bytes(), type=Plan)
    if role == "serve":
        hub = Hub(plan)
        say("ready")
        hub.serve()
    _film(plan)
    sys.stdout.flush()
    os._exit(0)  # its sockets are in use by threads that wait for ever


if __name__ == "__main__":
    main()
