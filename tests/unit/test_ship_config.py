"""What the command lines say of shipped apps is checked before anything starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cloud_server.cli.config import Config, ConfigError, parse
from cloud_server.cli.keys import main as keys
from cloud_server.cli.ship_setup import shipping
from cloud_server.executors.sandbox import NOT_CHANGED
from iot_client.cli.config import ConfigError as DeviceConfigError
from iot_client.cli.config import parse as device_parse
from iot_client.cli.ship_key import main as ship_key
from iot_client.servers.hosts import Host
from iot_client.shipping import Ship


def test_shipping_is_off_unless_asked_for() -> None:
    """Neither side ships by default; with it a server needs no app of its own."""
    assert not parse([]).ship and parse([]).app
    assert parse(["--ship"]).app == () and parse(["--ship", "--app", "a:b"]).app == ("a:b",)
    assert not device_parse([], {}).ship and device_parse(["1", "--ship"], {}).ship


@pytest.mark.parametrize(("arguments", "words"), [
    (["--ship", "--host", "0.0.0.0", "--insecure"], "only devices with keys may ship apps"),
    (["--ship", "--max-bundle", "64M"], "1K to the 16M of --max-job"),
    (["--ship", "--max-bundles", "0"], "--max-bundles 0: must be 1 or more"),
    (["--ship", "--ship-memory", "1M"], "64M or more"),
    (["--ship", "--ship-netns", "../x"], "a name as `ip netns list` shows it"),
    (["--ship", "--ship-workers", "0"], "1 or more"),
    (["--name", ""], "1 to 256 characters"),
])
def test_a_server_that_cannot_ship_like_this_says_so(arguments: list[str], words: str) -> None:
    """Each is named with its value and what is legal."""
    with pytest.raises(ConfigError, match=words):
        parse(arguments)


@pytest.mark.parametrize(("arguments", "words"), [
    (["1", "--ship-key", "x"], "given with --ship"), (["1", "--ship-server", "x"], "given with --ship"),
    (["1", "--ship", "--ship-hours", "0"], "hours above 0"),
])
def test_a_device_that_cannot_ship_like_this_says_so(arguments: list[str], words: str) -> None:
    """The same on the device."""
    with pytest.raises(DeviceConfigError, match=words):
        device_parse(arguments, {})


def test_each_host_has_a_name_of_its_own() -> None:
    """Those given, in order; that of the host where none is, this machine's own name for loopback; some of several are too few."""
    hosts = [Host("edge1", 1), Host("10.0.0.6", 2), Host("127.0.0.1", 3)]
    assert Ship().names(hosts) == ("edge1", "10.0.0.6", socket.gethostname()) and Ship(server="one").names(hosts[:1]) == ("one",)
    assert Ship(server=("a", "", "c")).names(hosts) == ("a", "10.0.0.6", "c")
    config = device_parse(["1", "--ship", "--ship-server", "a", "--host", "x", "--ship-server", "b", "--host", "y"], {})
    assert config.ship_server == ("a", "b") and Ship(server=config.ship_server).names(hosts[:2]) == ("a", "b")
    with pytest.raises(ValueError, match="2 server names for 3 hosts.*--ship-server.*once for each --host, in their order"):
        Ship(server=("a", "b")).names(hosts)


def test_signers_are_allowed_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `ship-key init` prints is what `signers allow` takes; who is revoked is gone."""
    assert ship_key(["init", "--ship-key", str(tmp_path / "ship.key"), "--name", "ann"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "signers allow" in line).split()
    assert line[:4] == ["cloud-server", "signers", "allow", "ann"]
    assert keys([*line[1:], "--keys", str(tmp_path)]) == 0
    capsys.readouterr()
    assert keys(["signers", "list", "--keys", str(tmp_path)]) == 0
    assert line[4] in capsys.readouterr().out
    assert keys(["signers", "revoke", "bob", "--keys", str(tmp_path)]) == 2
    assert "no signer 'bob' is allowed; those that are: ann" in capsys.readouterr().err
    assert keys(["signers", "revoke", "ann", "--keys", str(tmp_path)]) == 0
    assert ship_key(["init", "--ship-key", str(tmp_path / "ship.key")]) == 2
    assert "there already" in capsys.readouterr().err


def test_the_user_of_shipped_apps_is_nobody_or_said_to_be_the_server(tmp_path: Path) -> None:
    """As root another user runs them and root is refused; without root the server says what that means."""
    said: list[str] = []
    config = Config(ship=True, signers=str(tmp_path / "signers"))
    made = shipping(config, lambda level, text: said.append(text))
    assert "nobody may sign apps yet" in said[0]
    if os.geteuid() == 0:
        assert made._sandbox.uid not in (0, NOT_CHANGED)
        with pytest.raises(ConfigError, match="that is root"):
            shipping(Config(ship=True, signers=str(tmp_path / "signers"), ship_user="root"), lambda level, text: None)
    else:
        assert made._sandbox.uid == NOT_CHANGED and "run as its own user" in said[1]
    with pytest.raises(ConfigError, match="no such user"):
        shipping(Config(ship=True, signers=str(tmp_path / "signers"), ship_user="nosuchuser-x"), lambda level, text: None)
