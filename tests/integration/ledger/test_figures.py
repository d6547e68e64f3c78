"""Figures and standings: what a look at the rows tells, on each store, and that it reads few."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ledger import (
    Ledger,
    ManualClock,
    alert_channels,
    bookmarks,
    figures,
    log_tables,
    logs,
    quarantine,
    receipts,
    reviews,
    sessions,
    standings,
    uploads,
    workers,
)
from ledger.alert_channels import ChannelRow
from ledger.uploads import UploadKind
from tests.integration.ledger.support import begin, commit, enter, receipt_of, run
from tests.integration.ledger.test_plans import recorded


def look(ledger: Ledger) -> figures.Figures:
    """The figures now."""
    with ledger.read() as tx:
        return figures.read(tx)


def test_an_empty_ledger_has_no_figures(ledger: Ledger) -> None:
    """Nothing waits, and nothing was ever done."""
    found = look(ledger)
    assert (found.oldest_queued, found.oldest_running, found.noted) == ({}, {}, {})
    assert (found.unsealed_receipts, found.oldest_unsealed, found.sealed_batches) == (0, None, 0)
    assert (found.open_reviews, found.oldest_open_review, found.pending_uploads) == (0, None, 0)
    assert (found.cosignatures, found.quarantined, found.alerts_sent) == (0, {}, {})


def test_the_first_in_line_is_the_oldest_of_all_queues_of_a_model(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Whatever the queue; a job that is not due waits for nobody."""
    start = clock.now
    enter(ledger, model="a", queue="gpu.node.0")
    clock.now = start + 5
    enter(ledger, model="a", queue="model.a")
    enter(ledger, model="b", queue="model.b")
    enter(ledger, model="c", queue="model.c", delay_s=60.0)
    assert look(ledger).oldest_queued == {"a": start, "b": start + 5}


def test_the_longest_run_is_that_of_any_worker(ledger: Ledger, clock: ManualClock) -> None:
    """Counted from the claim; a job that has ended runs no more."""
    start = clock.now
    first = begin(ledger, "one")
    clock.now = start + 2
    ended = run(ledger, first, model="a")
    clock.now = start + 4
    run(ledger, first, model="a")
    run(ledger, begin(ledger, "two"), model="b")
    commit(ledger, ended)
    assert look(ledger).oldest_running == {"a": start + 4, "b": start + 4}


def test_what_waits_for_people_and_machines_is_counted(ledger: Ledger, clock: ManualClock) -> None:
    """Reviews until they are settled, uploads until they are done, messages that were none."""
    start = clock.now
    session = begin(ledger)
    asked = [run(ledger, session) for _ in range(3)]
    for place, job in enumerate(asked):
        clock.now = start + place
        commit(ledger, job, review=True)
    with ledger.write() as tx:
        reviews.settle(tx, asked[0].id)
        uploads.add(tx, cid="Qm1", kind=UploadKind.REPORT, body_digest="d", profile="p")
        quarantine.add(tx, queue="q", reason="R", detail="", data=b"", worker="w")
        alert_channels.note(tx, ChannelRow(channel="ops", delivered_at=start))
        bookmarks.note(tx, "beat")
    found = look(ledger)
    assert (found.open_reviews, found.oldest_open_review) == (2, start + 1)
    assert found.pending_uploads == 1
    assert found.quarantined == {"R": 1}
    assert found.alerts_delivered == {"ops": start}
    assert found.noted == {"beat": clock.now}
    assert found.positions == {"beat": 0}


def test_a_receipt_is_unsealed_until_it_has_its_place(ledger: Ledger, clock: ManualClock) -> None:
    """In its log; one that belongs to no log waits for none."""
    start = clock.now
    session = begin(ledger)
    with ledger.write() as tx:
        log = logs.enter(tx, log_id="l", worker="worker-1", origin="o", key="", empty_root=b"")
        tx.execute(sa.update(log_tables.logs).values(batches=7))
    jobs_run = [run(ledger, session) for _ in range(4)]
    for place, job in enumerate(jobs_run):
        clock.now = start + place
        number = None if place == 3 else log.number
        commit(ledger, job, receipt=replace(receipt_of(job.id), log=number))
    with ledger.write() as tx:
        receipts.place(tx, {jobs_run[0].id: 0})
    found = look(ledger)
    assert (found.unsealed_receipts, found.oldest_unsealed) == (2, start + 1)
    assert found.sealed_batches == 7


def test_counts_of_what_waits_have_an_end(ledger: Ledger) -> None:
    """More than that nobody needs to know at each scrape."""
    session = begin(ledger)
    for _ in range(3):
        commit(ledger, run(ledger, session), review=True)
    with ledger.read() as tx:
        assert figures.read(tx, at_most=2).open_reviews == 2
        assert figures.read(tx, at_most=4).open_reviews == 3


def test_a_worker_stands_with_its_session(ledger: Ledger, clock: ManualClock) -> None:
    """Its lease holds until it is over, it is closed, or another session has come."""
    session = begin(ledger, "one")
    begin(ledger, "two")
    with ledger.write() as tx:
        workers.beat(tx, worker="one", session=session, state="busy", facts={"model": "a"})

    def leased() -> dict[str, bool]:
        with ledger.read() as tx:
            return {one.worker.worker: one.leased for one in standings.read(tx)}

    assert leased() == {"one": True, "two": True}
    with ledger.write() as tx:
        sessions.close(tx, session, crashed=True, reason="died")
    assert leased() == {"one": False, "two": True}
    clock.lease_now += sessions.LEASE_S
    assert leased() == {"one": False, "two": False}
    begin(ledger, "one")
    assert leased() == {"one": True, "two": False}


def test_no_figure_reads_what_has_ended(sqlite_url: str) -> None:
    """SQLite's planner scans nothing but what is open, or always small."""
    with Ledger.open(sqlite_url) as ledger:
        commit(ledger, run(ledger, begin(ledger)))
        with recorded() as statements:
            look(ledger)
            with ledger.read() as tx:
                standings.read(tx)
        with ledger.read() as tx:
            for text, parameters in statements:
                rows = tx._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)
                plan = [str(row[3]) for row in rows]
                open_ones = ("USING INDEX jobs_running", "USING INDEX uploads_pending")
                scans = [step for step in plan if step.startswith("SCAN ")]
                long = ("jobs", "receipts", "reviews", "sessions", "uploads", "changes", "batches")
                assert [] == [
                    step
                    for step in scans
                    if step.split()[1] in long and not step.endswith(open_ones)
                ], text
    assert len(statements) > 10
