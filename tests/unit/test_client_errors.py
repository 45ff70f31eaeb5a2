"""What the texts of errors say."""

from __future__ import annotations

import pytest

from iot_client.errors import ServerUnreachable


@pytest.mark.parametrize(("server", "words"), [
    ("tcp://nowhere.invalid:5757", "the name 'nowhere.invalid' leads nowhere"),
    ("tcp://127.0.0.1:5757", "is cloud-server running there"),
    ("tcp://[::1]:5757", "is cloud-server running there"),
])
def test_an_unreachable_server_says_whether_its_name_is_the_reason(server: str, words: str) -> None:
    """A host that cannot be resolved is named; of any other the program or a firewall is suspected."""
    assert words in str(ServerUnreachable.at([server], 5.0))
