"""OpenCV is there, or a sentence says how to get it."""

from __future__ import annotations

import os

from iot_client.errors import ClientError

__all__ = ["REMEDY", "OpenCVMissing", "looks_like_opencv", "quiet_opencv", "require_opencv"]

REMEDY = (
    "on Debian or Ubuntu the opencv-python wheel needs the system packages libxcb1, libgl1 and libglib2.0-0 "
    "(apt-get install libxcb1 libgl1 libglib2.0-0); the wheel opencv-python-headless needs none of them, but has no windows"
)

_SYMPTOMS = ("cv2", "libgl", "libxcb", "libgthread", "libglib", "opencv")


class OpenCVMissing(ClientError):
    """`import cv2` fails on this host; the text names the packages that cure it."""


def require_opencv() -> None:
    """Make sure that `import cv2` works.

    Raises:
        OpenCVMissing: with the import's own words and what to install.
    """
    try:
        import cv2  # noqa: F401  only whether it loads
    except ImportError as error:
        raise OpenCVMissing(f"OpenCV cannot be loaded: {error}; {REMEDY}") from error


def looks_like_opencv(error: BaseException) -> bool:
    """True if `error`, or what caused it, is a failed import of OpenCV or of a library it needs."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ImportError) and any(word in str(cause).lower() for word in _SYMPTOMS):
            return True
        cause = cause.__cause__
    return False


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing over the live line; call before the first `import cv2`.

    What they would say is said by SourceError and SourceLost. A value the user has set is left alone.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
