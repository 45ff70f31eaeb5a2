"""The states of stages as payloads, and how stages go on from them; on the lane, between its runs."""

from __future__ import annotations

from iot_client.events import ExportState, ImportState, StateExported
from tasks.run import Runner
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["export", "restore"]


def export(runner: Runner, packer: Packer, command: ExportState) -> tuple[StateExported, Payload | None]:
    """The states of some stages as one payload."""
    try:
        payload = packer.pack(runner.states(command.stage, command.stop))
    except UnsupportedValue as error:
        text = f"the state of stages {command.stage} to {command.stop} cannot travel: {error}"
        return StateExported(command.seq, 0, text, command.stage), None
    except Exception as error:  # initial() is the user's
        text = f"stage {command.stage} on: no state: {runner.explain(command.stage, error)}"
        return StateExported(command.seq, 0, text, command.stage), None
    return StateExported(command.seq, payload.nbytes, "", command.stage), payload


def restore(runner: Runner, packer: Packer, command: ImportState, payload: Payload) -> str:
    """Have some stages go on from there; returns why they cannot, in words, or ""."""
    try:
        runner.restore(command.stage, command.stop, packer.unpack(payload))
    except (RemoteProtocolError, ValueError) as error:
        return f"the state of stages {command.stage} to {command.stop} that came back cannot be read: {error}"
    return ""
