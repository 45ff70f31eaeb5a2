"""What a server tells of batches and variants, to people and to programs, is what happened."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cloud_server.cli import status
from cloud_server.cli.console import Console
from cloud_server.cli.status import StatusLine
from cloud_server.figures import figures
from cloud_server.results.recorder import Recorder
from iot_client import Client
from tasks import App, Input, Task, Variant
from tests.integration.bodies import running_server
from tests.integration.commands import until

gate = threading.Event()


class Held(Task):
    """The first job waits for the gate, so that the others come together behind it."""

    varies = True
    placement = "cloud"

    def load(self, variant: Variant) -> str:
        return variant.name

    def run(self, item: int) -> Any:
        gate.wait(10)
        return item, self.loaded

    def run_batch(self, items: list[int]) -> list[Any]:  # type: ignore[override]
        return [self.run(item) for item in items]


held = App("held", [Input(), Held()], variants=[Variant("small", 0.4), Variant("large", 0.6)])


def test_batches_and_variants_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The status line has the size of batches since the last one, and devices by variant; the metrics add up to the jobs run."""
    monkeypatch.setattr(status, "EVERY_S", 0.0)
    with running_server(held, workers=1) as server:
        line = StatusLine(server, Console())
        with Client(held, host="127.0.0.1", port=server.port, split=1, mode="lossless", window=12, device="cam1") as client:
            for item in range(12):
                client.submit(item)
            until(lambda: server.statistics().queued >= 5)
            gate.set()
            results = client.results(timeout=10)
            assert [next(results).value for _ in range(12)] == [(item, "small") for item in range(12)]
            now = server.statistics()
            shown = {figure.name.removeprefix("spillway_server_"): figure for figure in figures(server, Recorder({}))}
            line.tell()
    assert now.variants == {"cam1": "small"}
    assert shown["batch_jobs_total"].values == {"held": 12} and shown["devices"].values == {"small": 1}
    assert 1 < now.batches["held"].largest == shown["batch_largest"].values["held"]
    size = 12 / shown["batches_total"].values["held"]
    assert f"jobs/s in batches of {size:.1f}, 0 waiting" in (said := capsys.readouterr().out) and "variants: 1 x small" in said
