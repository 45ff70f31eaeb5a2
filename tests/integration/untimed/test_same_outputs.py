"""A split never changes results: ball tracking at every cut says what the plain loop says, frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import pytest

from examples.ball_tracking import clip as rendered
from examples.ball_tracking import sequential
from examples.ball_tracking.app import app
from iot_client import Client, Done, Filtered, Result
from tasks import END
from tests.integration.bodies import assert_conserved, running_server

Rows = list[dict[str, Any]]


class Images:
    """A source of images that are there already."""

    def __init__(self, images: list[Any]) -> None:
        self._images = iter(images)

    def read(self) -> Any:
        image = next(self._images, None)
        return END if image is None else image.copy()

    def close(self) -> None:
        self._images = iter(())


def frames_of(path: Path) -> Iterator[Any]:
    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield read[1]
    capture.release()


def expected(images: list[Any]) -> Rows:
    return [sequential.row(*found) for found in sequential.positions(images)]


def as_row(result: Result) -> dict[str, Any]:
    """A result in the form of the plain loop's rows."""
    if isinstance(result.outcome, Filtered):
        return {"seq": result.seq, "outcome": "filtered", "stage": result.outcome.stage, "value": None}
    assert isinstance(result.outcome, Done), result
    value = {**result.value, "center": list(result.value["center"])}
    return {"seq": result.seq, "outcome": "done", "stage": None, "value": value}


def run(images: list[Any], **options: Any) -> list[Result]:
    with Client(app, source=Images(images), **options) as client:
        results = list(client.results(timeout=20))
        assert_conserved(client, results)
    return results


@pytest.fixture(scope="module")
def rendered_images() -> list[Any]:
    return list(rendered.frames(150))


@pytest.mark.parametrize("workers", [1, 3])
def test_all_local_equals_the_plain_loop(rendered_images: list[Any], workers: int) -> None:
    """Without a server, on one worker or several, the rendered clip gives the plain loop's rows in order."""
    assert [as_row(result) for result in run(rendered_images, workers=workers)] == expected(rendered_images)


def test_every_split_equals_the_plain_loop(rendered_images: list[Any]) -> None:
    """k = 1..6 on the rendered clip: the plain loop's rows, and each frame ran where the split says."""
    rows = expected(rendered_images)
    with running_server(app) as server:
        for k in range(1, 7):
            results = run(rendered_images, host="127.0.0.1", port=server.port, split=k)
            assert [as_row(result) for result in results] == rows
            assert {result.split for result in results} == {k}
            done = [result for result in results if isinstance(result.outcome, Done)]
            assert {(len(result.device_s), len(result.cloud_s)) for result in done} == {(k, 6 - k)}
            assert {result.outcome for result in done} == {Done("cloud" if k < 6 else "device")}


def test_every_split_equals_the_plain_loop_on_a_real_clip(clip: Callable[[str], Path]) -> None:
    """Every fourth of 1004 frames of a ball moved by hand, k = 1..6 and all-local: the plain loop's rows."""
    images = list(islice(frames_of(clip("ball.mp4")), 0, None, 4))
    rows = expected(images)
    assert len(rows) == 251
    assert [as_row(result) for result in run(images)] == rows
    with running_server(app) as server:
        for k in range(1, 7):
            assert [as_row(result) for result in run(images, host="127.0.0.1", port=server.port, split=k)] == rows


def test_three_devices_with_different_splits_get_their_own_results(rendered_images: list[Any]) -> None:
    """Three devices at once on one server, each with its own clip and split: no result crosses over."""
    clips = [rendered_images[:100], [image[:, ::-1].copy() for image in rendered_images[50:]], list(rendered.frames(100, seed=7))]
    found: dict[int, Rows] = {}
    with running_server(app) as server:

        def device(number: int) -> None:
            results = run(clips[number], host="127.0.0.1", port=server.port, split=1 + 2 * number, device=f"device-{number}")
            assert {result.stream for result in results} == {f"device-{number}"}
            found[number] = [as_row(result) for result in results]

        threads = [threading.Thread(target=device, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == {number: expected(images) for number, images in enumerate(clips)}
