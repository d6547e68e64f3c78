"""Counting what beat logs: once each, and told when the ledger can be had."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, bookmarks
from monitoring.log_counter import BEAT_ERRORS, ErrorCounter
from tasks.beat_errors import ErrorTeller
from tasks.errors import LedgerAway


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the test's own."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True) as opened:
        yield opened


def counted(ledger: Ledger) -> int | None:
    """How many the ledger has; None before anybody told."""
    with ledger.read() as tx:
        found = bookmarks.get(tx, BEAT_ERRORS)
    return None if found is None else found.position


def run(teller: ErrorTeller) -> None:
    """Let it tell once, as at its end."""
    teller.start()
    teller.stop()


def test_each_process_adds_what_it_has_logged(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is written where there is nothing to tell."""
    quiet, one, other = ErrorCounter(), ErrorCounter(), ErrorCounter()
    one.count, other.count = 3, 4

    def again() -> Ledger:
        return Ledger.open(f"sqlite:///{tmp_path}/ledger.db")

    run(ErrorTeller(quiet, again))
    assert counted(ledger) is None
    run(ErrorTeller(one, again))
    run(ErrorTeller(other, again))
    assert 7 == counted(ledger)


def test_a_ledger_that_is_away_is_told_later(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, as no error: that would be one more to tell."""
    counter, tries, opened = ErrorCounter(), 0, threading.Event()
    counter.attach(logging.getLogger())
    counter.count = 2

    def sometimes() -> Ledger:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise LedgerAway("The ledger is away.")
        opened.set()
        return Ledger.open(f"sqlite:///{tmp_path}/ledger.db")

    teller = ErrorTeller(counter, sometimes, every_s=0.001)
    try:
        teller.start()
        assert opened.wait(20)
    finally:
        teller.stop()
        logging.getLogger().removeHandler(counter)

    assert 2 == counted(ledger) == counter.count
    (said,) = [record for record in caplog.records if record.name == "tasks.beat_errors"]
    assert (logging.WARNING, True) == (said.levelno, "The ledger is away." in said.getMessage())


def test_whoever_comes_second_counts_on(ledger: Ledger, tmp_path: Path) -> None:
    """Two at the same time lose nothing."""
    counters = [ErrorCounter() for _ in range(2)]
    for counter in counters:
        counter.count = 50
    tellers = [
        ErrorTeller(one, lambda: Ledger.open(f"sqlite:///{tmp_path}/ledger.db"), every_s=0.001)
        for one in counters
    ]
    for teller in tellers:
        teller.start()
    for _ in range(50):
        for counter in counters:
            counter.count += 1
    for teller in tellers:
        teller.stop()

    assert sum(counter.count for counter in counters) == counted(ledger)
