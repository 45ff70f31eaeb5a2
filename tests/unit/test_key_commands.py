"""The commands that make and exchange keys: what they print is what the next one takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloud_server.cli.config import Config, ConfigError
from cloud_server.cli.keys import main as server
from iot_client.cli.config import Config as DeviceConfig
from iot_client.cli.config import ConfigError as DeviceConfigError
from iot_client.cli.enroll import main as enroll
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, DeviceKeys, ServerKeys
from wire.keys import make_pair, read_pair, text_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any keys."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "spillway"


def command(printed: str, words: str) -> list[str]:
    """The arguments of the line that was printed and begins with these words."""
    found = re.search(rf"^  {words} (.*)$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1].split()


def test_each_command_prints_the_next(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """init -> enroll -> allow, each with the arguments the one before printed: then both sides know each other."""
    assert server(["keys", "init"]) == 0
    host, *rest = command(capsys.readouterr().out, "iot-client enroll")
    assert enroll([host, *rest, "--name", "cam1"]) == 0
    assert server(["devices", "allow", *command(capsys.readouterr().out, "cloud-server devices allow")]) == 0
    mine, theirs = DeviceKeys.load(home / "device", host, 5757), ServerKeys.load(home / "server")
    assert theirs.allowed == {"cam1": mine.pair.public} and mine.server == theirs.pair.public and mine.pair.name == "cam1"


def test_a_folder_of_ones_own_is_in_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --keys DIR the lines for this side name that folder."""
    assert server(["keys", "init", "--keys", str(tmp_path / "k")]) == 0
    assert f"cloud-server devices allow NAME KEY --keys {tmp_path / 'k'}" in capsys.readouterr().out
    assert (tmp_path / "k" / SERVER_KEY).exists()


def test_a_second_init_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 2 and the way to do it on purpose; with --force there is another key."""
    assert server(["keys", "init"]) == 0
    first = read_pair(home / "server" / SERVER_KEY)
    assert server(["keys", "init"]) == 2 and "--force" in capsys.readouterr().err
    assert read_pair(home / "server" / SERVER_KEY) == first
    capsys.readouterr()
    assert server(["keys", "init", "--force"]) == 0 and read_pair(home / "server" / SERVER_KEY) != first
    assert "--force" in command(capsys.readouterr().out, "iot-client enroll")


def test_names_are_listed_renewed_and_revoked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """allow twice with another key keeps one line; a key under a second name is refused; revoke removes; an unknown name is code 2."""
    one, two = text_of(make_pair().public), text_of(make_pair().public)
    assert server(["devices", "allow", "cam1", one]) == 0
    assert server(["devices", "allow", "cam1", two]) == 0
    capsys.readouterr()
    assert server(["devices", "list"]) == 0
    out = capsys.readouterr().out
    assert two in out and one not in out and len(out.splitlines()) == 1
    assert server(["devices", "allow", "cam2", two]) == 2 and "cloud-server devices revoke cam1" in capsys.readouterr().err
    assert server(["devices", "revoke", "cam1"]) == 0 and server(["devices", "revoke", "cam1"]) == 2
    assert "those that are: none" in capsys.readouterr().err
    assert (home / "server" / DEVICES).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "key"), [("cam/1", ""), ("cam1", "abc"), ("", "")])
def test_a_wrong_name_or_key_is_code_2(name: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is written."""
    assert server(["devices", "allow", name, key or text_of(make_pair().public)]) == 2
    assert "legal" in (err := capsys.readouterr().err) or "56 characters" in err


def test_a_device_keeps_its_key_and_may_change_its_name(home: Path) -> None:
    """A second server, or another name, is the same key; --new-key is another."""
    one, two = (text_of(make_pair().public) for _ in range(2))
    assert enroll(["a", "--server-key", one, "--name", "cam1"]) == 0
    first = read_pair(home / "device" / DEVICE_KEY)
    assert enroll(["b", "--server-key", two]) == 0 and read_pair(home / "device" / DEVICE_KEY) == first
    assert enroll(["b", "--server-key", two, "--name", "cam2"]) == 0
    renamed = read_pair(home / "device" / DEVICE_KEY)
    assert (renamed.public, renamed.name) == (first.public, "cam2")
    assert enroll(["b", "--server-key", two, "--new-key"]) == 0
    renewed = read_pair(home / "device" / DEVICE_KEY)
    assert (renewed.public != first.public, renewed.name) == (True, "cam2")


def test_a_renewed_key_ends_the_old_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What enroll --new-key prints takes the place of the old key at the server, whatever the host is called."""
    one = text_of(make_pair().public)
    for option in ((), ("--new-key",)):
        assert enroll(["a", "--server-key", one, *option, *(() if option else ("--name", "cam1"))]) == 0
        assert server(["devices", "allow", *command(capsys.readouterr().out, "cloud-server devices allow")]) == 0
    assert (home / "server" / DEVICES).read_text().count("cam1 ") == 1
    assert server(["devices", "list"]) == 0 and len(capsys.readouterr().out.splitlines()) == 2


def test_a_damaged_key_is_replaced_under_a_name_that_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name cannot be read any more: without --name the error asks for it, and the file stays."""
    one = text_of(make_pair().public)
    assert enroll(["a", "--server-key", one, "--name", "cam1"]) == 0
    path = home / "device" / DEVICE_KEY
    path.write_text("kind curve\n")
    assert enroll(["a", "--server-key", one, "--new-key"]) == 2 and "--new-key --name" in capsys.readouterr().err
    assert path.read_text() == "kind curve\n"
    assert enroll(["a", "--server-key", one, "--new-key", "--name", "cam1"]) == 0 and read_pair(path).name == "cam1"


def test_another_key_for_a_known_host_takes_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ssh: it may be an impostor; two names of one server are fine."""
    one, two = make_pair().public, make_pair().public
    assert enroll(["a", "--server-key", text_of(one)]) == 0 and enroll(["A.local", "--server-key", text_of(one)]) == 0
    assert enroll(["a", "--server-key", text_of(two)]) == 2 and "somebody may pose" in capsys.readouterr().err
    assert DeviceKeys.load(home / "device", "a", 1).server == one
    assert enroll(["a", "--server-key", text_of(two), "--force"]) == 0
    assert DeviceKeys.load(home / "device", "a", 1).server == two
    assert DeviceKeys.load(home / "device", "a.LOCAL", 1).server == one


def test_a_server_for_other_machines_needs_keys_or_insecure(home: Path) -> None:
    """Without: an error with the three commands. With keys: those of the user, or of --keys. On loopback only --keys counts."""
    with pytest.raises(ConfigError) as raised:
        Config(host="0.0.0.0")
    for word in ("cloud-server keys init", "iot-client enroll", "cloud-server devices allow", "--insecure"):
        assert word in str(raised.value)
    assert Config(host="0.0.0.0", insecure=True).keys_folder is None
    assert server(["keys", "init"]) == 0
    assert Config(host="0.0.0.0").keys_folder == home / "server"
    assert Config(host="0.0.0.0", insecure=True).keys_folder is None
    assert Config().keys_folder is None
    assert Config(keys="k").keys_folder == Path("k")
    with pytest.raises(ConfigError, match="only one of them"):
        Config(keys="k", insecure=True)


def test_a_device_needs_keys_for_another_machine(home: Path) -> None:
    """Not enrolled: an error with the command; enrolled: its folder; loopback and --insecure: none."""
    with pytest.raises(DeviceConfigError, match="iot-client enroll edge --server-key KEY.*--insecure"):
        DeviceConfig().keys_for("edge")
    assert enroll(["edge", "--server-key", text_of(make_pair().public)]) == 0
    assert DeviceConfig().keys_for("edge") == home / "device"
    assert DeviceConfig(insecure=True).keys_for("edge") is None
    assert DeviceConfig().keys_for("127.0.0.1") is None and DeviceConfig().keys_for(None) is None
    with pytest.raises(DeviceConfigError, match="127.0.0.1 is not known"):
        DeviceConfig(keys=str(home / "device")).keys_for("127.0.0.1")
