"""Workers on virtual time that keep a few variants ready."""

from __future__ import annotations

from experiments.simulation.agenda import Agenda
from experiments.simulation.crew import Crew


def crew(resident: int, count: int = 2) -> tuple[Agenda, Crew, list[tuple[str, float]]]:
    agenda = Agenda()
    return agenda, Crew(agenda, count, ["a", "b", "c"], resident, lambda variant: 1.0), []


def put(agenda: Agenda, crew: Crew, ended: list[tuple[str, float]], *variants: str) -> None:
    for variant in variants:
        crew.put(variant, lambda: 0.1, lambda waited, variant=variant: ended.append((variant, round(agenda.now, 3))))  # type: ignore[misc]


def test_work_goes_to_the_worker_that_has_its_variant() -> None:
    """The first batch of each loads, the later ones do not, whoever was idle first."""
    agenda, workers, ended = crew(1)
    put(agenda, workers, ended, "a", "b")
    agenda.run(2.0, lambda: False)
    put(agenda, workers, ended, "b", "a")
    agenda.run(9.0, lambda: False)
    assert ended == [("a", 1.1), ("b", 1.1), ("b", 2.1), ("a", 2.1)]
    assert (workers.misses, workers.swaps) == (2, 0)


def test_the_variant_used_longest_ago_goes() -> None:
    """With room for two: c takes a's place, so that b is still there."""
    agenda, workers, ended = crew(2, count=1)
    put(agenda, workers, ended, "a", "b", "c", "b", "a")
    agenda.run(9.0, lambda: False)
    assert (workers.misses, workers.swaps) == (4, 2)


def test_all_are_ready_where_there_is_room_for_all() -> None:
    """Nothing is ever loaded."""
    agenda, workers, ended = crew(3)
    put(agenda, workers, ended, "c", "b", "a")
    agenda.run(9.0, lambda: False)
    assert ended == [("c", 0.1), ("b", 0.1), ("a", 0.2)]
    assert workers.misses == 0


def test_what_is_loaded_beside_the_work_costs_it_nothing() -> None:
    """A batch a second later finds its variant."""
    agenda, workers, ended = crew(1, count=1)
    workers.preload(0, ["b"])
    agenda.run(1.0, lambda: False)
    put(agenda, workers, ended, "b")
    agenda.run(9.0, lambda: False)
    assert (ended, workers.misses) == ([("b", 1.1)], 0)
