"""Profiles kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.moving import known

from iot_client.splitting.knowledge import Knowledge, KnownOption, KnownStage
from iot_client.splitting.profile import Profile
from iot_client.splitting.saved import default_folder, load, path_of, save

KNOWN = Knowledge(
    (KnownStage(0.001, 0.0, -1.0), KnownStage(0.02, 0.003, 0.004, 0.5)), (KnownOption(1, "jpeg:80", 4e4, 0.003),), 1e-3, 1e-9, 2e6
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    """Bit for bit, into a folder that was not there."""
    path = tmp_path / "a" / "b.json"
    save(path, KNOWN)
    assert load(path, 2) == KNOWN


def test_what_a_profile_knows_survives_the_file(tmp_path: Path) -> None:
    """A profile's knowledge has no value that the format lacks."""
    knowledge = known().knowledge(10.0)
    save(tmp_path / "p.json", knowledge)
    assert load(tmp_path / "p.json", 4) == knowledge


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\x00", b'{"stages": 3}', b'{"stages": [{"cpu_s": "a"}, {}]}']
)
def test_a_damaged_or_foreign_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    """It is as if there were none."""
    path = tmp_path / "p.json"
    path.write_bytes(content)
    assert load(path, 2) is None


@pytest.mark.parametrize("options", [
    '[{"k":1,"codec":"jpeg:high","nbytes":1}]', '[{"k":1,"codec":"jpeg:80","nbytes":-5}]', '[{"k":1,"codec":"jpeg:","nbytes":1}]',
])  # fmt: skip
def test_values_that_were_never_measured_are_ignored(tmp_path: Path, options: str) -> None:
    """A codec that is none, or a size below zero, spoils the file and not the run."""
    path = tmp_path / "p.json"
    path.write_text('{"stages":[{},{}],"options":' + options + "}")
    assert load(path, 2) is None


def test_a_cut_off_file_is_ignored_at_every_length(tmp_path: Path) -> None:
    """Whatever a full disk left of it."""
    path = tmp_path / "p.json"
    save(path, KNOWN)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load(path, 2) is None


def test_a_chain_of_another_length_is_not_ours(tmp_path: Path) -> None:
    """Two stages' costs say nothing of three."""
    save(tmp_path / "p.json", KNOWN)
    assert load(tmp_path / "p.json", 3) is None


def test_there_may_be_none(tmp_path: Path) -> None:
    """A first start, and a folder in the file's place."""
    assert load(tmp_path / "none.json", 2) is load(tmp_path, 2) is None


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot be, the old one stays as it was and nothing else is left."""
    path = tmp_path / "p.json"
    save(path, KNOWN)

    def refuse(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        save(path, Knowledge((KnownStage(),) * 2))
    assert load(path, 2) == KNOWN
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/null/x on Windows")
def test_a_folder_that_cannot_be_made_is_an_os_error() -> None:
    """Which the client says as a note (tests/integration/test_automatic.py)."""
    with pytest.raises(OSError):
        save(Path("/dev/null/x/p.json"), KNOWN)


def test_names_may_hold_any_characters() -> None:
    """Each pair of device and server has its own file, in one folder."""
    names = [("cam/7", "a:1"), ("cam", "7a:1"), ("../..", "\0"), ("cam\0a", ":1"), ("ä" * 300, "b")]
    paths = {path_of(Path("/x"), "feed", device, server) for device, server in names}
    assert len(paths) == len(names)
    assert all(path.parent == Path("/x") and len(path.name) < 100 for path in paths)


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where XDG says, else below home."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/spillway")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path("/home/me/.cache/spillway")


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_no_content_ends_a_client(content: bytes) -> None:
    """Whatever a file holds, loading says knowledge that a profile can start from, or nothing."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"spillway-test-{os.getpid()}.json"
    path.write_bytes(content)
    try:
        found = load(path, 2)
    finally:
        path.unlink()
    Profile(2, 2, 1, ((1, "jpeg:50", 50), (2, "", 100)), found).costs(1.0)
