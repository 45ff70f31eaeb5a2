"""The files in deploy/: every option they use exists, every path they name is there, systemd finds nothing wrong."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud_server.cli import config as server_config
from iot_client.cli import config as client_config
from iot_client.racing.report import race_figures
from iot_client.racing.scores import RaceScore

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PARSERS: dict[str, Callable[[list[str]], Any]] = {
    "cloud-server": server_config.parse, "iot-client": lambda arguments: client_config.parse(arguments, {}),
}
UNITS = ("cloud-server", "iot-client")
IMAGES = {"server": "cloud-server", "device": "iot-client"}
ENVIRONMENT = {"STAGES": "2", "HOST": "192.0.2.7", "SOURCE": "0", "ARGS": ""}


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def instruction(image: str, name: str) -> list[str]:
    """The last one of this name in an image's Dockerfile, in its JSON form."""
    found = re.findall(rf"^{name} .*?(\[.*\])$", text_of(f"Dockerfile.{image}"), re.MULTILINE)
    return list(json.loads(found[-1]))


def accept(program: str, arguments: list[str]) -> Any:
    """What the program makes of these arguments; it exits, and the test fails, where they are wrong."""
    return PARSERS[program]([re.sub(r"^/var/lib/[\w-]+", str(ROOT), argument) for argument in arguments])  # a folder that exists


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_what_is_there(unit: str) -> None:
    """ExecStart is a command line that the program takes; health and logs are on, and the port is that of its page."""
    line = re.search(r"^ExecStart=(.*)$", text_of(f"{unit}.service"), re.MULTILINE)
    assert line is not None
    filled = re.sub(r"\$(\w+)", lambda match: ENVIRONMENT[match[1]], line[1].replace("%S", "/var/lib"))
    program, *arguments = shlex.split(filled)
    config = accept(Path(program).name, arguments)
    assert (Path(program).name, config.log_json) == (unit, True)
    assert str(config.health_port) in text_of("README.md")


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_gives_time_for_a_clean_stop(unit: str) -> None:
    """Ready and alive are told by the program; it has more than the five seconds a stop takes; it comes back whatever happened."""
    text = text_of(f"{unit}.service")
    for line in ("Type=notify", "WatchdogSec=30", "Restart=always", "TimeoutStopSec=10", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert f"\n{line}\n" in text


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(unit: str) -> None:
    """`systemd-analyze verify`, but for the program, which is not installed here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this host")
    run = subprocess.run([analyze, "verify", str(DEPLOY / f"{unit}.service")], capture_output=True, text=True, timeout=30, check=False)
    said = [line for line in (run.stdout + run.stderr).splitlines() if "/opt/spillway/bin" not in line]
    assert not [line for line in said if f"{unit}.service" in line]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_what_is_there(image: str) -> None:
    """ENTRYPOINT with CMD, and HEALTHCHECK, are command lines that the program takes, and the check asks the port that is opened."""
    program = IMAGES[image]
    entry, command, check = (instruction(image, name) for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    assert (entry[0], check[0]) == (program, program)
    config = accept(program, entry[1:] + command)
    assert accept(program, check[1:]).health == f"127.0.0.1:{config.health_port}"
    assert re.search(rf"^EXPOSE .*\b{config.health_port}\b", text_of(f"Dockerfile.{image}"), re.MULTILINE)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_slim_and_not_roots(image: str) -> None:
    """A slim base, another user, a signal the program takes, and nothing copied that is not there."""
    text = text_of(f"Dockerfile.{image}")
    assert "FROM python:3.12-slim\n" in text
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in text
    assert "opencv-python-headless==" in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_the_example_with_both_starts_what_is_there() -> None:
    """Each service's command goes with its image's entry point, and names a Dockerfile that exists."""
    text = text_of("compose.yaml")
    commands = [json.loads(found) for found in re.findall(r"^    command: (\[.*\])$", text, re.MULTILINE)]
    files = re.findall(r"dockerfile: ([\w./]+)", text)
    assert [(ROOT / name).is_file() for name in files] == [True, True]
    for image, command in zip(IMAGES, commands):
        accept(IMAGES[image], instruction(image, "ENTRYPOINT")[1:] + command)


def test_the_page_names_metrics_that_exist() -> None:
    """Whatever stands in the table of metrics is one of the programs' figures."""
    sources = [(ROOT / side / "figures.py").read_text(encoding="utf-8") for side in ("cloud_server", "iot_client")]
    sources += [figure.name for figure in race_figures(RaceScore())]
    for line in re.findall(r"^\| `spillway_.*$", text_of("README.md"), re.MULTILINE):
        names = re.findall(r"`(?:spillway_(?:server|client)_)?([a-z_]+)(?:\{\w+\})?`", line.split("|")[1])
        assert [name for name in names if name and not any(name in source for source in sources)] == []
