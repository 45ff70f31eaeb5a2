"""What of a value crosses each cut of one app, and how the answer joins what stayed here."""

from __future__ import annotations

from typing import Any

from tasks import App
from tasks.crossing import Crossing, applies, merged
from wire.codecs import family
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["Crossings"]


class Crossings:
    """The crossings [k, stop) of one app, by k; jobs of stages with state that moved may end elsewhere than the others."""

    def __init__(self, app: App, stop: int) -> None:
        self._app = app
        self._stop = stop
        self._by_cut = {k: app.crossing(k, stop) for k in range(1, stop)}

    def pack(self, packer: Packer, k: int, value: Any, codec: str, stop: int = -1) -> Payload:
        """The value at cut k as it is sent; the job ends before stage `stop`, -1 for the usual one, or n if k is behind that.

        Raises:
            UnsupportedValue: something in it cannot travel.
        """
        usual = self._by_cut.get(k) if stop < 0 else None
        crossing = applies(value, usual or self._app.crossing(k, stop if stop >= 0 else self._app.n))
        return packer.pack(value, codec, fields=crossing.sends, lossy=_lossy(crossing, codec))

    def merge(self, k: int, kept: Any, came: Any, want: tuple[str, ...] | None, stop: int = -1) -> Any:
        """The server's answer to a job from cut k, joined with the value kept there; `stop` as for `pack`.

        Raises:
            ValueError: no job starts at k, or `came` is no answer to it.
        """
        stop = self._stop if stop < 0 else stop
        if not 0 < k < stop <= self._app.n:
            raise ValueError(f"stage {k} is no cut; jobs start at 1 to {stop - 1}")
        return merged(kept, came, applies(kept, self._app.crossing(k, stop)), want, stop < self._app.n)


def _lossy(crossing: Crossing, codec: str) -> frozenset[str] | None:
    """The fields that may lose what this codec loses, as the packer wants them: None for all."""
    kind = family(codec)
    fields = frozenset(field for field, loss in crossing.lossy.items() if loss.permits(kind))
    return None if "" in fields else fields
