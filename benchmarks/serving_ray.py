"""Ray Serve as a contender of the serving benchmark: its processes, and the devices that ask it."""

from __future__ import annotations

from types import TracebackType

import zmq

from benchmarks.child import Child, free_port, python
from benchmarks.peers.batcher import Rule
from benchmarks.peers.http_link import HttpLink
from benchmarks.peers.ray_serve import deploy

__all__ = ["RayLink"]


class RayLink:
    """One Ray with one application; use it with `with`."""

    def __init__(self, kind: str) -> None:
        port, control = free_port(), free_port()
        self._child = Child(python("benchmarks.peers.ray_serve", str(port), str(control), kind))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control = self._context.socket(zmq.REQ)
        self._control.linger = 0
        self._control.connect(f"tcp://127.0.0.1:{control}")
        self.link = HttpLink(port)

    def deploy(self, rule: Rule) -> None:
        """The model under other settings."""
        deploy(self._control, rule)

    def __enter__(self) -> RayLink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.destroy(0)
        self._child.stop()
