"""What crosses for a race: each server's alternative gets what it reads, undamaged, and a frame comes back as if it had run here."""

from __future__ import annotations

from typing import Any

import pytest

from tasks import App, Crossing, Input, Loss, Speculative, Task, applies, check_declarations, merged, returned
from tests.unit.races import Named


class Works(Task):
    """Declares what it reads and writes; writes its name."""

    def __init__(self, name: str, reads: tuple[str, ...] | None, writes: tuple[str, ...] | None, **options: Any) -> None:
        self.name, self.reads, self.writes = name, reads, writes
        vars(self).update(options)

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        text = f"{self.name} of {'+'.join(str(item[read]) for read in self.reads or ())}"
        return {**item, **dict.fromkeys(self.writes or (), text)}


def crossing(*clouds: Any, local: Any = None) -> Crossing:
    return App("t", [Input(), Speculative(local, clouds)]).crossing(1, 2)


def test_all_that_any_cloud_reads_is_sent() -> None:
    """Reads and writes are those of all clouds; a chain reads nothing that it wrote before, and local counts for nothing."""
    first = Works("a", ("image",), ("boxes",))
    second = [Works("b", ("image", "mask"), ("crop",)), Works("c", ("crop",), ("boxes", "crop"))]
    found = crossing(first, [*second], local=Works("l", ("everything",), ("boxes",)))
    assert found.sends == {"image", "mask", "crop"} and found.returns == {"boxes", "crop"}
    assert crossing(first).sends == {"image"} and crossing(first, second[0], Named("n")).sends is None


def test_what_only_some_clouds_write_comes_back_unharmed_from_the_others() -> None:
    """A field that one cloud writes and another hands on is sent, without loss, so the device's own stays as it was."""
    lossy = {"accepts": ("jpeg:50",)}
    first, second = Works("a", ("image",), ("boxes",), **lossy), Works("b", ("image",), ("boxes", "image"), **lossy)
    app = App("t", [Input(), Speculative(None, (first, second))])
    item = {"image": "I", "boxes": None, "note": "N"}
    crosses = applies(item, app.crossing(1, 2))
    assert crosses.sends == {"image"} and crosses.lossy == {}
    sent = {name: item[name] for name in crosses.sends or ()}
    for cloud in app.speculation.clouds if app.speculation else ():
        task = app.chain[1].alternatives[cloud].tasks[0]  # type: ignore[attr-defined]
        answer = returned(task.run(sent), crosses, None, True)
        assert merged(item, answer, crosses, None, True) == task.run(item)


@pytest.mark.parametrize(("first", "second", "lossy"), [
    (("jpeg:50", "fp16"), ("jpeg:80",), {"image": Loss(80)}),
    (("jpeg:50", "width:320"), ("jpeg:40", "width:416"), {"image": Loss(50, 416)}),
    (("jpeg:50",), (), {}),
    (("fp16",), ("int8",), {"image": Loss(bits=16)}),
])
def test_the_strictest_cloud_says_what_may_be_lost(first: Any, second: Any, lossy: dict[str, Loss]) -> None:
    """A loss must suit every cloud that reads the field, whether they declare fields or not; local is never asked."""
    clouds = Works("a", ("image",), ("boxes",), accepts=first), Works("b", ("image",), ("boxes",), accepts=second)
    assert crossing(*clouds, local=Works("l", ("image",), ("boxes",))).lossy == lossy
    whole = Works("a", None, None, accepts=first), Works("b", None, None, accepts=second)
    assert crossing(*whole).lossy == dict(zip([""], lossy.values()))


def test_where_one_cloud_declares_no_fields_the_first_tasks_say_what_may_be_lost() -> None:
    """Then everything crosses both ways, so only what the first task of each cloud makes anew may be damaged."""
    named = Works("a", None, None, accepts={"image": ("jpeg:50",)})
    every = Works("b", None, None, accepts=("jpeg:60",))
    handing = Works("c", ("image",), ("boxes",), accepts=("jpeg:60",))
    assert crossing(named, every).lossy == {"image": Loss(60)}
    assert crossing(named, [every, handing]).lossy == {"image": Loss(60)} and crossing(named, handing).lossy == {}


def test_a_job_may_begin_before_the_race() -> None:
    """Stages before the race and the race together send what they read."""
    app = App("t", [Input(), Works("r", ("raw",), ("image",)), Speculative(None, Works("a", ("image", "mask"), ("boxes",)))])
    assert app.crossing(1, 3).sends == {"raw", "mask"} and app.crossing(1, 3).returns == {"image", "boxes"}


def test_declarations_of_clouds_are_checked() -> None:
    """check_declarations looks at a race with each of its clouds, and not with local."""

    class Sneaky(Works):
        def run(self, item: dict[str, Any]) -> dict[str, Any]:
            return {**item, "boxes": item.get("mask")}

    race = Speculative(Works("l", ("all",), ("boxes",)), (Works("a", ("image",), ("boxes",)), Sneaky("b", ("image",), ("boxes",))))
    item = {"image": 1, "mask": 2, "all": 3, "boxes": 0}
    found = check_declarations(App("t", [Input(), race]), [item])
    assert found == ["stage 'speculative' reads 'mask', or leaves it as it was, and it is not among its reads (image)"]
