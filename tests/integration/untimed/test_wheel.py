"""What is installed from the wheel works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = (
    "tasks", "wire", "metrics", "iot_client", "cloud_server", "examples", "experiments", "setup.cfg", "pyproject.toml", "MANIFEST.in",
    "README.md", "LICENSE",
)

pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Its standard output; what it said is the failure if it fails. No path of the checkout is inherited."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel; its dependencies are those of the tests' own."""
    there = tmp_path_factory.mktemp("with a space")
    source = there / "source"
    source.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", there, source], there)
    run([sys.executable, "-m", "venv", "--without-pip", there / "venv"], there)
    python = there / "venv" / "bin" / "python"
    (wheel,) = there.glob("spillway-*.whl")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], there)
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], there).strip()
    # Found after the wheel's own packages; .pth files in there are not followed, so the checkout stays out of reach.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    shutil.rmtree(source)
    return python.parent


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    """The packages come from the environment, not from the checkout."""
    script = "import iot_client, tasks, wire; print(iot_client.__file__, tasks.__file__, wire.__file__)"
    where = run([installed / "python", "-c", script], tmp_path)
    assert str(ROOT) not in where
    assert where.count(str(installed.parent)) == 3


def test_the_installed_client_lists_the_stages(installed: Path, tmp_path: Path) -> None:
    """`iot-client --list` names the stages of ball tracking and where it may be split."""
    listing = run([installed / "iot-client", "--list"], tmp_path)
    for stage in ("get_frame", "calculate_hsv", "calculate_mask", "find_contours", "calculate_circle", "draw_circle"):
        assert stage in listing


def test_both_programs_run_as_commands_and_as_modules(installed: Path, tmp_path: Path) -> None:
    """`iot-client` is `python -m iot_client`, and `cloud-server` is `python -m cloud_server`."""
    for command, module in (("iot-client", "iot_client"), ("cloud-server", "cloud_server")):
        assert run([installed / command, "--help"], tmp_path) == run([installed / "python", "-m", module, "--help"], tmp_path)


def test_the_installed_client_tracks_a_ball(installed: Path, tmp_path: Path) -> None:
    """The default app and its rendered clip are in the wheel: a short local run gives one line per frame."""
    run([installed / "iot-client", "--frames", "5", "--quiet", "--results", "out.jsonl"], tmp_path)
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 5


def test_types_travel_with_every_package(installed: Path, tmp_path: Path) -> None:
    """A type checker finds py.typed beside each top-level package."""
    names = ("tasks", "wire", "metrics", "iot_client", "cloud_server", "examples", "experiments")
    script = f"import importlib.resources as r; print(all(r.files(n).joinpath('py.typed').is_file() for n in {names!r}))"
    assert run([installed / "python", "-c", script], tmp_path).strip() == "True"
