"""The command lines with keys: from nothing to frames in the cloud, and out again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.commands import REPO, client, environment, server

HOST = "127.0.0.1"


def run(package: str, *arguments: object) -> str:
    """What a command that makes or exchanges keys prints."""
    command = [sys.executable, "-m", package, *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, env=environment(), capture_output=True, text=True, timeout=30, check=True).stdout


def test_enrolled_devices_are_served_and_others_told_what_to_do(tmp_path: Path) -> None:
    """Three commands, then frames are done in the cloud; an unknown device and one without keys end with code 4 or 3, and why."""
    here, there, other = tmp_path / "server", tmp_path / "device", tmp_path / "other"
    key = re.search(r"public key +(\w+)", run("cloud_server", "keys", "init", "--keys", here))
    assert key is not None
    enroll = ("iot_client", "enroll", HOST, "--server-key", key[1], "--name")
    run(*enroll, "cam2", "--keys", other)
    allow = re.search(r"cloud-server (devices allow .*)", run(*enroll, "cam1", "--keys", there))
    assert allow is not None
    run("cloud_server", *allow[1].split(), "--keys", here)
    with server("--keys", here) as port:
        to = (2, "--host", HOST, "--port", port, "--frames", 30, "--quiet")
        done = client(*to, "--keys", there, "--summary", tmp_path / "s.json")
        assert done.returncode == 0, done.stderr
        summary = json.loads((tmp_path / "s.json").read_text())
        assert summary["done_cloud"] > 0 and summary["done_device"] == 0 and list(summary["aggregate"] or {}) in ([], ["cam1"])
        unknown = client(*to, "--keys", other)
        assert unknown.returncode == 4 and "cloud-server devices allow cam2" in unknown.stderr
        plain = client(*to)
        assert plain.returncode in (3, 4) and ("wants keys" in plain.stderr or "no Spillway server answered" in plain.stderr)


def test_a_host_that_is_not_enrolled_is_refused_at_once(tmp_path: Path) -> None:
    """Code 2 with the command to run, before a camera is opened or a packet sent."""
    done = client(3, "--host", "192.0.2.7", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "iot-client enroll 192.0.2.7 --server-key KEY" in done.stderr and "--insecure" in done.stderr
