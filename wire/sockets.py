"""The one factory of all ZeroMQ sockets for data, because options only count for binds and connects that come after them."""

from __future__ import annotations

from typing import Any

import zmq

from wire.identity import DeviceKeys, ServerKeys
from wire.zap import DOMAIN

__all__ = ["make_socket", "patience"]


def make_socket(
    context: zmq.Context[Any], kind: int, max_message: int, keys: DeviceKeys | ServerKeys | None = None
) -> zmq.Socket[Any]:
    """All options of all sockets; see the sources beside each."""
    socket: zmq.Socket[Any] = context.socket(kind)
    options = {
        zmq.LINGER: 0,  # never hang in term()
        zmq.SNDHWM: 64,  # a backstop: bytes are bounded by credit, HWM only counts messages
        zmq.RCVHWM: 64,
        zmq.MAXMSGSIZE: max_message + 2**17,  # per part; the total is checked after receipt
        zmq.HANDSHAKE_IVL: 2000,  # half-open connections go after 2 s
        zmq.HEARTBEAT_IVL: 2000,  # for idle blackholes; life is judged by PING/PONG
        zmq.HEARTBEAT_TIMEOUT: 10000,  # short ones kill links that are busy with one large frame
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 3,
    }
    if kind == zmq.DEALER:
        options |= {
            zmq.IMMEDIATE: 1,  # EAGAIN instead of queueing to a server that was never there
            zmq.RECONNECT_IVL: 50,  # and up to as much again, by chance; a growing one would be what recovery waits for
        }
    else:
        options |= {
            zmq.ROUTER_MANDATORY: 1,
            zmq.BACKLOG: 512,
            zmq.TCP_MAXRT: 40000,  # a backstop behind wire.lines: who takes nothing is cut off, and what libzmq kept for it is freed
        }
    for option, value in (options | _curve(keys)).items():
        socket.setsockopt(option, value)
    return socket


def patience(rtt: float) -> dict[int, int]:
    """How long, in ms, a connection may take to stand: a blackhole then costs no more than this after it opens.

    TCP's own timers would begin at a second (RFC 6298) and double; three round trips leave room for one packet that is
    lost. The handshake takes two round trips, four with keys. `rtt` 0.0: nothing is known of the path.
    """
    if not rtt:
        return {zmq.CONNECT_TIMEOUT: 1000, zmq.HANDSHAKE_IVL: 2000}
    return {zmq.CONNECT_TIMEOUT: max(250, int(3000 * rtt)), zmq.HANDSHAKE_IVL: max(500, int(8000 * rtt))}


def _curve(keys: DeviceKeys | ServerKeys | None) -> dict[int, int | bytes]:
    """CURVE, with an enforced domain on the server: without it libzmq lets in any key when nobody answers its questions."""
    if keys is None:
        return {}
    mine: dict[int, int | bytes] = {zmq.CURVE_PUBLICKEY: keys.pair.public, zmq.CURVE_SECRETKEY: keys.pair.secret}
    if isinstance(keys, DeviceKeys):
        return mine | {zmq.CURVE_SERVERKEY: keys.server}
    return {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: keys.pair.secret, zmq.ZAP_DOMAIN: DOMAIN, zmq.ZAP_ENFORCE_DOMAIN: 1}
