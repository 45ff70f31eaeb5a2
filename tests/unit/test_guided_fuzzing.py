"""The inputs of the fuzzer that goes by coverage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.guided import joined, parted
from chaos.hostile import corpus, hear
from cloud_server.scheduler import Scheduler


def test_real_messages_come_out_of_an_input_as_they_went_in() -> None:
    """Seeds reach the decoder whole, so that the fuzzer begins behind the checks of the frame."""
    messages = corpus()[:4]
    assert list(parted(joined(messages))) == messages


@given(st.binary(max_size=200))
def test_any_bytes_are_an_input(data: bytes) -> None:
    """No input is wasted: whatever libFuzzer makes up is heard, and refused in words."""
    hear(parted(data))


def test_a_machine_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a message makes a machine raise comes through to the fuzzer."""

    def broken(self: Scheduler, event: object, now: float) -> list[object]:
        raise KeyError("lost")

    device, server = corpus()[0], Scheduler.handle
    hear([device])
    monkeypatch.setattr(Scheduler, "handle", broken)
    with pytest.raises(KeyError):
        hear([device])
    monkeypatch.setattr(Scheduler, "handle", server)
