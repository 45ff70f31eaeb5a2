"""Promises 18 and 19 in small: scripts/chaos --rows 18,19 tries each a thousand times."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from chaos import identity
from chaos.intruders import KINDS, storm
from chaos.keyed import Place, await_true, counting_server
from chaos.registry import Promise, Run, discover

FEW = 25


TESTS = (identity.intruders, identity.revoked, identity.raising, identity.dead, identity.replay)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_nobody_who_is_not_known_is_heard(test: object, tmp_path: Path) -> None:
    """Strangers, revoked keys, a check that raises, a dead authenticator, replays: not one message, and the known device is served."""
    found: Promise = next(each for each in discover() if each.test is test)
    seen = found.test(Run(seed=1, count=5 if test is identity.replay else FEW, quick=True, folder=tmp_path))
    assert seen.kept, seen


def test_the_same_messages_are_heard_from_a_key_that_is_allowed(tmp_path: Path) -> None:
    """So silence means something: let in, an intruder's HELLO, SUBMIT and pickle all arrive, and are answered."""
    place = Place(tmp_path)
    with counting_server(place, []) as server:
        setup = partial(_set_up, place)
        _, up, _ = storm(f"tcp://127.0.0.1:{server.port}", setup, FEW, lambda batch: await_true(lambda: server.heard >= 3 * FEW, "heard"))
        assert up == FEW and server.heard == 3 * FEW and server.bad_messages >= FEW


def _set_up(place: Place, made: object) -> None:
    KINDS["allowed key"](made, place.pair, place.mine)  # type: ignore[arg-type]
