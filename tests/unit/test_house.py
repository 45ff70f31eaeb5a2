"""The house rules that no linter knows: pure machines, small modules, no unpickling, light imports."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tasks", "wire", "metrics", "iot_client", "cloud_server", "examples", "experiments")

TOOLS = ("benchmarks", "chaos")
"""Beside the packages, not installed."""

MACHINES = ("iot_client/session.py", "cloud_server/scheduler.py")
"""`handle(event, now)`: these and all they import of ours wait for nothing, talk to nobody, guess nothing and read no clock."""

BANNED = frozenset({
    "asyncio", "concurrent", "cv2", "datetime", "logging", "multiprocessing", "numpy", "os", "pathlib", "psutil", "queue", "random",
    "secrets", "select", "selectors", "signal", "socket", "subprocess", "sys", "threading", "time", "zmq",
})
UNPICKLERS = frozenset({"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"})
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60

PROMISED = (
    "README.md", "LICENSE", "CHANGELOG.md", "setup.cfg", "pyproject.toml", "constraints.txt", "ruff.toml", ".ci/run",
    "scripts/demo", "scripts/test", "scripts/check", "scripts/bench", "scripts/chaos", "docs/protocol.md", "docs/tutorial.md",
    "docs/design.md",
    "tasks/task.py", "tasks/app.py", "tasks/run.py", "tasks/errors.py", "wire/protocol.py", "wire/payload.py", "wire/channel.py",
    "wire/memory_link.py", "wire/zmq_channel.py", "metrics/clock.py", "metrics/estimate.py", "metrics/host.py", "metrics/trace.py",
    "metrics/summary.py", "metrics/report.py", "iot_client/client.py", "iot_client/coordinator.py", "iot_client/executor.py",
    "iot_client/media/sources.py", "iot_client/media/sinks.py", "iot_client/cli/config.py", "iot_client/__main__.py",
    "cloud_server/coordinator.py", "cloud_server/cli/config.py", "cloud_server/__main__.py",
    "examples/ball_tracking/app.py", "examples/ball_tracking/sequential.py",
    "experiments/simulation/scenario.py", "experiments/simulation/simulate.py", "iot_client/events.py", "iot_client/outcome.py",
    "iot_client/session.py", "iot_client/servers/peer.py", "iot_client/frames/admission.py", "iot_client/frames/delivery.py",
    "cloud_server/events.py", "cloud_server/scheduler.py", "cloud_server/sessions.py", "cloud_server/batches/batching.py",
    *(f"{package}/py.typed" for package in PACKAGES),
)
"""What the layout in docs/design.md names."""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, at any depth, by its first name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def ours(name: str) -> Iterator[str]:
    """The modules of this checkout that one of them imports."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            paths = (f"{module.replace('.', '/')}.py" for module in (node.module, *inner))
            yield from (path for path in paths if (ROOT / path).is_file())


def reached(*names: str) -> list[str]:
    """These modules and all of ours that they import, directly or not."""
    found: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting.extend(ours(name))
    return sorted(found)


@pytest.mark.parametrize("name", reached(*MACHINES))
def test_a_machine_imports_nothing_that_waits_talks_or_guesses(name: str) -> None:
    """No module a machine is made of has a clock, socket, thread, chance, log or array in reach."""
    assert not BANNED & set(imported(ROOT / name))


def test_machines_are_made_of_the_modules_that_should_be_pure() -> None:
    """The walk over the imports finds the parts of both machines and the wire spec."""
    device = {"iot_client/servers/peer.py", "iot_client/frames/admission.py", "iot_client/frames/delivery.py"}
    assert device | {"cloud_server/sessions.py", "wire/protocol.py"} <= set(reached(*MACHINES))


def test_modules_are_short() -> None:
    """A module is one noun: none is longer than 400 lines."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*PACKAGES, *TOOLS, "tests")}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_MODULE}


def test_functions_are_short() -> None:
    """A function does one thing: none is longer than 60 lines."""
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in modules(*PACKAGES, *TOOLS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


PICKLES, UNPICKLES = "iot_client/pickling.py", "cloud_server/executors/shipped_child.py"
"""Where an app that is shipped becomes bytes, and where it becomes code again: in a process that has given its rights up."""


def test_nothing_unpickles() -> None:
    """One module of the product turns an app into bytes and one turns it back; no other imports anything that could."""
    offenders = {name_of(path): UNPICKLERS & set(imported(path)) for path in modules(*PACKAGES)}
    assert {name: found for name, found in offenders.items() if found} == {PICKLES: {"cloudpickle"}, UNPICKLES: {"cloudpickle"}}


def test_one_place_loads_what_was_pickled() -> None:
    """`loads` of a pickling library is called in the process of a shipped app, behind its sandbox, and nowhere else."""
    loads = re.compile(r"\b(?:cloudpickle|c?[pP]ickle|_pickle|dill|marshal|joblib)\.(?:loads?|Unpickler)\b")
    assert [name_of(path) for path in modules(*PACKAGES) if loads.search(path.read_text(encoding="utf-8"))] == [UNPICKLES]
    text = (ROOT / UNPICKLES).read_text(encoding="utf-8")
    assert text.index("enter(setup.sandbox, parent)") < text.index("app = _open(")


def test_nothing_receives_or_loads_python_objects() -> None:
    """The conveniences that unpickle under another name are not used either."""
    forbidden = re.compile(r"\b(recv_pyobj|send_pyobj|allow_pickle\s*=\s*True|torch\.load|yaml\.load)\b|(?<![\w.])(eval|exec)\(")
    found = [name_of(path) for path in modules(*PACKAGES) if forbidden.search(path.read_text(encoding="utf-8"))]
    assert not found


WALL_CLOCKS = frozenset({"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"})
DATED = {
    "iot_client/cli/log_lines.py": "lines for people say when", "cloud_server/cli/console.py": "lines for people say when",
    "iot_client/shipping.py": "a signature ends on a date", "cloud_server/shipping.py": "a signature ends on a date",
}
"""The modules that may know the time of day, and why."""


def wall_clocks(path: Path) -> Iterator[str]:
    """Where a module asks for the time of day."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in WALL_CLOCKS or (node.value.id in ("datetime", "date") and node.attr in ("now", "utcnow", "today")):
                yield f"{name_of(path)}:{node.lineno} {name}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"{name_of(path)}:{node.lineno} {alias.name}" for alias in node.names if f"time.{alias.name}" in WALL_CLOCKS)


def test_nothing_is_decided_by_the_time_of_day() -> None:
    """A wall clock steps; so device, server and wire measure with monotonic ones only, but where a date is meant."""
    asked = [where for path in modules("iot_client", "cloud_server", "wire", "metrics", "tasks") for where in wall_clocks(path)]
    assert not [where for where in asked if where.partition(":")[0] not in DATED]
    assert {where.partition(":")[0] for where in asked} == set(DATED)


def test_no_error_is_swallowed() -> None:
    """No handler catches every exception and says nothing."""
    silent = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(*PACKAGES, *TOOLS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.body[0], ast.Pass)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert not silent


def test_unit_tests_do_not_sleep() -> None:
    """A unit test owns its clock."""
    sleeps = re.compile(r"\bsleep\(")
    here = Path(__file__)
    assert not [name_of(path) for path in modules("tests/unit") if path != here and sleeps.search(path.read_text(encoding="utf-8"))]


def loaded_by(module: str) -> set[str]:
    """The first names of all modules that a fresh interpreter holds after importing this one."""
    script = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", ["iot_client.client", "iot_client.__main__", "cloud_server.coordinator", "cloud_server.__main__"])
def test_starting_a_program_loads_no_heavy_library(module: str) -> None:
    """Importing the device or the server brings in neither torch nor a plotting library."""
    assert not {"torch", "matplotlib", "scipy", "pandas"} & loaded_by(module)


def test_the_library_face_loads_what_is_used() -> None:
    """`import iot_client` alone brings in no other package, so that it can speak before anything fails."""
    assert not {"cv2", "numpy", "zmq", "msgspec", "tasks", "wire", "metrics"} & loaded_by("iot_client")


@pytest.mark.parametrize("name", PROMISED)
def test_the_layout_holds(name: str) -> None:
    """A file that the design names is there."""
    assert (ROOT / name).is_file()


def test_every_package_is_packaged() -> None:
    """setup.cfg lists each folder of code, so that the wheel lacks none."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in modules(*PACKAGES)}
    assert set(setup["options"]["packages"].split()) == folders


def requirements() -> set[str]:
    """Names of all that setup.cfg asks for, extras included."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    return {re.split(r"[<>=\[; ]", line)[0] for line in "\n".join(lines).splitlines() if line}


def test_every_import_is_a_declared_dependency() -> None:
    """What the product imports is in the standard library, ours, or named in setup.cfg."""
    module_of = {"pyzmq": "zmq", "opencv-python": "cv2", "prometheus-client": "prometheus_client"}
    known = {module_of.get(name, name) for name in requirements()} | set(sys.stdlib_module_names) | set(PACKAGES)
    unknown = {(name_of(path), name) for path in modules(*PACKAGES) for name in imported(path) if name not in known}
    assert not unknown


def test_every_requirement_is_pinned() -> None:
    """constraints.txt has a version for each requirement and each extra."""
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert requirements() <= pinned
