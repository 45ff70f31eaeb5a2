"""What the server's command line refuses, and in which words; and what it finds in the user's own folder."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.integration import server_process
from tests.integration.bodies import feed
from tests.integration.server_process import COUNTED, REPO, Start

heeded_signals, start_server = server_process.heeded_signals, server_process.start_server


def refused(start_server: Start, *arguments: object, cwd: Path = REPO) -> tuple[int, str]:
    """Exit code and the one line said by a server that does not start."""
    code, out, err = start_server(*arguments, cwd=cwd).end()
    assert out == ""
    assert err.startswith("cloud-server: ")
    assert err.count("\n") == 1
    return code, err


def test_a_port_in_use_is_named_with_its_remedy(start_server: Start) -> None:
    """Exit code 4, before any worker is set up, and the words say how to find the holder."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, words = refused(start_server, "--app", "tests.worker_apps:broken", "--port", port)
    assert code == 4
    assert f"port {port} on 127.0.0.1 is in use" in words
    assert f"ss -ltnp 'sport = :{port}'" in words


def test_a_second_server_on_the_port_is_refused(start_server: Start) -> None:
    """What a server holds no other gets; when it has ended the port is free at once."""
    first = start_server(*COUNTED)
    first.ready()
    with first.client() as client:
        feed(client, [1])
    assert refused(start_server, *COUNTED, "--port", first.port)[0] == 4
    first.end(signal.SIGTERM)
    second = start_server(*COUNTED, "--port", first.port)
    second.ready()
    assert second.end(signal.SIGTERM)[0] == 0


def test_a_foreign_address_is_refused(start_server: Start) -> None:
    """Only addresses of this machine can be listened on."""
    code, words = refused(start_server, "--host", "192.0.2.1", "--insecure", "--port", 5757)
    assert code == 4
    assert "cannot listen on 192.0.2.1" in words


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "192.168.0.7", "example.org"])
def test_an_open_address_needs_keys_or_consent(start_server: Start, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys, what others can reach is refused, with the ways out."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code, words = refused(start_server, "--host", host)
    assert code == 2
    assert "--insecure" in words
    assert "cloud-server keys init" in words and "iot-client enroll" in words and "cloud-server devices allow" in words


def test_consent_opens_the_address(start_server: Start) -> None:
    """With --insecure it listens where it is told to."""
    run = start_server(*COUNTED, "--host", "*", "--insecure")
    assert run.process.stdout is not None
    line = run.process.stdout.readline()
    run.port = int(line.split(":")[3].split(",")[0])
    with run.client() as client:
        assert feed(client, [1])[0].value == 1
    assert run.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(("app", "words"), [
    ("no_such_module:app", "cannot import 'no_such_module'"), ("tests.worker_apps:nothing", "there is no such attribute"),
    ("tests.worker_apps", "write it as module:attribute"), ("tests.worker_apps:IMAGE", "is a ndarray, not an App"),
])
def test_an_unknown_app_is_named(start_server: Start, app: str, words: str) -> None:
    """Exit code 2, and which half is wrong."""
    code, said = refused(start_server, "--app", app)
    assert code == 2
    assert words in said


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_stage_that_cannot_be_set_up_is_named(start_server: Start, executor: str) -> None:
    """Exit code 1, with app, stage and error; the port is never opened."""
    code, words = refused(start_server, "--app", "tests.worker_apps:broken", "--executor", executor)
    assert code == 1
    assert "app 'broken': setup of stage 'broken' failed: ValueError: no such model" in words


@pytest.mark.parametrize(("option", "why"), [("--results", "there is no folder"), ("--trace", "No such file or directory")])
def test_an_output_that_cannot_be_written_is_named(start_server: Start, tmp_path: Path, option: str, why: str) -> None:
    """Exit code 6, at the start and not after the first result."""
    code, words = refused(start_server, *COUNTED, option, tmp_path / "missing" / "file.jsonl")
    assert code == 6
    assert f"{tmp_path}/missing/file.jsonl: {why}" in words


@pytest.mark.parametrize(("arguments", "words"), [
    (("--port", "65536"), "--port 65536: must be 0 (any free one) to 65535"),
    (("--workers", "0"), "--workers 0: must be 1 or more, or auto"),
    (("--executor", "inline", "--workers", "2"), "--workers 2: must be 1 with --executor inline"),
    (("--max-job", "65M"), "--max-job 65M: must be 64K to 64M"),
    (("--max-memory", "1M"), "--max-memory 1M: must be at least twice the 16M of --max-job"),
    (("--max-memory-per-device", "1M"), "--max-memory-per-device 1M: must be at least the 16M of --max-job"),
    (("--lease", "1"), "--lease 1.0: must be 2 to 3600 seconds"),
    (("--results", "x", "--trace", "x"), "--trace 'x': must be another file than that of --results"),
    ((*COUNTED, "--app", "tests.worker_apps:namesake"), "tests.worker_apps:counted is called 'counted' as well"),
])
def test_nonsense_is_refused_in_words(start_server: Start, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2; the text names the parameter, the value and what is legal."""
    code, said = refused(start_server, *arguments)
    assert code == 2
    assert words in said


@pytest.mark.parametrize("arguments", [("--max-job", "much"), ("--workers", "few"), ("--executor", "magic"), ("--nonsense",)])
def test_what_cannot_be_read_shows_the_usage(start_server: Start, arguments: tuple[str, ...]) -> None:
    """argparse's own refusal, code 2."""
    code, _, err = start_server(*arguments).end()
    assert code == 2
    assert err.startswith("usage: cloud-server")


def test_help_documents_the_exit_codes(start_server: Start) -> None:
    """Every code that is used stands in --help; --version names the program's version."""
    code, out, _ = start_server("--help").end()
    assert code == 0
    assert all(re.search(rf"^ +(\d+, )?{number}\b", out, re.MULTILINE) for number in (0, 1, 2, 4, 6, 129, 130))
    code, out, _ = start_server("--version").end()
    assert code == 0
    assert re.match(r"spillway \d+\.\d+", out)


# -- the user's own files --------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_app_in_the_working_directory_is_served(start_server: Start, tmp_path: Path, executor: str) -> None:
    """A module beside the user is found, by worker processes too, also from a path with a space in it."""
    folder = tmp_path / "my apps"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from tasks import App, Input, task\n\n@task\ndef twice(x):\n    return 2 * x\n\napp = App('mine', [Input(), twice])\n"
    )
    run = start_server("--app", "mine:app", "--executor", executor, cwd=folder)
    assert run.ready().startswith("ready: mine on ")
    assert run.end(signal.SIGTERM)[0] == 0


def test_a_file_that_hides_a_package_is_named(start_server: Start, tmp_path: Path) -> None:
    """A user's own tasks.py in the working directory would be imported instead of ours."""
    (tmp_path / "tasks.py").write_text("tasks = []\n")
    code, words = refused(start_server, cwd=tmp_path)
    assert code == 1
    assert f"{tmp_path}/tasks.py hides Spillway's own package 'tasks'" in words


def test_an_offered_app_without_all_stages_says_so(start_server: Start) -> None:
    """A stage whose packages are missing is left out with a warning; the server starts."""
    run = start_server("--app", "tests.worker_apps:partly")
    run.ready()
    _, _, err = run.end(signal.SIGTERM)
    assert "app 'partly': stage 'poor' is not offered, since no_such_package is missing here" in err
