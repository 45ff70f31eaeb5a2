"""Strangers who knock at a steady rate, in a process of their own: prints how many were refused, by second.

    python -m chaos.knocking PORT SERVER_KEY --rate 1000 --seconds 10
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from typing import Any

import zmq

from wire.keys import key_of, make_pair

__all__ = ["main"]

_PAIRS = 32
_AT_ONCE = 5
"""A process that was not run for a while makes up for it step by step: even strangers, not bursts of a hundred."""
_STAY_S = 0.25
"""How long one stranger waits for an answer before he makes room for the next."""


def main() -> int:
    """Knock, count what got through, and print the refusals per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("server_key")
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    context: zmq.Context[Any] = zmq.Context()
    context.setsockopt(zmq.MAX_SOCKETS, 8192)
    pairs, server = [make_pair() for _ in range(_PAIRS)], key_of(options.server_key)
    waiting: deque[tuple[float, zmq.Socket[Any]]] = deque()
    begun, made, let_in = time.monotonic(), 0, 0
    while (now := time.monotonic()) < begun + options.seconds:
        for _ in range(min(_AT_ONCE, int((now - begun) * options.rate) - made)):
            try:
                socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
            except zmq.ZMQError:  # those that are closed have not ended yet: a host too slow for the rate, which then says so
                break
            pair = pairs[made % _PAIRS]
            for option, value in (
                (zmq.LINGER, 0), (zmq.CURVE_PUBLICKEY, pair.public), (zmq.CURVE_SECRETKEY, pair.secret), (zmq.CURVE_SERVERKEY, server),
                (zmq.IMMEDIATE, 1),
            ):
                socket.setsockopt(option, value)
            socket.connect(f"tcp://127.0.0.1:{options.port}")
            waiting.append((now, socket))
            made += 1
        while waiting and waiting[0][0] + _STAY_S < now:
            _, socket = waiting.popleft()
            let_in += bool(socket.poll(0, zmq.POLLOUT))
            socket.close(0)
        time.sleep(0.001)
    print(made / (time.monotonic() - begun), let_in, flush=True)
    context.destroy(linger=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
