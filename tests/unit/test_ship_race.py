"""An app with a race as bytes: a server gets its alternatives, and nothing of what is the device's own."""

from __future__ import annotations

import threading

import cloudpickle

from iot_client.pickling import pickle_app
from tasks import Runner
from tests.runners import Counter
from tests.unit.races import Count, raced


class Corrector:
    """What a hook is bound to, which could not travel."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def hear(self, frame: int, value: object) -> None:
        """As on_late."""


def test_a_race_is_shipped_without_its_hooks() -> None:
    """What a hook holds need not be picklable; the server's copy has the same fingerprint and alternatives, the device's its hooks."""
    app = raced(Count(), on_late=Corrector().hear, send_when=lambda value: value > 1, merge=lambda local, cloud: cloud)
    again = cloudpickle.loads(pickle_app(app))
    assert again.fingerprint() == app.fingerprint() and again.race.on_late is None and list(again.variants) == ["local", "cloud", "cloud2"]
    assert app.race is not None and app.race.on_late is not None and app.race.merge is not None
    runner = Runner(again, Counter(), again.instances())
    runner.setup(2, 3)
    assert runner.run(2, 3, "x", variant="cloud2").value == "x crop huge"
    runner.close()
