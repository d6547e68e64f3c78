"""Moves with their jobs' facts, for whoever counts them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ledger import Drawn, Ledger, ManualClock, Move, State, jobs, moves, samples, sessions
from ledger.moves import _FACTS, _SAMPLES
from tests.integration.ledger.support import (
    ERROR,
    begin,
    commit,
    enter,
    look,
    new_job,
    run,
    sample,
    take,
)


def read(ledger: Ledger, seq: int = 0) -> list[Move]:
    """All moves after one."""
    with ledger.read() as tx:
        return moves.after(tx, seq)


def test_a_move_tells_how_long_its_job_was_where_it_was(ledger: Ledger, clock: ManualClock) -> None:
    """Since the move before it, whichever page that was on."""
    session = begin(ledger)
    began = clock.now
    job = enter(ledger, priority=6, model="small-one")
    clock.advance(2)
    running = take(ledger, job.id, session)
    clock.advance(3)
    assert commit(ledger, running, review=True)

    entered, claimed, ended = read(ledger)

    assert [None, began, began + 2] == [entered.since, claimed.since, ended.since]
    assert [began, began + 2, began + 5] == [entered.at, claimed.at, ended.at]
    assert (State.RUNNING, State.SUCCEEDED) == (ended.source, ended.target)
    assert ("small-one", 6, "client", began) == (
        ended.model,
        ended.priority,
        ended.origin,
        ended.created_at,
    )
    assert (0.75, 3, True) == (ended.confidence, ended.k, ended.review)
    assert read(ledger, claimed.seq) == [ended]


def test_the_end_of_a_job_comes_with_its_samples(ledger: Ledger) -> None:
    """And no other move does; one that was measured by nobody says so."""
    session = begin(ledger)
    job, other = run(ledger, session), run(ledger, session)
    with ledger.write() as tx:
        samples.add_many(
            tx,
            [
                sample(job, 1, valid=False, prompt_tokens=9, completion_tokens=8, duration_ms=70),
                sample(job, 0, first_token_ms=12, cached_tokens=5, prompt_tokens=9),
                sample(other, 0),
            ],
        )
    assert commit(ledger, job)

    *before, ended = read(ledger)

    measured = {"cached_tokens": 5, "first_token_ms": 12, "duration_ms": 0}
    unmeasured = {"cached_tokens": None, "first_token_ms": None, "duration_ms": 70}
    assert (
        Drawn(prompt_tokens=9, completion_tokens=0, valid=True, **measured),
        Drawn(prompt_tokens=9, completion_tokens=8, valid=False, **unmeasured),
    ) == ended.samples
    assert {()} == {move.samples for move in before}


def test_samples_that_were_taken_over_count_for_the_job_that_drew_them(
    ledger: Ledger, clock: ManualClock
) -> None:
    """One that a follower draws itself is its own."""
    session = begin(ledger)
    leader = run(ledger, session, dedupe=True)
    follower = enter(ledger, dedupe=True)
    with ledger.write() as tx:
        samples.add_many(tx, [sample(leader, 0), sample(leader, 1)])
    assert commit(ledger, leader)
    clock.advance(1)
    with ledger.write() as tx:
        assert [follower.id] == [job.id for job in jobs.release_followers(tx)]
    running = take(ledger, follower.id, session)
    clock.advance(1)
    with ledger.write() as tx:
        samples.add_many(tx, [sample(running, 2, completion_tokens=5)])
        assert 3 == len(samples.of(tx, follower.id))
    assert commit(ledger, running)

    ends = {move.job_id: move for move in read(ledger) if move.target is State.SUCCEEDED}

    assert 2 == len(ends[leader.id].samples)
    assert [5] == [drawn.completion_tokens for drawn in ends[follower.id].samples]
    assert (None, leader.id) == (ends[leader.id].follows, ends[follower.id].follows)


def test_a_move_tells_whether_a_crash_gave_the_job_back(ledger: Ledger) -> None:
    """Also where the session was closed in the transaction in which another was handed back."""
    first, second = begin(ledger, "worker-1"), begin(ledger, "worker-2")
    handed, crashed, lost = run(ledger, first), run(ledger, first), run(ledger, second)
    with ledger.write() as tx:
        assert jobs.hand_back(tx, job_id=handed.id, fence=1, reason="drain")
        sessions.close(tx, first, crashed=True, reason="process died")
        sessions.close(tx, second, crashed=False, reason="lease lost")

    given_back = {move.job_id: move for move in read(ledger) if move.source is State.RUNNING}

    assert (None, "drain") == (given_back[handed.id].crashed, given_back[handed.id].reason)
    assert (True, "process died") == (given_back[crashed.id].crashed, given_back[crashed.id].reason)
    assert (False, "lease lost") == (given_back[lost.id].crashed, given_back[lost.id].reason)


def test_a_cancel_tells_when_it_was_asked_for(ledger: Ledger, clock: ManualClock) -> None:
    """The first time counts, and a waiting job is cancelled at once."""
    session = begin(ledger)
    running, waiting = run(ledger, session), enter(ledger)
    asked = clock.now
    for reason in ("first", "second"):
        with ledger.write() as tx:
            jobs.cancel(tx, job_id=running.id, reason=reason)
            jobs.cancel(tx, job_id=waiting.id, reason=reason)
        clock.advance(1)
    with ledger.write() as tx:
        assert jobs.finish_cancel(tx, job_id=running.id, fence=1)

    ends = {move.job_id: move for move in read(ledger) if move.target is State.CANCELLED}

    assert (asked, asked + 2) == (ends[running.id].cancel_asked_at, ends[running.id].at)
    assert (asked, asked) == (ends[waiting.id].cancel_asked_at, ends[waiting.id].at)


def test_a_job_keeps_the_trace_that_it_belongs_to(ledger: Ledger) -> None:
    """As it was given, or none."""
    traced = enter(ledger, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" == traced.traceparent
    assert None is look(ledger, enter(ledger).id).traceparent


def test_pages_of_any_size_hold_the_same(ledger: Ledger) -> None:
    """Samples too, wherever a page ends."""
    session = begin(ledger)
    for _ in range(3):
        job = run(ledger, session)
        with ledger.write() as tx:
            samples.add(tx, sample(job))
            assert jobs.fail(tx, job_id=job.id, fence=1, error=ERROR)
    with ledger.write() as tx:
        jobs.refuse(tx, new_job(), ERROR)
    whole = read(ledger)
    assert 10 == len(whole)
    for size in (1, 2, 3, 7):
        got: list[Move] = []
        while True:
            with ledger.read() as tx:
                page = moves.after(tx, got[-1].seq if got else 0, size)
            if not page:
                break
            got += page
        assert whole == got


def test_a_page_costs_what_is_on_it(sqlite_url: str) -> None:
    """Every table is entered through an index, at the rows wanted."""
    with Ledger.open(sqlite_url) as ledger, ledger.read() as tx:
        for statements in (_FACTS, _SAMPLES):
            asked = statements["sqlite"].params(after_seq=0, at_most=100)
            written = asked.compile(
                dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
            )
            plan = tx.execute(sa.text(f"EXPLAIN QUERY PLAN {written}"))
            told = [str(row[3]) for row in plan]
            assert any("SEARCH changes USING INTEGER PRIMARY KEY" in line for line in told), told
            assert ["SCAN page"] == [line for line in told if line.startswith("SCAN")]
