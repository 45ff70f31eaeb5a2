"""An app's variants: what makes sense, what both sides compare, what a runner loads, keeps and lets go."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tasks import App, AppError, Input, Residency, Runner, SetupFailed, Source, Task, UnknownVariant, Variant, check_declarations, task
from tests.runners import Counter
from tests.unit.variants import VARIANTS, Scale, scaled


class Named(Task):
    """Varies without loading anything: it looks at the parameters alone."""

    varies = True

    def run(self, item: Any) -> Any:
        return f"{item}{self.variant.parameters['factor']}"


class Camera(Source):
    varies = True


class Broken(Scale):
    """Cannot load the large variant."""

    def load(self, variant: Variant) -> Any:
        if variant.name == "large":
            raise FileNotFoundError("large.pt")
        return super().load(variant)

    def run_batch(self, items: list[Any]) -> list[Any]:  # type: ignore[override]
        if "x" in items:
            raise ValueError("x")
        return [item * self.loaded[0] for item in items]


def made(app: App, **options: Any) -> Runner:
    runner = Runner(app, Counter(), **options)
    runner.setup(0, app.n)
    return runner


@pytest.mark.parametrize(("variants", "words"), [
    ([VARIANTS[0], VARIANTS[0]], "two variants are called 'small'; give each a name of its own"),
    ([Variant("", 0.5)], "variant name '': use 1 to 64 letters"),
    ([Variant("a b", 0.5)], "variant name 'a b': use 1 to 64 letters"),
    ([Variant("a", 1.5)], "variant 'a': accuracy 1.5; it must be a number from 0 to 1"),
    ([Variant("a", float("nan"))], "accuracy nan; it must be a number from 0 to 1"),
    ([Variant("a", 0.5, {"size": object()})], "variant 'a': parameters must be plain data that both sides can compare: .*object"),
    ([Variant("a", 0.5, [1])], "variant 'a': parameters must be a dict, not list"),  # type: ignore[arg-type]
    (["a"], "'a' among its variants is no Variant"),
    (VARIANTS[0], "variants must be a list of Variant"),
    ([], "stage 'scale': it varies, but the app has no variants"),
])
def test_variants_that_make_no_sense_are_refused(variants: Any, words: str) -> None:
    """Each rule of variants has an error that names the variant, its value and what is legal."""
    with pytest.raises(AppError, match=f"app 'scaled'.*{words}"):
        scaled(variants=variants)


@pytest.mark.parametrize(("stages", "words"), [
    ([Input(), Scale(shared=True)], "stage 'scale': it varies, so it cannot be shared"),
    ([Camera(), Scale()], "stage 'camera': a source is one for all workers, so it cannot vary"),
    ([Input(), task(lambda item: item)], "has variants, but none of its stages says varies = True"),
])
def test_stages_that_cannot_vary_are_refused(stages: list[Any], words: str) -> None:
    """What several workers share cannot vary, and variants that nothing depends on are a mistake."""
    with pytest.raises(AppError, match=words):
        App("t", stages, variants=VARIANTS)


def test_what_both_sides_compare_of_variants() -> None:
    """Names, parameters and which stages vary are in the fingerprint, accuracies are not, and without variants it is as it was."""
    base = scaled().fingerprint()
    assert scaled(variants=[Variant(v.name, 0.1, v.parameters) for v in VARIANTS]).fingerprint() == base
    assert scaled(variants=VARIANTS[::-1]).fingerprint() != base
    assert scaled(variants=[*VARIANTS[:2], Variant("huge", 0.7, {"factor": 101})]).fingerprint() != base
    assert scaled(Scale(name="a"), Scale(name="b")).fingerprint() != scaled(Scale(name="a"), Scale(name="b", varies=False)).fingerprint()
    assert App("t", [Input(), task(_same)]).fingerprint() == "e19217169deb54d3"


def _same(item: Any) -> Any:
    return item


def test_a_variant_by_its_name() -> None:
    """ "" is the first variant, an unknown one is refused with those there are; an app without has one without a name."""
    app = scaled()
    assert [app.variant().name, app.variant("huge").name] == ["small", "huge"]
    with pytest.raises(UnknownVariant, match="app 'scaled' has no variant 'tiny'; it has small, large, huge"):
        app.variant("tiny")
    assert App("t", [Input(), task(_same)]).variant().name == ""
    with pytest.raises(UnknownVariant, match="'t' has no variant 'small'; it has none"):
        Runner(App("t", [Input(), task(_same)]), Counter()).run(0, 2, 1, variant="small")


def test_a_run_is_made_with_its_variant() -> None:
    """Each run has the variant it asks for, alone or in a batch, in all stages that vary; "" is the first."""
    runner = made(scaled(Scale(), Named()))
    assert [runner.run(0, 3, 1, variant=name).value for name in ("", "large", "small")] == ["22", "1010", "22"]
    assert [ran.value for ran in runner.run_batch(0, 3, [1, 2], variant="huge")] == ["100100", "200100"]
    with pytest.raises(UnknownVariant, match="tiny"):
        runner.run(0, 2, 1, variant="tiny")


def test_a_batch_run_again_one_by_one_keeps_its_variant() -> None:
    """A batch that raises falls back on single runs with the same variant."""
    runs = made(scaled(Broken())).run_batch(1, 2, [1, "x", 3], variant="huge")
    assert [ran.value for ran in runs] == [100, "x" * 100, 300]


def test_the_least_recently_used_leaves() -> None:
    """So many variants stay loaded as were asked for; a preload counts as use, and what was met is counted."""
    log: list[str] = []
    runner = made(scaled(Scale(log)), resident=2)
    for name in ("small", "large", "small", "huge", "large", "large"):
        runner.run(0, 2, 1, variant=name)
    assert log == ["load small", "load large", "unload 10", "load huge", "unload 2", "load large"]
    assert runner.residency() == Residency(("huge", "large"), hits=2, misses=4, swaps=2)
    runner.preload("huge")
    runner.preload("small")
    assert runner.residency() == Residency(("large", "small"), hits=2, misses=4, swaps=3), "the variant in use stays"
    assert runner.run(0, 2, 1, variant="small").value == 2
    assert runner.residency() == Residency(("large", "small"), hits=3, misses=4, swaps=3)
    del log[:]
    runner.close()
    assert log == ["unload 10", "unload 2"]


def test_a_stage_that_loads_nothing_holds_every_variant() -> None:
    """Without a `load` there is nothing to miss and nothing to let go."""
    runner = made(scaled(Named()), resident=1)
    assert [runner.run(0, 2, 1, variant=name).value for name in ("huge", "small")] == ["1100", "12"]
    assert runner.residency() == Residency(("small", "large", "huge"), hits=2)


def test_loading_is_in_no_stages_time() -> None:
    """What a stage took does not depend on whether its variant was there, so that profiles stay true."""
    runner = made(scaled())
    assert [runner.run(0, 2, 1, variant="large").times for _ in range(2)] == [(1.0, 1.0)] * 2


def test_a_variant_that_cannot_be_loaded_fails_the_frame() -> None:
    """The error names stage and file, a preload says it at once, and the other variants go on."""
    runner = made(scaled(Broken()))
    ran = runner.run(0, 2, 1, variant="large")
    assert (ran.kind, ran.stage, len(ran.times)) == ("failed", 1, 2)
    assert ran.error.startswith("FileNotFoundError: large.pt [")
    assert [ran.kind for ran in runner.run_batch(0, 2, [1, 2], variant="large")] == ["failed"] * 2
    with pytest.raises(SetupFailed, match=r"stage 'broken' cannot load variant 'large': FileNotFoundError: large.pt \["):
        runner.preload("large")
    assert runner.run(0, 2, 1, variant="small").value == 2


def test_only_stages_that_run_are_loaded() -> None:
    """A run loads for its own stages alone: a device that sends early needs no model."""
    log: list[str] = []
    made(scaled(Named(), Scale(log))).run(0, 2, 1, variant="large")
    assert log == []


class Slow(Scale):
    """Its large variant loads until it is told to end."""

    def __init__(self, begun: threading.Event, go: threading.Event, log: list[str]) -> None:
        super().__init__(log)
        self.begun, self.go = begun, go

    def load(self, variant: Variant) -> Any:
        if variant.name == "large":
            self.begun.set()
            assert self.go.wait(10)
        return super().load(variant)


def test_a_run_does_not_wait_for_what_another_thread_loads() -> None:
    """While a variant is preloaded, runs go on with those that are there; it is then there without a miss."""
    begun, go = threading.Event(), threading.Event()
    log: list[str] = []
    app = scaled(Slow(begun, go, log))
    runner = made(app)
    assert runner.run(0, 2, 1).value == 2
    loader = threading.Thread(target=runner.preload, args=("large",))
    loader.start()
    assert begun.wait(10)
    assert runner.run(0, 2, 3).value == 6
    go.set()
    loader.join(10)
    assert runner.run(0, 2, 1, variant="large").value == 10
    assert (runner.residency().misses, log) == (1, ["load small", "load large"])


def test_declarations_are_checked_with_each_variant() -> None:
    """A stage that reads more with one of its variants is found out."""

    class Peeks(Task):
        varies = True
        reads, writes = ("x",), ("y",)

        def run(self, item: Any) -> Any:
            return {**item, "y": item["z"] if self.variant.name == "huge" else item["x"]}

    found = check_declarations(scaled(Peeks()), [{"x": 1, "y": 0, "z": 3}])
    assert [line for line in found if "reads 'z'" in line]
