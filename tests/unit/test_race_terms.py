"""What a client asks of a race: who its servers are, who of the entrants goes where, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from iot_client.racing.config import RaceConfig
from iot_client.servers.hosts import Host, hosts_of, parse_host, parse_hosts
from iot_client.session_config import SessionConfig
from iot_client.splitting.goal import Goal
from iot_client.terms import Terms
from tasks import App, Input
from tests.unit.races import Count, Named, raced
from wire.keys import KeyProblem

A, B, C = (Host(name, 5555) for name in ("a", "b", "c"))


def plain() -> App:
    return App("plain", [Input(), Named("one"), Named("two")])


def terms(*hosts: Host, **options: Any) -> Terms:
    fields: dict[str, Any] = {
        "device": "d", "hosts": hosts, "mode": "live", "split": None, "workers": 1, "want": None, "max_age": 1.0, "memory": 2**20,
        "window": 0,
    }
    return Terms(**(fields | options))


def config(app: App, *hosts: Host, **options: Any) -> SessionConfig:
    return terms(*hosts, **options).session(app)


def race(app: App, *hosts: Host, **options: Any) -> RaceConfig:
    found = config(app, *hosts, **options).race
    assert found is not None
    return found


# -- servers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "place"), [
    ("cam", ("cam", 7)), ("cam:81", ("cam", 81)), ("10.0.0.5", ("10.0.0.5", 7)), ("[::1]:81", ("[::1]", 81)), ("::1", ("::1", 7)),
    ("[::1]", ("[::1]", 7)),
])
def test_a_server_may_say_its_port(text: str, place: tuple[str, int]) -> None:
    """Else it has that of all; a bare IPv6 address has colons of its own."""
    assert parse_host(text, 7) == place


@pytest.mark.parametrize(("given", "words"), [
    ("", "host ''"), (["a", "a:7"], "'a:7' is named twice"), ([], r"host \(\)"), ("a:0", "host 'a:0': port=0"), ("a:99999", "port=99999"),
])
def test_servers_that_make_no_sense_are_named(given: Any, words: str) -> None:
    """With what is legal."""
    with pytest.raises(ValueError, match=words):
        parse_hosts(given, 7)


def test_each_server_has_keys_and_checksums_of_its_own(tmp_path: Any) -> None:
    """Where none are wanted a link to another machine carries checksums, one within this machine none."""
    places = parse_hosts(["localhost", "10.0.0.5"], 7)
    assert [host.checksum for host in hosts_of(places, None, None)] == [False, True]
    assert [host.endpoint for host in hosts_of(places, None, False)] == ["tcp://localhost:7", "tcp://10.0.0.5:7"]
    asked: list[tuple[str, int]] = []
    assert hosts_of(places, lambda name, port: asked.append((name, port)), None)[1].keys is None and asked == list(places)
    with pytest.raises(KeyProblem, match="localhost is not known"):
        hosts_of(places, tmp_path, None)


# -- entrants ------------------------------------------------------------------------------------------


def test_a_declared_race_has_its_entrants_deadline_and_rules() -> None:
    """Frames leave at the race's stage and come back behind it; home runs the first cloud, a second session the other."""
    made = config(raced(Count(), deadline=0.2, prefer="cloud", on_miss="drop", merge=min), A)
    assert made.race == RaceConfig(clouds=("cloud", "cloud2"), local="local", deadline=0.2, prefer="cloud", on_miss="drop", merges=True)
    assert (made.split, made.pivot, made.deadline, made.variant, made.variants) == (2, 3, 0.2, "local", ())
    assert made.hello is not None and [hello.variant for hello in (made.hello, *made.rivals)] == ["cloud", "cloud2"]
    assert len(made.rival_sessions) == 1 and made.session not in made.rival_sessions


@pytest.mark.parametrize(("hosts", "places", "clouds"), [
    ((A,), (A, A), ("cloud", "cloud2")), ((A, B), (A, B), ("cloud", "cloud2")), ((A, B, C), (A, B, C), ("cloud", "cloud2", "cloud2")),
])
def test_clouds_go_to_servers_in_their_order(hosts: tuple[Host, ...], places: tuple[Host, ...], clouds: tuple[str, ...]) -> None:
    """Clouds without a server of their own go to home, servers without a cloud of their own run the last one again."""
    found = race(raced(), *hosts)
    assert terms(*hosts).places(found) == places and found.clouds == clouds
    assert found.names == (*("cloud", "cloud2", "cloud3")[: len(clouds)], "local")


def test_checksums_are_stated_to_each_server_that_wants_them() -> None:
    """Each HELLO is for its own server."""
    made = config(raced(), A, Host("b", 5555, None, True))
    assert made.hello is not None and not made.hello.checksum and made.rivals[0].checksum


def test_a_deadline_that_is_given_overrules_the_declared_one() -> None:
    """And is what servers hear of."""
    made = config(raced(deadline=0.2), A, deadline=0.05)
    assert made.race is not None and made.race.deadline == made.deadline == 0.05
    assert made.hello is not None and made.hello.slo_us == 50_000


def test_a_race_without_a_local_alternative_has_no_local_entrant() -> None:
    """Nor has one whose local alternative lacks a package here: it merges nothing then."""
    app = raced(local=Named("small", requires=("no_such_package",)), merge=min)
    assert race(app, A).local is None and not race(app, A).merges


def test_any_app_races_on_several_servers_with_a_deadline() -> None:
    """Its answers are alike: the first wins, and in live mode one that misses is dropped; lossless it comes late."""
    assert race(plain(), A, B, deadline=0.1) == RaceConfig(clouds=("", ""), local="", deadline=0.1, prefer="first", on_miss="drop")
    assert race(plain(), A, B, deadline=0.1, mode="lossless").on_miss == "late"
    assert race(plain(), A, deadline=0.1, hedge="always").clouds == ("",)


def test_one_server_and_a_deadline_need_no_race() -> None:
    """The device's own run of a job at risk costs no more than ever; nor is there one with nobody to race with."""
    assert config(plain(), A, deadline=0.1).race is None
    assert config(raced()).race is None and config(raced(), A, split=3).race is None


@pytest.mark.parametrize(("options", "deadline"), [({}, 0.0), ({"on_miss": "drop"}, 0.15)])
def test_alone_a_race_is_its_local_alternative(options: dict[str, Any], deadline: float) -> None:
    """Its answer stands whenever it comes, unless the app drops what is late."""
    made = config(raced(**options))
    assert (made.split, made.variant, made.deadline, made.rivals) == (3, "local", deadline, ())


@pytest.mark.parametrize(("app", "hosts", "options", "words"), [
    (plain(), (A, B), {}, "nothing to race for: give deadline"),
    (plain(), (A,), {"hedge": "always"}, "hedge='always' is for races"),
    (plain(), (A,), {"hedge": "maybe"}, "legal: one of always, risk, never"),
    (raced(), (A,), {"goal": Goal(fps=9)}, "leave the goal out"),
    (plain(), (A, B), {"goal": Goal(fps=9), "deadline": 0.1}, "answers race here"),
    (raced(), (A,), {"spooled": True, "mode": "lossless"}, "leave the spool out"),
    (raced(), (A,), {"variant": "cloud"}, "leave variant out"),
])
def test_what_does_not_go_together_is_said(app: App, hosts: tuple[Host, ...], options: dict[str, Any], words: str) -> None:
    """With the argument's name, and what to do."""
    with pytest.raises(ValueError, match=words):
        config(app, *hosts, **options)
