"""Signals: at once, or at the next safe point."""

from __future__ import annotations

import os
import signal

import duckdb
import pytest

from ingest.errors import RankError
from ingest.process.stop import Stop


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("resumable", "code"), [(False, 143), (True, 75)])
def test_sigterm_outside_of_deferring_leaves_at_once(resumable: bool, code: int) -> None:
    with pytest.raises(SystemExit) as leaving, Stop(resumable):
        send(signal.SIGTERM)
    assert leaving.value.code == code


def test_deferring_waits_for_a_safe_point() -> None:
    said = []
    with Stop(True, said.append) as stop:
        with stop.deferring():
            assert not stop.requested
            send(signal.SIGTERM)
            assert stop.requested
            assert "SIGTERM: saving a checkpoint" in said[0]
        with pytest.raises(SystemExit) as leaving:
            stop.leave()
    assert leaving.value.code == 75
    assert "The same command goes on from there" in said[1]


def test_a_second_signal_does_not_wait() -> None:
    with Stop(True) as stop, stop.deferring():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_without_checkpoints_nothing_waits() -> None:
    with Stop(False) as stop, stop.deferring(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Stop():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_in_a_query_still_leaves(number: int, kind: type[BaseException]) -> None:
    """DuckDB turns whatever a handler raises into a RuntimeError; the way out must not be lost in it."""
    with duckdb.connect() as connection:
        connection.create_function("signal_me", lambda x: send(number) or x, ["BIGINT"], "BIGINT")
        with pytest.raises(kind), Stop():
            connection.execute("SELECT sum(signal_me(a.range) * b.range) FROM range(2) AS a, range(300000) AS b")


def test_a_rank_that_loses_the_others_while_all_stop_stops_too() -> None:
    def lose(stop: Stop, *, told: bool) -> None:
        with stop, stop.deferring():
            if told:
                send(signal.SIGTERM)
            raise RankError("Rank 1 of 2 lost another rank.")

    with pytest.raises(SystemExit) as leaving:
        lose(Stop(True), told=True)
    assert leaving.value.code == 75
    with pytest.raises(RankError):
        lose(Stop(True), told=False)
