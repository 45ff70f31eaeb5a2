"""Errors at the wire, named by who broke what.

WireError                  base
|-- RemoteProtocolError    the peer sent something no well-behaved peer sends; the text says what
|   `-- VersionMismatch    ... because it speaks another major version
|-- LocalProtocolError     our own side tried to send something the protocol forbids: a bug here
`-- UnsupportedValue       a value between stages cannot travel; names the path inside it and its type
"""

from __future__ import annotations

__all__ = ["LocalProtocolError", "RemoteProtocolError", "UnsupportedValue", "VersionMismatch", "WireError"]

_PATH_SHOWN = 120


class WireError(Exception):
    """Base of every error of the wire package."""


class RemoteProtocolError(WireError):
    """The peer broke the protocol."""


class LocalProtocolError(WireError):
    """This side is about to break the protocol."""


class VersionMismatch(RemoteProtocolError):
    """The peer speaks another major version; the text names both."""


class UnsupportedValue(WireError, TypeError):
    """A value cannot travel; the text is `value.field[3]: <type> cannot travel; ...`."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def within(self, step: str) -> UnsupportedValue:
        """The same complaint seen from the container around it; `step` is `.field` or `[index]`."""
        return UnsupportedValue(self.reason, step + self.path)

    def __str__(self) -> str:
        path = self.path
        if len(path) > _PATH_SHOWN:
            path = f"{path[: _PATH_SHOWN // 2]}...{path[-_PATH_SHOWN // 2 :]}"
        return f"value{path}: {self.reason}"
