"""Events, and that no reader misses one."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from ledger import EventRow, InvalidValue, Ledger, ManualClock, State, events
from tests.integration.ledger.support import begin, job_in


def test_events_come_back_in_their_order(ledger: Ledger, clock: ManualClock) -> None:
    """After any number, as many as asked for."""
    with ledger.write() as tx:
        assert events.after(tx, 0) == []
        events.add(tx, kind="queue\0full", subject="model.a", details={"waiting": [1, None]})
        events.add(tx, kind="worker_stale", subject="worker-1", details={"why": "\0"})
    first_at = clock.now
    clock.advance(1)
    with ledger.write() as tx:
        events.add(tx, kind="worker_back", subject="worker-1", details={})
    with ledger.read() as tx:
        first, second, third = events.after(tx, 0)
        assert [second, third] == events.after(tx, first.id)
        assert [second] == events.after(tx, first.id, 1)
        assert events.after(tx, third.id) == []

    assert first.id < second.id < third.id
    assert first == EventRow(
        id=first.id,
        at=first_at,
        kind="queue\ufffdfull",
        subject="model.a",
        details={"waiting": [1, None]},
    )
    assert (second.details, third.at) == ({"why": "\0"}, clock.now)


def test_details_are_plain_json(ledger: Ledger) -> None:
    """Anything else is refused before the store sees it."""
    with ledger.write() as tx:
        with pytest.raises(InvalidValue):
            events.add(tx, kind="k", subject="s", details={"load": float("nan")})
        events.add(tx, kind="k", subject="s", details={})
    with ledger.read() as tx:
        assert ["k"] == [event.kind for event in events.after(tx, 0)]


def test_a_job_that_dies_is_an_event(ledger: Ledger) -> None:
    """With its reasons; no other end is one."""
    session = begin(ledger)
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED):
        job_in(ledger, state, session)
    dead = job_in(ledger, State.DEAD, session)
    with ledger.read() as tx:
        (told,) = events.after(tx, 0)

    assert (told.kind, told.subject) == (events.JOB_DEAD, dead.id)
    assert told.details == {"reasons": ["crash 1", "crash 2", "crash 3"]}
    assert told.at == dead.finished_at


def test_a_reader_never_misses_an_event_that_is_committed_late(postgres_url: str) -> None:
    """What an older transaction will write holds the reader back."""
    ledger = Ledger.open(postgres_url)
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with ledger.write() as tx:
            events.add(tx, kind="slow", subject="s", details={})
            begun.set()
            go_on.wait(20)

    thread = threading.Thread(target=slow)
    thread.start()
    begun.wait(20)
    with ledger.write() as tx:
        events.add(tx, kind="quick", subject="s", details={})
    with ledger.read() as tx:
        assert events.after(tx, 0) == []
    go_on.set()
    thread.join()
    with ledger.read() as tx:
        assert ["slow", "quick"] == [event.kind for event in events.after(tx, 0)]
    ledger.close()


def test_events_of_a_restored_dump_go_on_after_the_old_ones(postgres_url: str) -> None:
    """Where transaction ids start low again."""
    with Ledger.open(postgres_url) as ledger, ledger.write() as tx:
        insert = "INSERT INTO events VALUES (:id, 0, 'old', 's', '{}')"
        tx.execute(sa.text(insert), {"id": (1 << 40) * (1 << 20)})
    with Ledger.open(postgres_url) as ledger:
        with ledger.write() as tx:
            events.add(tx, kind="new", subject="s", details={})
        with ledger.read() as tx:
            assert ["old", "new"] == [event.kind for event in events.after(tx, 0)]
        with ledger.write() as tx:
            tx.execute(sa.text("UPDATE ledger SET change_base = 0"))
