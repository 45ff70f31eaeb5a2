"""Errors at the wire, named by who broke what.

WireError                  base
|-- RemoteProtocolError    the peer sent something no well-behaved peer sends; the text says what
|-- LocalProtocolError     our own side tried to send something the protocol forbids: a bug here
`-- UnsupportedValue       a value between stages cannot travel; names the path inside it and its type
"""

__all__ = ["LocalProtocolError", "RemoteProtocolError", "UnsupportedValue", "WireError"]


class WireError(Exception):
    """Base of every error of the wire package."""


class RemoteProtocolError(WireError):
    """The peer broke the protocol."""


class LocalProtocolError(WireError):
    """This side is about to break the protocol."""


class UnsupportedValue(WireError, TypeError):
    """A value cannot travel; the text is `value.field[3]: <type> cannot travel ...`."""
