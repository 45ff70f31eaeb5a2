"""The grants that are worth a look: for each service those that cost less or are worth more than all others, and their concave hull."""

from __future__ import annotations

from iot_client.uplink.problem import Grant, Problem, Service

__all__ = ["NOTHING", "frontier", "hull"]

NOTHING = Grant()


def frontier(problem: Problem, service: Service) -> list[Grant]:
    """The grants of a service by rising rate and rising value, NOTHING first; what is dominated or does not fit is left out."""
    found = sorted(_all(problem, service), key=lambda grant: (grant.rate, -grant.value))
    kept = [NOTHING]
    for grant in found:
        if grant.rate > problem.granted:
            break
        if grant.value > kept[-1].value:
            kept.append(grant)
    return kept


def hull(grants: list[Grant]) -> list[int]:
    """The numbers of those of a frontier on its upper concave hull; each next one gains less per byte."""
    corners = [0]
    for number in range(1, len(grants)):
        while len(corners) > 1 and _slope(grants, corners[-2], corners[-1]) <= _slope(grants, corners[-2], number):
            corners.pop()
        corners.append(number)
    return corners


def _slope(grants: list[Grant], low: int, high: int) -> float:
    return (grants[high].value - grants[low].value) / max(grants[high].rate - grants[low].rate, 1e-12)


def _all(problem: Problem, service: Service) -> list[Grant]:
    """Each option at the least rate for each of its chances."""
    found = []
    for number, option in enumerate(service.options):
        frames = option.share * service.fps
        for room, chance in option.rooms:
            if room > 0.0:
                rate = max(frames * option.nbytes, option.nbytes / room - problem.spare)
                found.append(Grant(number, rate, chance, service.weight * frames * chance * option.gain))
    return found
