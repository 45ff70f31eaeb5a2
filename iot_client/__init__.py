"""The device: captures frames, runs the first stages, sends the rest of the work to a server, delivers results.

The names below are loaded when they are first used, so that `python -m iot_client` can say which file hides
one of its packages before it imports any.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iot_client.client import Client, Result, Statistics
    from iot_client.errors import AuthError, ClientError, Closed, Full, ServerRefused, ServerUnreachable, StageError
    from iot_client.outcome import Done, Dropped, Failed, Filtered
    from iot_client.services.services import Rung, Services, Stake
    from iot_client.splitting.goal import Goal

__all__ = [
    "AuthError", "Client", "ClientError", "Closed", "Done", "Dropped", "Failed", "Filtered", "Full", "Goal", "Result", "Rung",
    "ServerRefused", "ServerUnreachable", "Services", "StageError", "Stake", "Statistics",
]

_MODULES = {"Client": "client", "Goal": "splitting.goal", "Result": "client", "Statistics": "client"}
_MODULES |= dict.fromkeys(("Done", "Dropped", "Failed", "Filtered"), "outcome")
_MODULES |= dict.fromkeys(("Rung", "Services", "Stake"), "services.services")
_MODULES |= {name: "errors" for name in __all__ if name not in _MODULES}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
