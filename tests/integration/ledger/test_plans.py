"""No statement of the daily work reads the whole table of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from ledger import ChordPart, Ledger, chords, events, jobs, quarantine, samples, sessions
from tests.integration.ledger.support import ERROR, begin, commit, enter, run, sample, take

_LONG = ("jobs", "other", "leader", "older", "samples", "chord_parts", "events")


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that any engine runs meanwhile."""
    statements: list[tuple[str, Any]] = []

    def note(
        _conn: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        statements.append((text, parameters[0] if many else parameters))

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)


def work(ledger: Ledger) -> None:
    """A little of everything that workers and the reconciler do all day."""
    session = begin(ledger)
    for ending in ("commit", "retry", "hand back", "fail", "cancel"):
        job = run(ledger, session, group_id="g", idempotency_key=ending)
        with ledger.write() as tx:
            samples.add(tx, sample(job))
            if ending == "retry":
                jobs.retry(tx, job_id=job.id, fence=1, error=ERROR, wait=0)
            elif ending == "hand back":
                jobs.hand_back(tx, job_id=job.id, fence=1, reason="drain")
            elif ending == "fail":
                jobs.fail(tx, job_id=job.id, fence=1, error=ERROR)
            elif ending == "cancel":
                jobs.cancel(tx, job_id=job.id, reason="asked")
                jobs.finish_cancel(tx, job_id=job.id, fence=1)
        if ending == "commit":
            commit(ledger, job)
    work_together(ledger, session)
    waiting = enter(ledger, deadline=1.0)
    with ledger.write() as tx:
        jobs.attention(tx, session)
        jobs.release_due(tx)
        jobs.expire_due(tx)
        jobs.queued_by_queue(tx)
        jobs.queued_copies(tx, "q")
        jobs.promote(tx, 0)
        jobs.resend(tx, [waiting.id])
        jobs.mark_sent(tx, [waiting.id])
        jobs.undelivered(tx)
        jobs.mark_delivered(tx, [waiting.id])
        jobs.list(tx)
        jobs.count_delivery(tx, waiting.id, error="why")
        chords.add(tx, "g", ChordPart(id=waiting.id, index=0, state="SUCCESS"))
        chords.has_jobs(tx, "g")
        chords.take(tx, "g", 1, session=session)
        chords.take(tx, "g", 1, session=session)
        chords.parts(tx, "g")
        chords.done(tx, "g")
        sessions.renew(tx, session)
        events.after(tx, 7)
        number = quarantine.add(tx, queue="q", reason="r", detail="", data=b"", worker="worker-1")
        quarantine.get(tx, number)
        quarantine.drop(tx, [number])
    take(ledger, enter(ledger).id, session)
    with ledger.write() as tx:
        sessions.close(tx, session, crashed=True, reason="died")


def work_together(ledger: Ledger, session: str) -> None:
    """One execution for four jobs; once its leader succeeds, once it fails."""
    for priority in (9, 5):
        leader = enter(ledger, dedupe=True, priority=priority)
        for _ in range(3):
            enter(ledger, dedupe=True, priority=priority)
        leader = take(ledger, leader.id, session)
        with ledger.write() as tx:
            samples.add(tx, sample(leader))
            if priority == 5:
                jobs.fail(tx, job_id=leader.id, fence=1, error=ERROR)
        if priority == 9:
            commit(ledger, leader)
        with ledger.write() as tx:
            follower = jobs.release_followers(tx)[0]
        take(ledger, follower.id, session)


def test_every_statement_finds_its_rows_by_an_index(sqlite_url: str) -> None:
    """SQLite's planner says SCAN for a table read from end to end."""
    with Ledger.open(sqlite_url) as ledger:
        with recorded() as statements:
            work(ledger)
        with ledger.read() as tx:
            for text, parameters in statements:
                if text.split()[0] not in ("SELECT", "UPDATE", "INSERT", "WITH", "DELETE"):
                    continue
                rows = tx._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)
                plan = [str(row[3]) for row in rows]
                assert not {f"SCAN {name}" for name in _LONG} & set(plan), text
    assert len(statements) > 60


def test_the_main_path_takes_few_statements(sqlite_url: str) -> None:
    """A claim takes one, a commit five at most, besides what a whole group shares."""
    with Ledger.open(sqlite_url) as ledger:
        session, job, other = begin(ledger), enter(ledger), enter(ledger)
        with ledger.write() as tx:
            jobs.claim(tx, session=session, job_id=other.id, number=1)
            with recorded() as claiming:
                jobs.claim(tx, session=session, job_id=job.id, number=1)
        with recorded() as committing:
            commit(ledger, run(ledger, session), review=True)
    assert len(claiming) == 1
    ended = next(n for n, (text, _) in enumerate(committing) if "result_digest=" in text)
    assert len(committing) - ended <= 5
