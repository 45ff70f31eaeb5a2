"""Functions that make an App: parameters in words and in values, in the app's name and in its fingerprint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from cloud_server.cli.config import ConfigError
from cloud_server.cli.config import parse as parse_server
from iot_client.cli.config import parse as parse_client
from tasks import App, AppError, Input, ParameterError, Task, factory, load, with_parameters
from tasks.factory import digest, split_path


class Add(Task):
    """Adds its parameters up."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def run(self, item: Any) -> Any:
        return self.given


@factory(local=("threads",))
def made(
    model: Path, count: int = 3, kind: Literal["fast", "good"] = "fast", threads: int = 1, half: bool = False, score: float | None = None,
    name: str = "",
) -> App:
    """An app of everything that may be a parameter."""
    if count < 0:
        raise ValueError(f"count={count}: must be 0 or more")
    given = {"model": model, "count": count, "kind": kind, "threads": threads, "half": half, "score": score, "name": name}
    return App("made", [Input(), Add(given)])


@factory
def plain(count: int = 3) -> App:
    """All of its parameters have defaults."""
    return App("plain", [Input(), Add({"count": count})])


def given(app: App) -> dict[str, Any]:
    stage = app.chain[1]
    assert isinstance(stage, Add)
    return stage.given


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a model&co=1.bin"
    path.write_bytes(b"weights")
    return path


def test_words_become_values(model: Path) -> None:
    """Each word of a command line becomes a value of its parameter's type; what is not said has its default."""
    words = {"model": str(model), "count": "7", "kind": "good", "threads": "2", "half": "Yes", "score": ".5", "name": "a=b c"}
    expected = {"model": model, "count": 7, "kind": "good", "threads": 2, "half": True, "score": 0.5, "name": "a=b c"}
    assert given(made.made(words)) == expected
    assert given(made(model, 7, kind="good", threads=2, half=True, score=0.5, name="a=b c")) == expected
    assert given(made.made({"model": str(model), "half": "off"})) == given(made(str(model)))
    assert given(made(model, score=None))["score"] is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({}, "it needs --param model=...; legal are model (a file or folder); count (a whole number; default 3); kind (fast or good; "
             "default fast); threads (a whole number; default 1); half (yes or no; default no); score (a number); name (text)"),
        ({"modle": "x"}, "no parameter 'modle' (did you mean model?); legal are model (a file or folder); count"),
        ({"model": "/no/such"}, "model='/no/such': there is no such file or folder on this host"),
        ({"model": ".", "count": "4.5"}, "count='4.5': must be a whole number"),
        ({"model": ".", "kind": "best"}, "kind='best': must be fast or good"),
        ({"model": ".", "half": "maybe"}, "half='maybe': must be yes or no"),
        ({"model": ".", "score": "much"}, "score='much': must be a number"),
        ({"model": ".", "count": "-1"}, "count=-1: must be 0 or more"),
    ],
)
def test_what_is_not_legal_is_refused_in_words(words: dict[str, str], text: str) -> None:
    """The error names the parameter, the word and what is legal; a missing one lists them all."""
    with pytest.raises(ParameterError) as refused:
        made.made(words)
    assert text in str(refused.value)


@pytest.mark.parametrize("values", [{"count": 4.5}, {"count": True}, {"half": 1.5}, {"name": 3}, {"kind": "best"}])
def test_a_call_is_checked_as_well(values: dict[str, Any]) -> None:
    """A program that gives a value of another type is told so."""
    with pytest.raises(ParameterError, match="must be"):
        made(".", **values)


def test_parameters_are_part_of_the_fingerprint(model: Path, tmp_path: Path) -> None:
    """Other values and other contents differ, a file elsewhere with equal content does not; defaults say nothing."""
    app = made(model)
    assert app.version == f"1 with model=sha256:{digest(model)[:16]}" and plain(3).version == plain().version == "1"
    twin = tmp_path / "elsewhere.bin"
    twin.write_bytes(b"weights")
    assert made(twin).fingerprint() == app.fingerprint() != made(twin, count=4).fingerprint()
    assert made(twin, count=4, half=True).version == f"{made(twin, count=4).version.replace('count=4', 'count=4, half=yes')}"
    assert made(twin, threads=9).fingerprint() == app.fingerprint()
    twin.write_bytes(b"other weights")
    assert made(twin).fingerprint() != app.fingerprint()


def test_an_app_that_is_made_once_is_not_changed() -> None:
    """A function may give out the same app again: each caller's has its own version."""
    one = App("one", [Input()])
    same = factory(lambda size="": one)
    assert [same(size="a").version, same().version, one.version] == ["1 with size=a", "1", "1"]


def test_a_long_version_is_cut_to_what_the_wire_takes(model: Path) -> None:
    """However long a parameter is, the version is short, and differs where the parameter does."""
    versions = {made(model, name="x" * 900 + end).version for end in "ab"}
    assert len(versions) == 2 and max(map(len, versions)) <= 200


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    """Names and contents count, in any order of the file system; hidden files do not, and neither does the folder's place."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("a", "b/c", "d", "e")), (second, ("e", "d", "b/c", "a"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    (second / ".cache").mkdir()
    (second / ".cache" / "lock").write_text("x")
    assert digest(first) == digest(second)
    (second / "e").rename(second / "f")
    assert digest(first) != digest(second)


def test_parameters_travel_in_the_name_of_an_app(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:attribute?name=value` is loaded like any app, by whoever loads apps, whatever stands in the value."""
    path = with_parameters(f"{__name__}:made", [f"model={model}", "count=7", "name=50 % & more?"])
    assert split_path(path)[1] == {"model": str(model), "count": "7", "name": "50 % & more?"}
    assert given(load(path)) == given(made(model, 7, name="50 % & more?"))
    assert given(load(f"{__name__}:plain")) == {"count": 3}
    (model.parent / "my_factory.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    assert load(f"{model.parent}/my_factory.py:plain?count=5").version == "1 with count=5"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("examples.ball_tracking.app:app?size=3", "takes no parameters: it is an App, and not a function that makes one (@factory)"),
        (f"{__name__}:plain?size=3", f"app '{__name__}:plain': no parameter 'size'; legal are count (a whole number; default 3)"),
        (f"{__name__}:plain?size", "write parameters as"),
        (f"{__name__}:plain?count=3&count=4", "a parameter is given twice"),
    ],
)
def test_load_says_what_is_wrong_with_parameters(path: str, text: str) -> None:
    """A path whose parameters lead nowhere is refused in words."""
    with pytest.raises(ParameterError) as refused:
        load(path)
    assert text in str(refused.value)


def test_the_client_has_its_app_s_parameters() -> None:
    """Each --param of iot-client joins the app, in either order on the command line."""
    assert parse_client(["--param", "size=3", "--app", "mine:app", "--param", "b=x y"], {}).app == "mine:app?size=3&b=x%20y"
    with pytest.raises(ParameterError, match="--param 'size': write it as NAME=VALUE"):
        parse_client(["--param", "size"], {})


def test_the_server_gives_each_app_its_own() -> None:
    """A --param of cloud-server belongs to the --app before it; one before any belongs to the first."""
    config = parse_server(["--param", "a=1", "--app", "x:app", "--param", "b=2", "--app", "y:app", "--app", "z:app", "--param", "c=3"])
    assert config.app == ("x:app?a=1&b=2", "y:app", "z:app?c=3")
    assert parse_server(["--param", "a=1"]).app == ("examples.ball_tracking.app:app?a=1",)
    with pytest.raises(ConfigError, match="--param 'a=1': must be given with the --app it is for"):
        parse_server(["--ship", "--param", "a=1"])


def test_a_function_that_cannot_be_a_factory_is_refused() -> None:
    """Types that no word can become, arguments without names, and local parameters that are not there."""
    with pytest.raises(AppError, match="cannot be given by name"):
        factory(lambda *sizes: App("x", [Input()]))
    with pytest.raises(AppError, match="local names speed, which it does not take"):
        factory(local=["speed"])(lambda size: App("x", [Input()]))

    @factory
    def wrong(sizes: list[int]) -> App:
        return App("x", [Input()])

    @factory
    def nothing() -> App:
        return None  # type: ignore[return-value]

    with pytest.raises(AppError, match="sizes is list.int.; legal are str, int, float, bool, Path, Literal"):
        wrong.made({"sizes": "1"})
    with pytest.raises(AppError, match="it returned a NoneType, not an App"):
        nothing()
