"""The device: captures frames, runs the first stages, sends the rest of the work to a server, delivers results."""

from iot_client.client import Client, Result, Statistics
from iot_client.errors import ClientError, Closed, Full, ServerRefused, ServerUnreachable, StageError
from iot_client.outcome import Done, Dropped, Failed, Filtered

__all__ = [
    "Client", "ClientError", "Closed", "Done", "Dropped", "Failed", "Filtered", "Full", "Result", "ServerRefused",
    "ServerUnreachable", "StageError", "Statistics",
]
