"""What can go wrong on the device, as exceptions. What befalls one frame is an outcome instead.

ClientError              base
|-- ServerUnreachable    nobody answered at host:port in time
|-- ServerRefused        the server answered and said no; `code` and `text` are its words
|-- Full                 submit: no room within the timeout
|-- Closed               the client has been closed, or no more items may come
|-- SourceError          (readers.py) the source cannot be read
|   `-- SourceLost       it stopped delivering
|-- OutputError          (sinks.py) results cannot be written
`-- OpenCVMissing        (opencv.py) `import cv2` fails here
"""

from __future__ import annotations

__all__ = ["ClientError", "Closed", "Full", "ServerRefused", "ServerUnreachable"]


class ClientError(Exception):
    """Base of every error of the iot_client package."""


class ServerUnreachable(ClientError):
    """Nobody answered at this address in time."""


class ServerRefused(ClientError):
    """The server refused this client; `code` is the protocol's, `text` the server's reason in words."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Full(ClientError):
    """There was no room for another item within the timeout."""


class Closed(ClientError):
    """The client is closed, or was told that no more items come."""
