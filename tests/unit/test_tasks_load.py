"""`load`: from the words of a command line to an App, or to words that say what is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tasks import AppNotFound, load


def test_load_finds_an_app() -> None:
    """`module:attribute` gives the App."""
    app = load("examples.ball_tracking.app:app")
    assert app.name == "ball_tracking" and app.n == 6


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("examples.ball_tracking.app", "write it as module:attribute or ./file.py:attribute, for example examples.ball_tracking.app:app"),
        (":app", "write it as module:attribute"),
        ("examples.ball_tracking.app:", "write it as module:attribute"),
        ("examples/ball_tracking/app:app", "name a module, or a file that ends in .py: examples.ball_tracking.app:app"),
        ("no/such/file.py:app", "there is no file no/such/file.py"),
        ("examples/ball_tracking/app.py:no", "there is no such attribute; apps in 'examples.ball_tracking.app': app"),
        ("no_such_module:app", "cannot import 'no_such_module': ModuleNotFoundError: No module named 'no_such_module'; looked in "),
        ("examples.no.such:app", f"looked in {os.getcwd()} and in what is installed: start in the folder that has it, or"),
        ("examples.ball_tracking.app:tracker", "there is no such attribute; apps in 'examples.ball_tracking.app': app"),
        ("examples.ball_tracking.app:Ball", "it is a StructMeta, not an App; apps in 'examples.ball_tracking.app': app"),
        ("dataclasses:field", "it is a function, not an App; mark a function that makes one with @factory; apps in 'dataclasses': none"),
    ],
)
def test_load_says_which_half_is_wrong(path: str, words: str) -> None:
    """A path that leads to no App is refused with the half that is wrong and what is there instead."""
    with pytest.raises(AppNotFound) as refused:
        load(path)
    assert words in str(refused.value) and repr(path) in str(refused.value)


def test_a_module_in_a_package_stands_for_its_app() -> None:
    """`package:module` gives the module's `app`, imported before or not; a package without that module has no such attribute."""
    for _ in range(2):
        assert load("examples.detection:pedestrians").name == "pedestrians"
    assert load("examples.ball_tracking:app?").name == "ball_tracking"
    with pytest.raises(AppNotFound, match="there is no such attribute; apps in 'examples.detection': none"):
        load("examples.detection:pedestrian")
    with pytest.raises(AppNotFound, match="there is no such attribute"):
        load("examples.detection:boxes")


def test_load_finds_the_app_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is imported with what lies beside it; one in a package under the package's name."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "my_file_helper.py").write_text("NAME = 'mine'\n")
    (tmp_path / "my_file.py").write_text("import my_file_helper\nfrom tasks import App, Input\napp = App(my_file_helper.NAME, [Input()])\n")
    assert load(f"{tmp_path}/my_file.py:app").name == "mine"
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "app.py").write_text("from tasks import App, Input\napp = App(__name__, [Input()])\n")
    assert load(f"{tmp_path}/my_package/app.py:app").name == "my_package.app"


def test_load_finds_modules_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app beside the user is found without installing it; one that breaks while imported says how."""
    (tmp_path / "my_pipeline_a.py").write_text("from tasks import App, Input\napp = App('mine', [Input()])\n")
    (tmp_path / "my_pipeline_b.py").write_text("1 / 0\n")
    (tmp_path / "my_pipeline_c.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "my_pipeline_d.py").write_text("import no_such_package.deep\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert load("my_pipeline_a:app").name == "mine"
    with pytest.raises(AppNotFound, match="cannot import 'my_pipeline_b': ZeroDivisionError: division by zero"):
        load("my_pipeline_b:app")
    with pytest.raises(AppNotFound, match="cannot import 'my_pipeline_c': SystemExit: 3"):
        load("my_pipeline_c:app")
    with pytest.raises(AppNotFound, match="No module named 'no_such_package'; install what it needs: pip install no_such_package$"):
        load("my_pipeline_d:app")
