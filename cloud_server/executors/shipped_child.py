"""A worker process for one shipped app: the only place in Spillway where bytes become objects by running code.

    ShippedSetup + body -> sandbox -> unpack -> Ready(app)      once; then as any worker (child.py)

The body was checked by the server (wire.bundle.verify) before this process was started; it is opened after everything
worth stealing was given up.
"""

from __future__ import annotations

import socket
from typing import Any

import msgspec

from cloud_server.executors.child import Ready, serve
from cloud_server.executors.confine import follow
from cloud_server.executors.parcels import Line
from cloud_server.executors.sandbox import Sandbox, enter
from cloud_server.executors.seam import app_info
from cloud_server.executors.worker import Worker
from tasks import App
from tasks.run import RESIDENT
from wire.bundle import unpack

__all__ = ["BOOT", "ShippedSetup", "main"]

BOOT = (
    "import sys; sys.path[:] = [path for path in sys.argv[3:] if path]; "
    "from cloud_server.executors.shipped_child import main; main(*map(int, sys.argv[1:3]))"
)
"""As child.BOOT; the folder this process is in is no place for modules."""
_LONGEST_PROBLEM = 2000


class ShippedSetup(msgspec.Struct, frozen=True, array_like=True):
    """First message, with the body behind it: the app's name here, its size unpacked, what is given up, and how many variants are kept."""

    name: str
    unpacked: int
    sandbox: Sandbox
    resident: int = RESIDENT


def main(descriptor: int, parent: int) -> None:
    """The life of such a process."""
    follow(parent)
    line = Line(socket.socket(fileno=descriptor))
    parcel = line.receive()
    if parcel is None:
        return
    setup = msgspec.msgpack.decode(parcel[0], type=ShippedSetup)
    body = bytes(parcel[1])
    del parcel
    try:
        enter(setup.sandbox, parent)
        app = _open(unpack(body, setup.unpacked))
        worker = Worker({setup.name: app}, setup.resident)
        worker.setup()
        ready = Ready("", app_info(app))
    except BaseException as error:  # whatever the app's code throws while it is loaded and set up
        line.send([msgspec.msgpack.encode(Ready(_words(error)))])
        return
    serve(line, worker, ready)


def _open(pickled: bytes) -> App:
    import cloudpickle

    found: Any = cloudpickle.loads(pickled)
    if not isinstance(found, App):
        raise TypeError(f"the bundle holds a {type(found).__name__}, not an App")
    return found


def _words(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        text += "; this server must have it, where the user of shipped apps may read it"
    return text[:_LONGEST_PROBLEM].encode("utf-8", "replace").decode()
