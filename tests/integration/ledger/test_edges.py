"""Only the published moves exist: in the code, and in the database when somebody goes round it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ledger import EDGES, Ledger, LedgerError, ManualClock, State, changes, jobs, sessions
from ledger.values import Change
from tests.integration.ledger.support import (
    begin,
    commit,
    enter,
    job_in,
    look,
    new_job,
    open_session,
    run,
    take,
)

BY_HAND = sa.text("UPDATE jobs SET state = :target WHERE id = :job_id")


@pytest.mark.parametrize("source", State)
def test_the_database_knows_the_published_moves(ledger: Ledger, source: State) -> None:
    """An UPDATE written by hand does what the table allows, and is refused what it does not."""
    for number, target in enumerate(State):
        job = job_in(ledger, source, begin(ledger, f"worker-{number}"))
        change = {"target": str(target), "job_id": job.id}
        if (source, target) in EDGES:
            with ledger.write() as tx:
                tx.execute(BY_HAND, change)
            assert target == look(ledger, job.id).state
        else:
            with pytest.raises(LedgerError, match="not published"), ledger.write() as tx:
                tx.execute(BY_HAND, change)
            assert source == look(ledger, job.id).state


def test_a_fence_never_falls(ledger: Ledger) -> None:
    """Not even by hand."""
    job = run(ledger, begin(ledger))
    lower = sa.text("UPDATE jobs SET fence = 0 WHERE id = :job_id")
    with pytest.raises(LedgerError, match="never falls"), ledger.write() as tx:
        tx.execute(lower, {"job_id": job.id})


def test_every_published_move_is_made_and_written_down(ledger: Ledger, clock: ManualClock) -> None:
    """The lives of a few jobs go over every edge, and the sequence shows nothing else."""
    session = begin(ledger)
    for state in State:
        job_in(ledger, state, session)
    with ledger.write() as tx:
        jobs.refuse(tx, new_job(), {"code": "X"})
    for wait in (0.0, 9.0):
        for ending in ("fail", "cancel", "expire"):
            job = enter(ledger, not_before=clock.now + wait, deadline=clock.now + 1)
            with ledger.write() as tx:
                if ending == "fail":
                    jobs.fail(tx, job_id=job.id, fence=None, error={"code": "X"})
                elif ending == "cancel":
                    jobs.cancel(tx, job_id=job.id, reason="asked")
            if ending == "expire":
                clock.advance(1)
                with ledger.write() as tx:
                    assert [job.id] == [gone.id for gone in jobs.expire_due(tx)]
    retried = run(ledger, session)
    with ledger.write() as tx:
        jobs.retry(tx, job_id=retried.id, fence=1, error={"code": "X"}, wait=0)
        jobs.release_due(tx)

    with ledger.read() as tx:
        seen = {(change.source, change.target) for change in changes.after(tx, 0, 1000)}
    assert seen == EDGES


def test_the_history_of_a_job_is_its_life_in_order(ledger: Ledger, clock: ManualClock) -> None:
    """Every move once, with its reason, fence and session."""
    job, session = enter(ledger), begin(ledger)
    clock.advance(1)
    take(ledger, job.id, session)
    with ledger.write() as tx:
        jobs.hand_back(tx, job_id=job.id, fence=1, reason="drain")
        second = open_session(tx, "worker-2")
    assert commit(ledger, take(ledger, job.id, second))

    with ledger.read() as tx:
        history = jobs.history(tx, job.id)
    expected = [
        (clock.now - 1, 1, None, State.QUEUED, 0, "submitted", None),
        (clock.now, 2, State.QUEUED, State.RUNNING, 1, None, session),
        (clock.now, 3, State.RUNNING, State.QUEUED, 1, "drain", session),
        (clock.now, 4, State.QUEUED, State.RUNNING, 2, None, second),
        (clock.now, 5, State.RUNNING, State.SUCCEEDED, 2, None, second),
    ]
    assert expected == [_told(change) for change in history]
    assert sorted(history, key=lambda change: change.seq) == history


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    """Neither the rows nor the bodies nor the moves, whatever was done in it."""
    session, job = begin(ledger), enter(ledger)

    def fail_half_way() -> None:
        with ledger.write() as tx:
            jobs.submit(tx, [new_job()])
            jobs.claim(tx, session=session, job_id=job.id, number=1)
            sessions.close(tx, session, crashed=True, reason="x")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_half_way()

    assert job == look(ledger, job.id)
    with ledger.read() as tx:
        assert len(changes.after(tx, 0)) == 1
        assert [session] == [live.id for live in sessions.live(tx)]


def _told(change: Change) -> tuple[object, ...]:
    return (
        change.at,
        change.step,
        change.source,
        change.target,
        change.fence,
        change.reason,
        change.session,
    )
