"""The app of a device that waits: its source never gives a frame, and OpenCV is loaded as for any vision app."""

from __future__ import annotations

import threading
from typing import Any

import cv2  # noqa: F401 - its memory is what an idle vision app holds
import numpy  # noqa: F401 - likewise

from tasks import App, Source, task

__all__ = ["app"]


class Nothing(Source):
    """Waits for a frame that does not come."""

    def read(self) -> Any:
        threading.Event().wait()


@task(placement="cloud")
def never(item: Any) -> Any:
    """Would run in the cloud."""
    return item


app = App("idle", [Nothing(), never])
