"""Apps whose stages do what tests of the executors need; worker processes load them from here by name."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaos.poisoned import batched as batched, single as single  # for `Bench`, which finds apps here by name
from tasks import DROP, Aggregate, App, Input, StatefulTask, Task, task


@dataclass
class Found:
    """A record with a picture in it."""

    total: int
    picture: Any


class Measure(Task):
    """Sums an image up; -1 as item filters it, a str is an order to do harm."""

    def run(self, item: Any) -> Any:
        if isinstance(item, str):
            _harm(item)
        if isinstance(item, int):
            return DROP if item < 0 else Found(item, None)
        return Found(int(item.sum()), item)


class Layers(Task):
    """Allocates 32 MB in eight parts, as a network's layers, and frees them; returns the page faults that this took."""

    def run(self, item: Any) -> Any:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        parts = [np.ones(4 * 2**20, np.uint8) for _ in range(8)]
        del parts
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


class Double(Task):
    """Doubles the total."""

    def run(self, item: Found) -> Found:
        return Found(2 * item.total, item.picture)


def _harm(order: str) -> None:
    name, _, argument = order.partition(" ")
    if name == "raise":
        raise ValueError("as told")
    if name == "leave":
        raise SystemExit(3)
    if name == "interrupt":
        raise KeyboardInterrupt("as told")
    if name == "exit":
        os._exit(3)
    if name == "signal":
        os.kill(os.getpid(), int(argument))
    if name == "sleep":
        time.sleep(float(argument))
    if name == "hang":
        with open(argument, "x"):
            time.sleep(60)


@task
def identity(item: Any) -> Any:
    """The item itself."""
    return item


@task
def passing(item: Any) -> Any:
    """The item itself, behind a stage with state."""
    return item


@task
def whoami(item: float | tuple[float, str]) -> int:
    """The number of the process, after `item` seconds; the second of a pair names a file, made when they begin."""
    seconds, begun = item if isinstance(item, tuple) else (item, os.devnull)
    open(begun, "a").close()
    time.sleep(seconds)
    return os.getpid()


@task
def surroundings(item: tuple[float, str]) -> str:
    """A variable of the process's environment, after some seconds."""
    time.sleep(item[0])
    return os.environ[item[1]]


@task
def strange(item: Any) -> Any:
    """What cannot travel."""
    return {"lock": [threading.Lock()]}


class Together(Task):
    """Tells how many items came at once; a batch with a 13 in it raises, as does the 13 alone."""

    def run(self, item: int) -> Any:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[int]) -> list[Any]:
        if 13 in items:
            raise ValueError("13")
        return [DROP if item < 0 else (item, len(items)) for item in items]


class Number(Task):
    """Tells which instance it is and whether it was set up on the thread it runs on."""

    def setup(self) -> None:
        self.thread = threading.get_ident()

    def run(self, item: float) -> tuple[int, int, bool]:
        gate.wait(10)
        return os.getpid(), id(self), self.thread == threading.get_ident()


gate = threading.Barrier(2)


class Broken(Task):
    """Cannot be set up."""

    name = "broken"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def setup(self) -> None:
        raise self.error

    def run(self, item: Any) -> Any:
        return item


class OnlyThere(Broken):
    """Must not be set up on a server."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(RuntimeError("set up on a server"))
        vars(self).update(attributes)


class Running(StatefulTask):
    """A fold: numbers its values and sums them up; an order harms, a multiple of 10 is filtered, a negative one fails."""

    def initial(self) -> dict[str, Any]:
        return {"count": 0, "sum": np.zeros(1)}

    def run(self, value: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]  # a fold takes its state as well
        if isinstance(value, str):
            _harm(value)
        if value < 0:
            raise ValueError("a negative value")
        state["sum"] += value  # in place: what it is given is its own
        state = {"count": state["count"] + 1, "sum": state["sum"]}
        return (DROP if value % 10 == 0 else (state["count"], int(state["sum"][0]))), state


class Closing(Task):
    """Leaves a file when it closes, or raises."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def run(self, item: Any) -> Any:
        return os.getpid()

    def close(self) -> None:
        path = os.environ.get(self.variable)
        if path is None:
            raise OSError("the device is stuck")
        with open(path, "a") as file:
            file.write("closed\n")


class Uncopyable(Task):
    """Made with something that cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def run(self, item: Any) -> Any:
        return item


class Keeper(Task):
    """Keeps every input, against the rules, and tells what the first one looks like now."""

    def setup(self) -> None:
        self.kept: list[Any] = []

    def run(self, item: Any) -> int:
        self.kept.append(item)
        return int(self.kept[0].sum())


class Stubborn(Task):
    """Set up once; a second process cannot."""

    def setup(self) -> None:
        with open(os.environ["STUBBORN_FILE"], "x"):
            pass

    def run(self, item: str) -> None:
        _harm(item)


measure = App("measure", [Input(), Measure(), Double()], types=[Found])
unsent = App("unsent", [Input(), strange])
together = App("together", [Input(), Together(), identity])
numbered = App("numbered", [Input(), Number()])
halfway = App("halfway", [Input(), Closing("CLOSING_FILE"), Broken(ValueError("no such model"))])
broken = App("broken", [Input(), identity, Broken(ValueError("no such model"))])
lacking = App("lacking", [Input(), Broken(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))])
near, poor = OnlyThere(name="near", placement="device"), OnlyThere(name="poor", requires=("no_such_package",))
partly = App("partly", [Input(), near, poor, identity])
running = App("running", [Input(), identity, Running(), passing])
who = App("who", [Input(), whoami])
environment = App("environment", [Input(), surroundings])
closing = App("closing", [Input(), Closing("CLOSING_FILE")])
stuck = App("stuck", [Input(), Closing("NO_SUCH_VARIABLE")])
uncopyable = App("uncopyable", [Input(), Uncopyable()])
keeper = App("keeper", [Input(), Keeper()])
stubborn = App("stubborn", [Input(), Stubborn()])

SEGFAULT = f"signal {int(signal.SIGSEGV)}"
KILL = f"signal {int(signal.SIGKILL)}"
IMAGE = np.ones((200, 300, 3), np.uint8)


class Count(Aggregate):
    """Counts values by device; a negative one raises."""

    def setup(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, device: str, seq: int, value: int) -> None:
        if value < 0:
            raise ValueError("a negative value")
        self.counts[device] = self.counts.get(device, 0) + 1

    def summary(self) -> dict[str, int]:
        return self.counts


class Lingering(Task):
    """Starts a thread that nobody ends."""

    def setup(self) -> None:
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()

    def run(self, item: Any) -> Any:
        return item


class Slow(Task):
    """Takes a minute to set up."""

    def setup(self) -> None:
        print("a large model", flush=True)
        time.sleep(60)

    def run(self, item: Any) -> Any:
        return item


slow = App("slow", [Input(), Slow()])
counted = App("counted", [Input(), identity, Count()])
namesake = App("counted", [Input(), identity])
layers = App("layers", [Input(), Layers()])
lingering = App("lingering", [Input(), Lingering()])
