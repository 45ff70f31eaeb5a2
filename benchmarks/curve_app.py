"""The app whose frames cross an encrypted link: the server decodes a JPEG, or takes one as it is, and answers with a number."""

from __future__ import annotations

from typing import Any

from tasks import App, Input, task

__all__ = ["app"]


@task(placement="cloud", accepts=("jpeg:50",))
def corner(image: Any) -> int:
    """(H, W, 3) uint8, or the bytes of a JPEG as uint8 -> its first element."""
    return int(image.reshape(-1)[0])


app = App("curve", [Input(), corner])
