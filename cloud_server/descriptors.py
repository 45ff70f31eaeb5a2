"""Room for connections: each takes a descriptor, and a process that has none left cannot even turn anybody away.

libzmq then tries to accept over and over and takes a whole core; who is connected is still served.
"""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows, which has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["raise_limit"]

_MOST = 65_536
"""More devices than one server serves."""


def raise_limit() -> int:
    """Ask for as many descriptors as this process may have, up to 65,536; returns how many it has now, 0 for any number."""
    if resource is None:
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
