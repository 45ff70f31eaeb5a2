"""A network split over a real link: every cut in every codec for floats gives the same answer, or a near one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.integration.bodies import running_server
from tests.neural_app import app, image

from iot_client import Client, Done

IMAGES = [image(64, 80, seed) for seed in range(3)]


def answers(**options: Any) -> list[Any]:
    """What comes back of each image, in order."""
    with Client(app, own_source=False, **options) as client:
        for item in IMAGES:
            client.submit(item)
        client.end()
        results = list(client.results(timeout=20))
    assert all(isinstance(result.outcome, Done) for result in results)
    return [result.value for result in results]


@pytest.mark.parametrize(("codec", "near"), [("raw", 0.0), ("fp16", 1e-3), ("int8", 1e-2)])
def test_answers_differ_by_no_more_than_the_codec_loses(codec: str, near: float) -> None:
    """Over TCP to a server in this process, at every cut within the network."""
    exact = answers()
    with running_server(app) as server:
        for k in (2, 3, 4, 5):
            found = answers(host="127.0.0.1", port=server.port, split=k, codec=codec)
            assert np.abs(np.subtract(found, exact)).max() <= near
