"""Real servers and clients for tests: threads and sockets of this process, loopback only."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cloud_server.coordinator import Server
from cloud_server.executors.thread import ThreadExecutor
from iot_client import Client, Done, Dropped, Failed, Filtered, Result
from tasks import App

__all__ = ["assert_conserved", "feed", "running_server"]


@contextmanager
def running_server(*apps: App, workers: int = 2, port: int = 0, **options: Any) -> Iterator[Server]:
    """A server with thread workers on a free port."""
    by_name = {app.name: app for app in apps}
    server = Server(by_name, ThreadExecutor(by_name, workers), port=port, **options)
    ready = threading.Event()

    def serve() -> None:
        server.bind()
        ready.set()
        server.serve()
        server.close()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        assert ready.wait(10), "the server did not bind"
        yield server
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"


def feed(client: Client, items: Iterable[Any]) -> list[Result]:
    """Submit all items from another thread; the results, in the order they came."""

    def submit() -> None:
        for item in items:
            client.submit(item)
        client.end()

    thread = threading.Thread(target=submit, name="producer", daemon=True)
    thread.start()
    results = list(client.results(timeout=20))
    thread.join(10)
    return results


def assert_conserved(client: Client, results: list[Result]) -> None:
    """captured = done + filtered + dropped + failed, one outcome per seq, in order, nothing in flight."""
    statistics = client.statistics()
    kinds = [type(result.outcome) for result in results]
    assert sum(kinds.count(kind) for kind in (Done, Filtered, Dropped, Failed)) == statistics.captured == len(results)
    assert [result.seq for result in results] == list(range(statistics.captured))
    assert statistics.in_flight == 0
