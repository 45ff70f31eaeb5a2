"""Profiles kept between runs: one small file for each app, device and server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from iot_client.splitting.knowledge import Knowledge, KnownOption
from metrics.whole_file import write_whole
from tasks import App
from wire.codecs import parse_codec

__all__ = ["Saved", "default_folder", "load", "path_of", "save"]


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/spillway`, or `~/.cache/spillway`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "spillway"


def path_of(folder: Path, fingerprint: str, device: str, server: str) -> Path:
    """The file of this app on this device with this server; names may hold any characters."""
    who = hashlib.sha256(f"{device}\0{server}".encode()).hexdigest()[:16]
    return folder / f"profile-{fingerprint}-{who}.json"


def load(path: Path, stages: int) -> Knowledge | None:
    """What was saved for an app of so many stages; None if there is nothing that can be used."""
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Knowledge)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return known if len(known.stages) == stages and all(map(_was_measured, known.options)) else None


def _was_measured(option: KnownOption) -> bool:
    """False for what no run can have written."""
    try:
        parse_codec(option.codec)
    except ValueError:
        return False
    return min(option.nbytes, option.encode_s, option.decode_s, option.back_nbytes) >= 0.0


def save(path: Path, known: Knowledge) -> None:
    """Replace the file; a reader sees the old or the new one.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, msgspec.json.encode(known))


class Saved:
    """What one client learns of one app with one server, from one run to the next.

    Args:
        folder: where; None keeps nothing.
        app, device, server: of whom.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, app: App, device: str, server: str) -> None:
        self.path = None if folder is None else path_of(Path(folder), app.fingerprint(), device, server)
        self.prior = None if self.path is None else load(self.path, app.n)

    def keep(self, known: Knowledge | None, on_note: Callable[[str, str], None]) -> None:
        """Save it, if there is something and somewhere; a file that cannot be written is a note, never an error."""
        if self.path is None or known is None:
            return
        try:
            save(self.path, known)
        except OSError as error:
            on_note("warning", f"what was learned cannot be kept in {self.path}: {error.strerror or error}")
