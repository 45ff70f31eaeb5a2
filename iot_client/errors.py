"""What can go wrong for somebody who uses a Client.

ClientError              base
|-- ServerUnreachable    nothing answered at the address within the time given
|-- ServerRefused        the server answered and said no; `code` and text are its own
|   `-- AuthError        ... because one of the two sides does not know the other's key
|-- StageError           a stage could not be set up on this device
|-- SourceError          (media/readers.py) what --source names cannot be read
|   `-- SourceLost       ... or stopped delivering
|-- OutputError          (media/sinks.py) results cannot be written
|   `-- ReaderGone       ... because the reader of our output closed it
|-- OpenCVMissing        (media/opencv.py) `import cv2` fails on this host
|-- Full                 submit(): no room within the timeout
`-- Closed               the client has ended

What happens to a frame is never an exception: it is the outcome of its Result.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

__all__ = ["AuthError", "ClientError", "Closed", "Full", "ServerRefused", "ServerUnreachable", "StageError"]


class ClientError(Exception):
    """Base of every error of the device's library."""


class ServerUnreachable(ClientError, ConnectionError):
    """Nothing answered."""

    @classmethod
    def at(cls, servers: Sequence[str], seconds: float) -> ServerUnreachable:
        """Nobody at these addresses (tcp://HOST:PORT), within that time."""
        unresolved = next(filter(None, map(_unresolved, servers)), "")
        why = unresolved or "is cloud-server running there, is the port right, does a firewall let it through?"
        return cls(
            f"no Spillway server answered at {' or '.join(servers)} within {seconds:g} s: {why} "
            "Without a split count and a goal everything runs on the device"
        )


class ServerRefused(ClientError):
    """The server will not serve this app or session.

    `code` is one of the protocol's error codes: version, unknown_app, fingerprint, codec, cut.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class AuthError(ServerRefused):
    """This device's key is not allowed there, or that is not the server it was enrolled with; the text says what to do.

    `code` is forbidden.
    """


class StageError(ClientError):
    """setup() of a stage raised on this device."""


class Full(ClientError, TimeoutError):
    """No frame could be taken within the timeout: the pipeline is busy or results are not being read."""


class Closed(ClientError, RuntimeError):
    """The client was closed, or its stream has ended."""


def _unresolved(server: str) -> str:
    """What is wrong with the host's name, in words; "" if it can be resolved."""
    host = server.partition("://")[2].rpartition(":")[0].strip("[]")
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return f"the name {host!r} leads nowhere ({error.strerror or error}); give --host an address, or a name this device can resolve."
    return ""
