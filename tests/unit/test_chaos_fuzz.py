"""Promise 22 of docs/promises.md, in small: mutated messages into the decoder, the payload reader and both machines."""

from __future__ import annotations

import pytest

from chaos.hostile import corpus, fuzz
from wire.protocol import KINDS, decode


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_mutated_message_brings_down_a_decoder_or_a_machine(seed: int) -> None:
    """Of 3,000 for each seed a part are messages still, and payloads that can be read; the machines take them all."""
    messages, values = fuzz(seed, 3_000)
    assert messages > 300
    assert values > 50


def test_the_corpus_has_every_kind() -> None:
    """Of each kind there is a message to begin with."""
    assert {type(decode(parts).message) for parts in corpus()} == set(KINDS.values())
