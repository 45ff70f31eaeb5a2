"""Where a client stands, read off its parts; cheap, from any thread."""

from __future__ import annotations

from iot_client.aggregate import LocalAggregate
from iot_client.coordinator import Coordinator
from iot_client.racing.scores import RaceScore
from iot_client.result import Statistics
from iot_client.session import Session
from iot_client.spooling.spooling import Spooling

__all__ = ["statistics_of"]


def statistics_of(
    session: Session, coordinator: Coordinator, aggregate: LocalAggregate | None, now: float, spooling: Spooling | None = None
) -> Statistics:
    """One moment's figures of these parts of one client."""
    peer, guide = session.peer, session.guide
    return Statistics(
        session.captured, session.in_flight, session.split, session.stream.window.size, peer.state if peer else "local",
        peer.rtt if peer else 0.0, peer.load if peer else 0.0, coordinator.bytes_sent, coordinator.bytes_received,
        session.resent, session.late_results, session.reports.pending, session.reports.discarded,
        aggregate.summary if aggregate else None, session.policy.codec, coordinator.decided,
        guide.standing(now) if guide is not None else None, coordinator.bad_messages,
        *((0, 0) if spooling is None else spooling.figures), session.race.started if session.race is not None else 0,
        session.waiting_for_server, _race(session, coordinator),
    )


def _race(session: Session, coordinator: Coordinator) -> RaceScore | None:
    races, scores = session.races, coordinator.scores
    if races is None or scores is None:
        return None if scores is None else scores.score()
    hedge = races.twins.hedge
    risk, brier = ((), 0.0) if hedge is None else (hedge.calibration(), hedge.brier)
    return scores.score(risk, brier, races.muster)
