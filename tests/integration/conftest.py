"""What integration tests share."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames in which a green ball moves over grey; 20 fps, 320x240."""
    path = tmp_path_factory.mktemp("clip") / "short clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (320, 240))
    for index in range(40):
        image = np.full((240, 320, 3), 90, np.uint8)
        cv2.circle(image, (40 + 6 * index, 120), 20, (60, 200, 60), -1)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
