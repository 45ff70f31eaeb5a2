"""How long a connection may take to stand follows the path."""

from __future__ import annotations

import pytest
import zmq

from wire.sockets import patience


@pytest.mark.parametrize(("rtt", "connect", "handshake"), [(0.0, 1000, 2000), (0.001, 250, 500), (0.1, 300, 800), (0.6, 1800, 4800)])
def test_a_connection_may_take_a_few_round_trips(rtt: float, connect: int, handshake: int) -> None:
    """Three for the first answer, eight for the handshake, at least a quarter and half a second; a second or two where nothing is known."""
    assert patience(rtt) == {zmq.CONNECT_TIMEOUT: connect, zmq.HANDSHAKE_IVL: handshake}
