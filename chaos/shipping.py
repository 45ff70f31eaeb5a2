"""Rows 19, 20, 21: what is said twice, what would run if it were unpickled, and apps that come over the network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import psutil

from chaos.pickles import harm_done, harmful
from chaos.mouthpiece import Mouthpiece, framed
from chaos.registry import Broken, Run, Seen, Skipped, promise
from chaos.shipped_apps import confined_app, counted_app
from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors import ThreadExecutor
from cloud_server.executors.sandbox import NO_NETWORK, NOT_CHANGED, Sandbox
from cloud_server.offer import ShipConfig
from cloud_server.shipping import PYTHON, Shipping
from iot_client import Client
from iot_client.pickling import pickle_app
from iot_client.shipping import Ship
from tasks import App
from wire.bundle import Bundle as Signed
from wire.bundle import Expected, seal
from wire.keyring import edit_keyring
from wire.identity import DEVICES, SERVER_KEY, DeviceKeys
from wire.keys import Pair, make_pair, write_pair
from wire.messages import KINDS
from wire.payload import Packer
from wire.protocol import CODECS, MINOR, Bundle, Bye, Error, Hello, Payload, Ping, Pong, Result, Submit
from wire.signing import make_signing_key, write_signing_key

__all__ = ["bundle_elsewhere", "confined", "refused", "resent", "unpickled"]

NOBODY = 65534
_PAYLOADS = (3, 4, 6, 9, 15)
_FLOOD = 400
"""Messages between two PINGs: fewer than the server's socket holds."""


@contextlib.contextmanager
def serving(
    folder: Path, *, name: str = "cloud", apps: dict[str, App] | None = None, ship: bool = True, netns: str = ""
) -> Iterator[Server]:
    """A server in this process that takes what `signer(folder)` signs; its shipped apps are nobody's where this is root."""
    uid = NOBODY if os.geteuid() == 0 else NOT_CHANGED
    taken = Shipping(ShipConfig(), folder / "signers", Sandbox(uid=uid, gid=uid, netns=netns)) if ship else None
    apps = apps or {}
    server = Server(apps, ThreadExecutor(apps), port=0, name=name, ship=taken)
    thread = serve_in_thread(server)
    try:
        yield server
    finally:
        server.stop()
        thread.join(20.0)


def signer(folder: Path) -> Pair:
    """A key that servers in this folder trust, kept in `ship.key`."""
    pair = write_signing_key(folder / "ship.key", "ann")
    edit_keyring(folder / "signers", lambda known: known.update(ann=pair.public), "for a test")
    return pair


def _hello(app: App, device: str, **changes: Any) -> Hello:
    return Hello(MINOR, device, app.name, app.version, app.fingerprint(), app.names, codecs=CODECS, mode="lossless", **changes)


def sealed(key: Pair, pickled: bytes, app: App, *, created: float = 0.0, hours: float = 1.0, **changes: Any) -> Signed:
    """A bundle for server "cloud" from device "cam" with this body; `changes` are to what its header says."""
    now = int(time.time() + created)
    said = {
        "digest": "", "app": app.name, "app_version": app.version, "fingerprint": app.fingerprint(), "device": "cam", "server": "cloud",
        "python": PYTHON, **changes,
    }
    return seal(key, pickled, expected=Expected(**said), created=now, expires=int(now + 3600 * hours))


def offer(port: int, session: int, bundle: Signed, app: App, device: str = "cam") -> Error | None:
    """Ship a bundle by hand: the ERROR it ends in, or None for a WELCOME."""
    link = Mouthpiece(port, session)
    try:
        hello = _hello(app, device, bundle=bundle.digest)
        link.say(hello)
        while (said := link.next(40.0)) is not None:
            message = said[0]
            if isinstance(message, Error) and message.code == "bundle_required":
                link.say(Bundle(bundle.digest), Payload(bundle.head, (bundle.body,)))
                link.say(hello)
            elif isinstance(message, Error):
                return message
            else:
                return None
        raise Broken("a bundle got no answer within 40 s")
    finally:
        link.close()


@promise(19, "a SUBMIT sent again runs once, and is answered by what was kept", quick=500, full=10_000)
def resent(run: Run) -> Seen:
    """One job of a stage marked `once`, sent `count` times more."""
    app, calls = counted_app()
    with serving(run.folder, apps={app.name: app}, ship=False) as server:
        link = Mouthpiece(server.port, 11)
        link.welcome(_hello(app, "cam"))
        payload = Packer().pack(7)
        submit = Submit(0, 1, 2, signature=payload.signature)
        answers = []
        for number in range(run.count + 1):
            link.say(submit, payload)
            if number % 200 == 0 or number == run.count:
                link.say(Ping(number))
                while not isinstance(said := (link.next() or (Pong(0), None))[0], Pong):
                    answers += [said] if isinstance(said, Result) else []
        link.close()
    same = sum((answer.outcome, answer.seq) == ("done", 0) for answer in answers)
    if len(calls) != 1:
        raise Broken(f"{len(calls)} executions of a job sent {run.count + 1} times; promised 1")
    return Seen(good=same, tried=len(answers), figures={"sent again": run.count, "executions": len(calls), "answers": len(answers)})


@promise(19, "a signed app sent to another server, or after its expiry, is refused", quick=2, full=25)
def bundle_elsewhere(run: Run) -> Seen:
    """The bytes of a bundle that one server takes, replayed."""
    key, (app, _) = signer(run.folder), counted_app()
    pickled, good, session = pickle_app(app), 0, 100
    with serving(run.folder) as here, serving(run.folder, name="elsewhere") as elsewhere:
        bundle, brief = sealed(key, pickled, app), sealed(key, pickled, app, created=-3599)
        if (problem := offer(here.port, session, bundle, app)) is not None:
            raise Broken(f"a good bundle was refused: {problem.text}")
        other, _ = counted_app("other")
        time.sleep(1.1)  # now the second one has expired
        for _ in range(run.count):
            for link, each, shown, device, words in (
                (elsewhere, bundle, app, "cam", "is for server 'cloud'"), (here, bundle, other, "cam", "holds app 'counted'"),
                (here, bundle, app, "thief", "is from device 'cam'"), (here, brief, app, "cam", "expired"),
            ):
                session += 1
                answer = offer(link.port, session, each, shown, device)
                good += answer is not None and answer.code == "bundle" and words in answer.text
    return Seen(good=good, tried=4 * run.count)


def _spoiled(key: Pair, bomb: bytes, app: App) -> Iterator[tuple[str, Signed, App, str]]:
    """Bundles that must not be opened: what is wrong, the bundle, the app HELLO names, and words of the refusal."""
    stranger, fine = make_signing_key(), sealed(key, bomb, app)
    header, signature = msgspec.msgpack.decode(fine.head)
    other, _ = counted_app("other")
    raw = msgspec.msgpack.encode
    yield "unsigned", Signed(raw((header, b"")), fine.body, fine.digest), app, "signature"
    yield "signed with zeros", Signed(raw((header, bytes(64))), fine.body, fine.digest), app, "signature"
    yield "signed by a stranger", sealed(stranger, bomb, app), app, "not trusted"
    yield "signed by a stranger in our name", Signed(raw((header, msgspec.msgpack.decode(sealed(stranger, bomb, app).head)[1])), fine.body,
                                                     fine.digest), app, "signature"
    yield "one bit of the signature", Signed(raw((header, bytes([signature[0] ^ 1]) + signature[1:])), fine.body, fine.digest), app, "sign"
    yield "one bit of the header", Signed(raw((header[:-1] + bytes([header[-1] ^ 1]), signature)), fine.body, fine.digest), app, "trusted"
    yield "one bit of the body", Signed(fine.head, fine.body[:-1] + bytes([fine.body[-1] ^ 1]), fine.digest), app, "one that was signed"
    yield "another body", Signed(fine.head, sealed(key, bomb + b"x", app).body, fine.digest), app, "one that was signed"
    yield "expired", sealed(key, bomb, app, created=-7200), app, "expired"
    yield "from the future", sealed(key, bomb, app, created=7200), app, "future"
    yield "for another server", sealed(key, bomb, app, server="other"), app, "for server"
    yield "of another app", fine, other, "holds app"
    yield "of another version", sealed(key, bomb, app, app_version="9"), app, "version"
    yield "of another fingerprint", sealed(key, bomb, app, fingerprint="00"), app, "fingerprint"
    yield "from another device", sealed(key, bomb, app, device="other"), app, "from device"
    yield "of another Python", sealed(key, bomb, app, python="2.7"), app, "Python"


@promise(21, "a bundle that is not what it must be is refused before it is opened", quick=1, full=20)
def refused(run: Run) -> Seen:
    """Each body would make a file as soon as it is loaded; one that is right in all but what it holds shows that it does."""
    key, (app, _), canary = signer(run.folder), counted_app(), _public(run.folder) / "canary"
    bomb = cloudpickle.dumps(_Touch(str(canary)))
    good, tried, children = 0, 0, psutil.Process().children
    with serving(run.folder, ship=False) as server:
        for session in range(1, 1 + run.count):
            answer = offer(server.port, session, sealed(key, pickle_app(app), app), app)
            good, tried = good + (answer is not None and answer.code == "bundle" and "--ship" in answer.text), tried + 1
    with serving(run.folder) as server:
        before, session = len(children(True)), 1000
        for _ in range(run.count):
            for what, bundle, shown, words in _spoiled(key, bomb, app):
                session += 1
                answer = offer(server.port, session, bundle, shown)
                right = answer is not None and answer.code == "bundle" and words in answer.text and not canary.exists()
                good, tried = good + right, tried + 1
                if not right or len(children(True)) > before:
                    raise Broken(f"{what}: answered {answer}, file made: {canary.exists()}, processes: {len(children(True)) - before}")
        answer = offer(server.port, 1, sealed(key, bomb, app), app)
        if answer is None or "not an App" not in answer.text or not canary.exists():
            raise Broken(f"the test proves nothing: a signed body of this kind was answered by {answer} and made no file")
    return Seen(good=good, tried=tried, figures={"kinds": tried // run.count})


@promise(21, "a shipped app runs as nobody: no secrets, no network, little memory", quick=1, full=10)
def confined(run: Run) -> Seen:
    """An app that looks around, and tells what it could do."""
    if os.geteuid() != 0:
        raise Skipped("only root can start processes as another user")
    signer(run.folder)
    secret = run.folder / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)
    _public(run.folder)
    good = tried = 0
    for _ in range(run.count):
        with serving(run.folder, netns=NO_NETWORK) as server:
            key = run.folder / "ship.key"
            tries = {"secret": str(secret), "key": str(key), "shadow": "/etc/shadow", "port": server.port, "parent": os.getpid()}
            ship = Ship(key=key, server="cloud")
            with Client(confined_app(), host="127.0.0.1", port=server.port, split=1, device="cam", ship=ship) as client:
                client.submit(tries)
                client.end()
                seen = [result.value for result in client.results(timeout=30.0)][0]
        wrong = {name: value for name, value in seen.items() if value != _EXPECTED[name]}
        tried += len(_EXPECTED)
        good += len(_EXPECTED) - len(wrong)
        if wrong:
            raise Broken(f"a shipped app found {wrong}; promised {({name: _EXPECTED[name] for name in wrong})}")
    return Seen(good=good, tried=tried, figures={"checks": len(_EXPECTED)})


_EXPECTED = {
    "uid": [NOBODY] * 3, "groups": [], "root again": "PermissionError", "secret": "PermissionError", "key": "PermissionError",
    "shadow": "PermissionError", "kill": "PermissionError", "network": "OSError", "memory": "MemoryError", "write": "PermissionError",
    "environment": [], "descriptors": 0, "new rights": "1", "folder": "/",
}


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return eval, (f"open({self.path!r}, 'w').close()",)


def _public(folder: Path) -> Path:
    """A folder in which anybody may make files, and the way there."""
    for each in [folder, *folder.parents][:3]:
        if each.stat().st_uid == os.getuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o011)
    place = folder / "public"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    return place


@promise(20, "no code is executed from data, in any field of any message", quick=8, full=200)
def unpickled(run: Run) -> Seen:
    """Harmful pickles as an allowed device, against a server that counts what is looked up for pickles."""
    canaries = run.folder / "canaries"
    pickles = harmful(run.count, run.seed, canaries)
    fired = harm_done(pickles, run.folder / "pickles", canaries)
    if fired != run.count:
        raise Broken(f"the test proves nothing: {fired} of {run.count} pickles do harm when loaded")
    signer(run.folder)
    keys, (app, _) = _enrolled(run.folder), counted_app()
    sent = answered = 0
    with _audited(run.folder) as (port, report):
        for number, data in enumerate(pickles):
            link = Mouthpiece(port, 1000 + number, keys)
            link.welcome(_hello(app, "cam"))
            for parts in _with(data, link.session, link.epoch):
                link.send(parts)
                sent += 1
                if sent % _FLOOD == 0:
                    _settle(link)
            _settle(link)
            link.say(Bye())
            link.close()
            link = Mouthpiece(port, 500_000 + number, keys)
            link.welcome(_hello(app, "cam"))
            payload = Packer().pack(number)
            link.say(Submit(0, 1, 2, signature=payload.signature), payload)
            answered += link.hear(Result).outcome == "done"
            link.say(Bye())
            link.close()
    found, made = json.loads(report.read_text()), len(list(canaries.iterdir()))
    if made or found["events"] or not found["alive"]:
        raise Broken(f"{made} files made, {found['events']} names looked up ({found['first']}); promised 0 of both; hook: {found['alive']}")
    return Seen(good=answered, tried=run.count, figures={"messages": sent, "files made": made, "find_class": found["events"]})


def _enrolled(folder: Path) -> DeviceKeys:
    """The keys of device cam and of a server that allows it."""
    server, device = make_pair("cloud"), make_pair("cam")
    write_pair(folder / SERVER_KEY, server)
    edit_keyring(folder / DEVICES, lambda known: known.update(cam=device.public), "for a test")
    return DeviceKeys(pair=device, server=server.public)


def _settle(link: Mouthpiece) -> None:
    """Wait until the server has read everything: a HELLO and what it answers to it."""
    app, _ = counted_app()
    link.welcome(_hello(app, "cam"))


def _with(data: bytes, session: int, epoch: int) -> Iterator[list[Any]]:
    """Messages of every kind with these bytes in every field, as bytes and as text, and in payloads of every shape."""
    text = data.decode("latin-1")
    encode = msgspec.msgpack.encode
    for kind, struct in KINDS.items():
        fields = [_plain(field) for field in msgspec.structs.fields(struct)]
        for at in range(len(fields)):
            for value in (data, text, [data], {text[:100]: data}):
                yield [framed(kind, encode([*fields[:at], value, *fields[at + 1 :]]), session, epoch)]
        if kind in _PAYLOADS:
            header = encode(fields)
            for head in (
                data, encode(data), encode([1, data]), encode([4, "Ball#0000", data]), encode([5, "|O", [1], data]), encode([6, "O", data]),
                encode([7, "torch.float32", [1], data]), encode([12, "png", "|u1", [1, 1], data]), encode([13, "Ball#0000", [0], data]),
                encode([10, data]), encode([3, data, data]),
            ):
                yield [framed(kind, header, session, epoch, head)]
                yield [framed(kind, header, session, epoch, head), data]


def _plain(field: Any) -> Any:
    """A legal value of a field."""
    if not field.required:
        return field.default
    words, kind = {"outcome": "failed", "code": "busy"}, str(field.type)
    if field.name in words:
        return words[field.name]
    return ["s"] if "tuple" in kind else 1 if "int" in kind else 1.0 if "float" in kind else "x"


@contextlib.contextmanager
def _audited(folder: Path) -> Iterator[tuple[int, Path]]:
    """A server process with an audit hook: its port, and the file that holds what the hook saw once it has ended."""
    report = folder / "audit.json"
    command = [
        sys.executable, "-m", "chaos.audited", report, "--app", "chaos.shipped_apps:counted", "--executor", "thread", "--port", 0, "--ship",
        "--signers", folder / "signers", "--keys", folder,
    ]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"tcp://127\.0\.0\.1:(\d+)", process.stdout.readline())
        if found is None:
            raise Broken("the server under audit did not start")
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield int(found[1]), report
        process.send_signal(signal.SIGTERM)
        process.wait(20.0)
        reader.join(5.0)
    finally:
        process.kill()
        with process:
            process.wait()
