"""Whose `tasks` would be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

CHECK = (
    "import runpy, sys; sys.path.append(sys.argv[1])\n"
    "print(runpy.run_path(sys.argv[1] + '/wire/origin.py')['shadowed'](('tasks', 'wire', 'metrics'), sys.argv[1]))\n"
    "print(sorted({'tasks', 'wire', 'metrics'} & set(sys.modules)))\n"
)


def check(folder: Path, home: Path = REPO) -> list[str]:
    """The two lines of CHECK, run in `folder`."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # Without site-packages: an editable installation would offer its own `tasks` from there.
    command = [sys.executable, "-S", "-c", CHECK, str(home)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


def test_our_own_packages_pass_and_none_is_imported(tmp_path):
    """The check itself loads nothing."""
    assert check(tmp_path) == ["", "[]"]


@pytest.mark.parametrize("name", ["tasks.py", "wire.py", "metrics/__init__.py"])
def test_a_users_module_of_the_same_name_is_named(tmp_path, name):
    """The text has the culprit's path and the package it hides; its code has not run."""
    culprit = tmp_path / name
    culprit.parent.mkdir(exist_ok=True)
    culprit.write_text("raise SystemExit('this ran')")
    problem, loaded = check(tmp_path)
    package = name.split("/")[0].removesuffix(".py")
    assert str(culprit) in problem and f"hides Spillway's own package '{package}'" in problem and "rename" in problem
    assert loaded == "[]"


def test_a_folder_without_code_hides_nothing(tmp_path):
    """A plain folder called tasks yields to a package further down the path."""
    (tmp_path / "tasks").mkdir()
    assert check(tmp_path)[0] == ""


def test_a_broken_installation_is_told(tmp_path):
    """A package that is nowhere is missing, not hidden."""
    home = tmp_path / "home"
    (home / "wire").mkdir(parents=True)
    (home / "wire" / "origin.py").write_text((REPO / "wire" / "origin.py").read_text())
    (home / "wire" / "__init__.py").touch()
    assert "package 'tasks' is missing" in check(tmp_path, home)[0]
