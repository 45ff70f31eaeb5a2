"""Ray Serve: one replica of the model behind `@serve.batch`, asked over HTTP, as its users do it.

    python -m benchmarks.peers.ray_serve HTTP_PORT CONTROL_PORT KIND

Each message on the control port, a JSON Rule, deploys the replica anew: `size` is max_batch_size, `wait` batch_wait_timeout_s,
`bound` max_queued_requests. `max_ongoing_requests` is twice the size, so that a batch is filled while another runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import zmq

from benchmarks.peers.batcher import Rule
from benchmarks.serving_work import SHAPE, load

__all__ = ["deploy", "missing"]


def missing() -> list[str]:
    """What to install before Ray Serve can run."""
    return [] if importlib.util.find_spec("ray") and importlib.util.find_spec("starlette") else ["ray[serve]"]


def deploy(control: zmq.Socket[bytes], rule: Rule) -> None:
    """Have the server deploy the model with these settings, and wait for it."""
    control.send(msgspec.json.encode(rule))
    answer = control.recv().decode()
    if answer != "ok":
        raise RuntimeError(f"Ray Serve: {answer}")


def _deployment(kind: str, rule: Rule) -> Any:
    serve: Any = importlib.import_module("ray.serve")

    batched: Callable[[Any], Any] = serve.batch(max_batch_size=rule.size, batch_wait_timeout_s=rule.wait)

    class Model:
        def __init__(self) -> None:
            self.work = load(kind)

        async def __call__(self, request: Any) -> bytes:
            return bytes([await self.infer(await request.body())])

        @batched
        async def infer(self, bodies: Any) -> Any:
            found = self.work([np.frombuffer(body, np.uint8).reshape(SHAPE) for body in bodies])
            return [kind for _, kind in found]

    options = {"num_replicas": 1, "max_ongoing_requests": 2 * rule.size, "max_queued_requests": rule.bound or -1}
    return serve.deployment(ray_actor_options={"num_cpus": 1}, **options)(Model).bind()


def main() -> None:
    """Serve until ended."""
    port, control, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.environ["OMP_NUM_THREADS"] = "1"
    ray: Any = importlib.import_module("ray")
    serve: Any = importlib.import_module("ray.serve")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(f"tcp://127.0.0.1:{control}")
    print("ready", flush=True)
    while True:
        rule = msgspec.json.decode(socket.recv(), type=Rule)
        try:
            serve.run(_deployment(kind, rule), route_prefix="/")
        except Exception as error:  # the words go to whoever asked
            socket.send_string(f"{type(error).__name__}: {error}")
        else:
            socket.send(b"ok")


if __name__ == "__main__":
    main()
