"""Keys: as text, as words, and as files that keep their secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wire.keys import KEY_BYTES, KeyProblem, default_folder, fresh_folder, key_of, make_pair, read_pair, text_of, words_of, write_pair


def test_a_key_is_the_same_after_its_text() -> None:
    """Text and back gives the 32 bytes, also with capitals and blanks around, as a copy may have them."""
    for key in (bytes(KEY_BYTES), bytes(range(KEY_BYTES)), make_pair().public):
        text = text_of(key)
        assert len(text) == 56 and text.isalnum() and text == text.lower()
        assert key_of(text) == key_of(f"  {text.upper()}\n") == key


def test_one_wrong_character_is_seen() -> None:
    """Each single slip in a key's text is refused, and the text says what a key looks like."""
    text = text_of(bytes(range(KEY_BYTES)))
    for at in range(len(text)):
        other = "a" if text[at] != "a" else "b"
        with pytest.raises(KeyProblem, match="check does not fit"):
            key_of(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "abc", "1" * 56, "a" * 55, "a" * 57, "\N{SNOWMAN}" * 56, "a" * 100_000])
def test_what_is_no_key_is_refused_in_words(text: str) -> None:
    """No other text is a key; the error is short, whatever was given."""
    with pytest.raises(KeyProblem, match="a key is 56 characters|check does not fit") as raised:
        key_of(text)
    assert len(str(raised.value)) < 400


def test_words_are_few_and_differ() -> None:
    """Five words of five letters, the same for the same key, others for another."""
    one, other = make_pair().public, make_pair().public
    assert words_of(one) == words_of(one) != words_of(other)
    assert [len(word) for word in words_of(one).split("-")] == [5] * 5


def test_a_pair_survives_its_file(tmp_path: Path) -> None:
    """What is written is read, with its name; the secret is in no repr."""
    pair = make_pair("cam1")
    write_pair(tmp_path / "device.key", pair)
    assert read_pair(tmp_path / "device.key") == pair
    assert text_of(pair.secret) not in repr(pair) and text_of(pair.public) in repr(pair)


def test_a_secret_file_is_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and its folder 0700."""
    before = os.umask(0)
    try:
        folder = fresh_folder(tmp_path / "keys")
        write_pair(folder / "a.key", make_pair())
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["a.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o601])
def test_a_secret_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh does: the error names the file, its mode and the command that mends it."""
    write_pair(tmp_path / "a.key", make_pair())
    (tmp_path / "a.key").chmod(mode)
    with pytest.raises(KeyProblem, match=f"mode {mode:04o}.*chmod 600"):
        read_pair(tmp_path / "a.key")


def test_a_key_is_never_overwritten_by_chance(tmp_path: Path) -> None:
    """A second write is refused and changes nothing; with `replace` it stands."""
    first, second = make_pair(), make_pair()
    write_pair(tmp_path / "a.key", first)
    with pytest.raises(KeyProblem, match="--force"):
        write_pair(tmp_path / "a.key", second)
    assert read_pair(tmp_path / "a.key") == first
    write_pair(tmp_path / "a.key", second, replace=True)
    assert read_pair(tmp_path / "a.key") == second
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"kind curve\n", b"nonsense\n" * 9, b"kind curve\npublic aa\nsecret bb\n", b"secret " + b"a" * 70_000]
)
def test_a_damaged_file_is_a_key_problem(tmp_path: Path, content: bytes) -> None:
    """Never another exception, and the text names the file."""
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyProblem, match=r"a\.key"):
        read_pair(path)


def test_halves_of_two_pairs_are_no_pair(tmp_path: Path) -> None:
    """A public key that is not the secret's is found when the file is read, not when nobody answers."""
    one, other = make_pair(), make_pair()
    write_pair(tmp_path / "a.key", type(one)(public=one.public, secret=other.secret))
    with pytest.raises(KeyProblem, match="do not belong together"):
        read_pair(tmp_path / "a.key")


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    """A key that signs is not taken for one that encrypts, nor the other way round."""
    write_pair(tmp_path / "a.key", make_pair(), kind="ed25519")
    with pytest.raises(KeyProblem, match="kind 'ed25519', where 'curve'"):
        read_pair(tmp_path / "a.key")
    assert read_pair(tmp_path / "a.key", kind="ed25519")


def test_the_folder_is_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CONFIG_HOME, else ~/.config."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert default_folder("server") == Path("/c/spillway/server")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_folder("device") == Path("/h/.config/spillway/device")
