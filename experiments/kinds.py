"""The experiments that are no comparison of policies for devices: each kind has a lab, a command and a report of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from experiments.fleet import command as fleet_command
from experiments.fleet import lab as fleet_lab
from experiments.fleet.report import is_fleet
from experiments.speculation import command as speculation_command
from experiments.speculation import lab as speculation_lab
from experiments.speculation.report import is_speculation
from experiments.uplink import command as uplink_command
from experiments.uplink import lab as uplink_lab
from experiments.uplink.report import is_uplink

__all__ = ["KINDS", "Kind", "kind_of"]


class Kind(NamedTuple):
    """One kind: `command` has asked, run and remake; `load` gives None for a lab of another kind."""

    command: ModuleType
    load: Callable[[str | Path], Any]
    built_in: Callable[[], dict[str, Path]]
    is_report: Callable[[Path], bool]


KINDS = (
    Kind(fleet_command, fleet_lab.load, fleet_lab.built_in, is_fleet),
    Kind(speculation_command, speculation_lab.load, speculation_lab.built_in, is_speculation),
    Kind(uplink_command, uplink_lab.load, uplink_lab.built_in, is_uplink),
)


def kind_of(folder: Path) -> Kind | None:
    """The kind of the report in a folder; None for one on devices and policies."""
    return next((kind for kind in KINDS if kind.is_report(folder)), None)
