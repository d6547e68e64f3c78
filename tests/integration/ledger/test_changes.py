"""The change sequence: whoever follows it misses nothing."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from ledger import Ledger, TransactionTooLarge, changes, jobs
from ledger.sequence import PER_TRANSACTION
from tests.integration.ledger.support import enter, new_job
from tests.postgres import PostgresServer


def follow(ledger: Ledger, seq: int, limit: int = 500) -> tuple[int, list[str]]:
    """What a reader gets that has read up to `seq`, and how far it has then read."""
    with ledger.read() as tx:
        read = changes.after(tx, seq, limit)
    return (read[-1].seq if read else seq), [change.job_id for change in read]


def test_a_reader_goes_on_where_it_stopped(ledger: Ledger) -> None:
    """In pages of any size, everything once."""
    made = [enter(ledger).id for _ in range(7)]
    seq, got = follow(ledger, 0, 3)
    while True:
        seq, more = follow(ledger, seq, 3)
        if not more:
            break
        got += more

    assert got == made


def test_a_reader_waits_for_a_writer_that_began_earlier(
    postgres_url: str,
) -> None:
    """Of two transactions at once, the later one commits first and stays unseen until both have."""
    with_two = Ledger.open(postgres_url)
    started, finish = threading.Event(), threading.Event()
    first, second = new_job(), new_job()

    def slow() -> None:
        with with_two.write() as tx:
            jobs.submit(tx, [first])
            started.set()
            assert finish.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert started.wait(30)
    with with_two.write() as tx:
        jobs.submit(tx, [second])
    seq, before = follow(with_two, 0)
    finish.set()
    thread.join()
    _, after = follow(with_two, seq)
    with_two.close()

    assert before == []
    assert after == [first.id, second.id]


def test_a_late_write_of_an_early_transaction_is_not_missed(postgres_url: str) -> None:
    """Its number is that of a transaction which readers have been waiting for."""
    ledger = Ledger.open(postgres_url)
    got: list[str] = []
    seq = 0
    early, between, late = new_job(), new_job(), new_job()
    with ledger.write() as tx:
        jobs.submit(tx, [early])
        with ledger.write() as other:
            jobs.submit(other, [between])
        seq, more = follow(ledger, seq)
        got += more
        jobs.submit(tx, [late])
    seq, more = follow(ledger, seq)
    got += more
    ledger.close()

    assert sorted(got) == sorted([early.id, between.id, late.id])


def test_many_writers_and_a_reader_lose_nothing(ledger: Ledger) -> None:
    """Everything once, while it is being written."""
    made: list[str] = []

    def write() -> None:
        made.extend(enter(ledger).id for _ in range(15))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    seq, got = 0, []
    while True:
        over = not any(writer.is_alive() for writer in writers)
        seq, more = follow(ledger, seq, 7)
        got += more
        if over and not more:
            break

    assert sorted(got) == sorted(made)
    assert len(got) == 60


def test_a_transaction_says_when_it_has_too_many_changes(ledger: Ledger) -> None:
    """Instead of running into the next one's numbers."""
    with ledger.write() as tx:
        tx.numbered = PER_TRANSACTION - 2
        jobs.submit(tx, [new_job()])
        with pytest.raises(TransactionTooLarge):
            jobs.submit(tx, [new_job()])


def test_numbers_go_on_rising_in_a_restored_dump(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """There, transaction ids begin again; opening the ledger makes up for it."""
    ledger = Ledger.open(postgres_url)
    enter(ledger)
    with ledger.write() as tx:
        # As if the row had been written by a transaction far ahead of this server.
        tx.execute(sa.text("ALTER TABLE changes DISABLE TRIGGER changes_keep"))
        tx.execute(sa.text("UPDATE changes SET seq = seq + (1000000::bigint << 20)"))
        tx.execute(sa.text("ALTER TABLE changes ENABLE TRIGGER changes_keep"))
    ledger.close()

    restored = Ledger.open(postgres_url)
    after = enter(restored)
    with restored.read() as tx:
        read = changes.after(tx, 0)
    assert read[-1].job_id == after.id
    assert len(read) == 2
    again = Ledger.open(postgres_url)
    with again.read() as tx:
        assert changes.after(tx, 0) == read
    with again.write() as tx:
        tx.execute(sa.text("UPDATE ledger SET change_base = 0"))
    restored.close()
    again.close()
