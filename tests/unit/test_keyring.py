"""Names and public keys in a file: read strictly, changed as a whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wire.identity import DEVICE_KEY, SERVER_KEY, SERVERS, DeviceKeys, ServerKeys
from wire.keyring import check_name, edit_keyring, read_keyring
from wire.keys import KeyProblem, make_pair, text_of, write_pair

ONE, OTHER = make_pair().public, make_pair().public


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_lines_are_names_and_keys(tmp_path: Path) -> None:
    """Comments and blank lines are for people; no file means no names."""
    path = written(tmp_path / "devices", f"# mine\n\ncam1 {text_of(ONE)}  # the door\n  cam2\t{text_of(OTHER)}\n")
    assert read_keyring(path) == {"cam1": ONE, "cam2": OTHER}
    assert read_keyring(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cam1\n", "line 1: 'cam1'; a line is a name and a key"),
        (f"a/b {text_of(ONE)}\n", "name 'a/b'"), ("cam1 abc\n", "line 1: key 'abc'"),
        (f"\na {text_of(ONE)}\na {text_of(OTHER)}\n", "line 3: 'a' or its key"), (f"a {text_of(ONE)}\nb {text_of(ONE)}\n", "line 2: 'b'"),
        (f"a {text_of(ONE)} b\n", "a name and a key"),
    ],
    ids=["no key", "no name", "no key's text", "a name twice", "a key twice", "more"],  # the keys differ each time
)
def test_a_line_that_says_nothing_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """Half a file is never used: the error names file, line and what is wrong with it."""
    with pytest.raises(KeyProblem) as raised:
        read_keyring(written(tmp_path / "devices", text))
    assert problem in str(raised.value)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can add a line could let himself in."""
    path = written(tmp_path / "devices", "")
    path.chmod(mode)
    with pytest.raises(KeyProblem, match="others can write"):
        read_keyring(path)


def test_ten_at_once_lose_nothing(tmp_path: Path) -> None:
    """Edits made at the same time wait for each other: each is there at the end."""
    def add(index: int) -> None:
        edit_keyring(tmp_path / "k" / "devices", lambda keys: keys.update({f"cam{index}": make_pair().public}), "title")

    threads = [threading.Thread(target=add, args=(index,)) for index in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_keyring(tmp_path / "k" / "devices")) == {f"cam{index}" for index in range(10)}


@pytest.mark.parametrize("name", ["", "a b", "a/b", "\n", "x" * 129, "a#b"])
def test_names_keep_to_their_letters(name: str) -> None:
    """What could not be read back, or stands for a part of a name, is refused."""
    with pytest.raises(KeyProblem, match="legal"):
        check_name(name)


def test_a_server_without_a_key_says_how_to_make_one(tmp_path: Path) -> None:
    """The error is the command to run; with a key it loads, and nobody is allowed yet."""
    with pytest.raises(KeyProblem, match="cloud-server keys init"):
        ServerKeys.load(tmp_path)
    pair = make_pair()
    write_pair(tmp_path / SERVER_KEY, pair)
    assert ServerKeys.load(tmp_path).pair == pair and not ServerKeys.load(tmp_path).allowed


def test_a_port_of_its_own_outranks_its_host(tmp_path: Path) -> None:
    """A device believes the key of host and port, else that of the host, whatever the case; another host is not known."""
    write_pair(tmp_path / DEVICE_KEY, make_pair())
    written(tmp_path / SERVERS, f"edge {text_of(ONE)}\nedge:7 {text_of(OTHER)}\n")
    assert DeviceKeys.load(tmp_path, "EDGE", 5757).server == ONE
    assert DeviceKeys.load(tmp_path, "edge", 7).server == OTHER
    with pytest.raises(KeyProblem, match="iot-client enroll cloud --server-key"):
        DeviceKeys.load(tmp_path, "cloud", 7)


def test_an_ipv6_address_may_be_pinned(tmp_path: Path) -> None:
    """With brackets or without, it is the same server."""
    write_pair(tmp_path / DEVICE_KEY, make_pair())
    written(tmp_path / SERVERS, f"::1 {text_of(ONE)}\n[::1]:7 {text_of(OTHER)}\n")
    assert DeviceKeys.load(tmp_path, "[::1]", 5757).server == ONE
    assert DeviceKeys.load(tmp_path, "::1", 7).server == OTHER
