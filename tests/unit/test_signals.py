"""Ctrl-C, SIGTERM and a hangup as a count."""

from __future__ import annotations

import os
import signal

import pytest

from iot_client.signals import Signals


def test_a_signal_is_counted_while_something_runs():
    """The first two are left to the loop; the third ends it at once."""
    with Signals() as signals:
        signals.at_once = False
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == [signal.SIGTERM, signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_before_that_a_signal_ends_the_program_at_once():
    """Nobody waits for a server to answer after Ctrl-C."""
    with Signals() as signals, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received == [signal.SIGTERM]


def test_what_was_ignored_stays_ignored_and_all_is_put_back():
    """nohup keeps its meaning, and a library user's own handlers return."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received == []
            inside = signal.getsignal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is not inside
    finally:
        signal.signal(signal.SIGHUP, before)
