"""The file of `iot-client services`: what it may say, and what it is told where it says something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iot_client.cli.config import ConfigError
from iot_client.services.command import line, main, summary
from iot_client.services.file import read_services
from iot_client.services.run import Counts
from iot_client.services.services import Standing
from iot_client.uplink.allowance import NOTHING_SENT, Allowance
from iot_client.uplink.sharing import HEADROOM, Rung, Stake

GOOD = """
[defaults]
host = "192.0.2.7"
insecure = true

[[services]]
name = "objects"
app = "tests.uplink_apps:objects"
local = 0.4
rungs = [{codec = "jpeg:90", accuracy = 0.6}, {cloud = 1, codec = "raw", accuracy = 0.7}]

[[services]]
name = "lanes"
app = "tests.uplink_apps:lanes"
host = ["192.0.2.7", "192.0.2.8:5858"]
weight = 2
deadline_ms = 80
local = 0.7
rungs = [{codec = "jpeg:80", accuracy = 0.78}]
"""


def written(folder: Path, text: str, name: str = "car.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_service_has_its_own_options_and_the_defaults(tmp_path: Path) -> None:
    """Its stake is for the planner, the rest is what iot-client would have been given."""
    found = read_services(written(tmp_path, GOOD))
    objects, lanes = found.services
    assert found.headroom == HEADROOM
    assert objects.stake == Stake("objects", 0.4, (Rung(0, "jpeg:90", 0.6), Rung(1, "raw", 0.7)))
    assert (objects.config.host, objects.config.insecure, objects.config.device) == (("192.0.2.7",), True, "objects")
    assert (lanes.config.host, lanes.config.deadline_ms, lanes.config.mode) == (("192.0.2.7", "192.0.2.8:5858"), 80.0, "live")
    assert lanes.stake.weight == 2.0


def test_the_same_may_be_json(tmp_path: Path) -> None:
    """For a Python that reads no TOML."""
    service = {"name": "a", "app": "x:y", "host": "h", "insecure": True, "local": 0.1, "rungs": [{"codec": "raw", "accuracy": 0.2}]}
    found = read_services(written(tmp_path, json.dumps({"headroom": 0.5, "services": [service]}), "car.json"))
    assert (found.headroom, found.services[0].name) == (0.5, "a")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("local = 0.4\n", "local = 1.4\n", "service 'objects': local=1.4; legal: 0 to 1"),
        ("local = 0.4\n", "", "service 'objects': Object missing required field `local`"),
        ("weight = 2", "weight = 0", "service 'lanes': weight=0.0; legal: above 0"),
        ("deadline_ms = 80", "deadline_ms = -1", "service 'lanes': --deadline-ms -1.0: must be"),
        ("deadline_ms", "dead_line", "service 'lanes': Object contains unknown field `dead_line`"),
        ('"jpeg:80"', '"jpeg:800"', "service 'lanes': "),
        ('"lanes"\napp', '"objects"\napp', "two services are named 'objects'"),
        ("[defaults]", "[default]", "'default' is unknown; legal are headroom, defaults and services"),
        ("[defaults]", "headroom = 2\n[defaults]", "headroom=2; legal: above 0, at most 1"),
        ("name = ", "name ", "car.toml: "),
    ],
)
def test_what_is_wrong_is_said_by_name(tmp_path: Path, before: str, after: str, said: str) -> None:
    """The text names the file, the service and the option, and what is legal."""
    assert before in GOOD
    with pytest.raises(ConfigError) as error:
        read_services(written(tmp_path, GOOD.replace(before, after, 1)))
    assert str(error.value).startswith(str(tmp_path / "car.toml")) and said in str(error.value)


def test_the_command_line_explains_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows a file; what cannot be is refused with exit code 2, before anything is started."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "[[services]]" in capsys.readouterr().out
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml: No such file" in capsys.readouterr().err
    assert main([written(tmp_path, GOOD), "--seconds", "0"]) == 2
    assert "--seconds 0: must be" in capsys.readouterr().err
    assert main([written(tmp_path, GOOD.replace("uplink_apps:objects", "uplink_apps:nothing"))]) == 2
    assert "nothing" in capsys.readouterr().err


def test_a_line_says_what_may_be_sent_and_what_came_of_it() -> None:
    """The share and the codec, or that nothing is; the part that clouds answered, and the accuracy expected."""
    counts = Counts(frames=10, cloud=4, local=6, worth=5.0, nbytes=2_500_000)
    text = line(Standing("objects", Allowance(share=0.5, codec="jpeg:50"), 14.9, 1.0), counts)
    assert "50 % as jpeg:50" in text and "14.9 fps" in text and "cloud  40 %" in text and "accuracy 0.500" in text
    assert "sends nothing" in line(Standing("lanes", NOTHING_SENT, 20.0, 0.0), Counts())
    assert "accuracy 0.5000 (+0.0800 over local)" in summary(Stake("objects", 0.42, ()), counts)
