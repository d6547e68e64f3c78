"""How jobs end, or get another try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger import (
    BodyMismatch,
    Job,
    Ledger,
    ManualClock,
    ReviewRow,
    State,
    Transaction,
    bodies,
    jobs,
    receipts,
    reviews,
)
from tests.integration.ledger.support import (
    ERROR,
    begin,
    commit,
    enter,
    job_in,
    look,
    receipt_of,
    run,
    try_claim,
)


def test_a_commit_writes_result_report_and_receipt_at_once(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The row, the bodies, the receipt and the record for people."""
    job, waiting = run(ledger, begin(ledger)), enter(ledger)
    clock.advance(2)
    assert commit(ledger, job, review=True)

    done = look(ledger, job.id)
    assert (State.SUCCEEDED, clock.now, 0.75, 3, 1, True, None) == (
        done.state,
        done.finished_at,
        done.confidence,
        done.k,
        done.rounds,
        done.review,
        done.error,
    )
    with ledger.read() as tx:
        assert jobs.result(tx, job.id) == b'{"answer":"yes"}'
        assert jobs.ended(tx, ["unknown", waiting.id, job.id, "nul\0"]) == [done]
        assert bodies.get(tx, done.output_digest or "") == b"yes"
        assert bodies.get(tx, done.report_digest or "") == b"{}"
        kept = receipts.get(tx, job.id)
        assert replace(receipt_of(job.id), created_at=clock.now) == kept
        assert kept is not None
        assert kept.digest == done.receipt_digest
        (review,) = reviews.open(tx)
        assert review == reviews.get(tx, job.id)
    assert (
        ReviewRow(
            job_id=job.id,
            reasons=["low agreement"],
            classes=[["mild", 2]],
            created_at=clock.now,
        )
        == review
    )


def test_a_stale_fence_commits_nothing(ledger: Ledger) -> None:
    """Neither body nor receipt nor record is left of it, and the later holder commits."""
    session = begin(ledger)
    stale = run(ledger, session)
    with ledger.write() as tx:
        jobs.hand_back(tx, job_id=stale.id, fence=1, reason="lost")
    assert try_claim(ledger, look(ledger, stale.id), session) is None

    assert not commit(ledger, stale, result=b"stale", review=True)
    with ledger.read() as tx:
        assert bodies.get(tx, bodies.digest_of(b"stale")) is None
        assert receipts.get(tx, stale.id) is None
        assert reviews.open(tx) == []
    assert commit(ledger, look(ledger, stale.id))
    assert not commit(ledger, look(ledger, stale.id))


@pytest.mark.parametrize("field", ["job_id", "digest", "report_digest"])
def test_a_receipt_that_does_not_fit_is_refused(ledger: Ledger, field: str) -> None:
    """A wrong digest is a fault of the caller, found before anything is written."""
    job = run(ledger, begin(ledger))
    changed: dict[str, Any] = {field: "sha256:00"}
    wrong = replace(receipt_of(job.id), **changed)
    with pytest.raises(BodyMismatch, match="sha256:00"):
        commit(ledger, job, receipt=wrong)

    assert look(ledger, job.id).state == State.RUNNING


def test_a_final_error_ends_a_job_wherever_it_is(ledger: Ledger, clock: ManualClock) -> None:
    """With its fence where it runs, without where it waits; once."""
    running = run(ledger, begin(ledger))
    for job, fence in (
        (running, running.fence),
        (enter(ledger), None),
        (enter(ledger, not_before=clock.now + 9), None),
    ):
        with ledger.write() as tx:
            assert not jobs.fail(tx, job_id=job.id, fence=8, error=ERROR)
            if fence is not None:
                assert not jobs.fail(tx, job_id=job.id, fence=None, error=ERROR)
            assert jobs.fail(tx, job_id=job.id, fence=fence, error=ERROR)
            assert not jobs.fail(tx, job_id=job.id, fence=fence, error=ERROR)
        failed = look(ledger, job.id)
        assert (State.FAILED, ERROR, clock.now) == (
            failed.state,
            failed.error,
            failed.finished_at,
        )


def test_five_transient_errors_are_retried_and_the_sixth_is_final(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Each retry waits, is counted, and goes through the queue again."""
    session, job = begin(ledger), enter(ledger)
    for attempt in range(1, 7):
        assert try_claim(ledger, look(ledger, job.id), session) is None
        with ledger.write() as tx:
            retry = {"job_id": job.id, "error": ERROR, "wait": 1.5}
            assert jobs.retry(tx, fence=attempt - 1, **retry) == "fenced"  # type: ignore[arg-type]
            outcome = jobs.retry(tx, fence=attempt, **retry)  # type: ignore[arg-type]
        row = look(ledger, job.id)
        if attempt <= 5:
            assert ("scheduled", attempt, clock.now + 1.5) == (outcome, row.tries, row.not_before)
            assert row.error == ERROR
            clock.advance(1.5)
            with ledger.write() as tx:
                assert [job.id] == [due.id for due in jobs.release_due(tx)]
    assert (outcome, row.state, row.tries) == ("failed", State.FAILED, 5)


def test_a_retry_of_a_job_that_was_called_off_cancels_it(ledger: Ledger) -> None:
    """It does not wait first."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=job.id, reason="asked")
        assert jobs.retry(tx, job_id=job.id, fence=1, error=ERROR, wait=1) == "cancelled"

    assert look(ledger, job.id).state == State.CANCELLED


@pytest.mark.parametrize("state", [State.QUEUED, State.SCHEDULED])
def test_a_waiting_job_is_cancelled_at_once(ledger: Ledger, state: State) -> None:
    """And says who wanted it."""
    job = job_in(ledger, state, "")
    with ledger.write() as tx:
        cancelled = jobs.cancel(tx, job_id=job.id, reason="asked\0 by \ud800")

    assert cancelled is not None
    assert (cancelled.state, cancelled.cancel_reason) == (State.CANCELLED, "asked\ufffd by \ufffd")
    assert cancelled == look(ledger, job.id)


def test_a_running_job_is_cancelled_by_its_worker(ledger: Ledger) -> None:
    """First a flag that keeps its first reason, then the end."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        asked = jobs.cancel(tx, job_id=job.id, reason="first")
        again = jobs.cancel(tx, job_id=job.id, reason="second")
    assert asked == again
    assert asked is not None
    assert (
        asked.state,
        asked.cancel_requested,
        asked.cancel_reason,
    ) == (State.RUNNING, True, "first")
    with ledger.write() as tx:
        assert not jobs.finish_cancel(tx, job_id=job.id, fence=2)
        assert jobs.finish_cancel(tx, job_id=job.id, fence=1)
    assert look(ledger, job.id).state == State.CANCELLED


def test_a_commit_may_overtake_a_cancellation(ledger: Ledger) -> None:
    """What is done is done."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=job.id, reason="too late")

    assert commit(ledger, job)


def test_cancelling_what_has_ended_or_never_was_changes_nothing(ledger: Ledger) -> None:
    """The row comes back as it is, or nothing does."""
    job = job_in(ledger, State.SUCCEEDED, begin(ledger))
    with ledger.write() as tx:
        assert job == jobs.cancel(tx, job_id=job.id, reason="asked")
        assert jobs.cancel(tx, job_id="unknown", reason="asked") is None


def test_a_running_job_expires_by_its_worker(ledger: Ledger) -> None:
    """With its fence."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        assert not jobs.expire(tx, job_id=job.id, fence=2)
        assert jobs.expire(tx, job_id=job.id, fence=1)

    assert look(ledger, job.id).state == State.EXPIRED


ENDINGS: dict[str, Callable[[Transaction, Job], object]] = {
    "fail": lambda tx, job: jobs.fail(tx, job_id=job.id, fence=job.fence, error=ERROR),
    "fail waiting": lambda tx, job: jobs.fail(tx, job_id=job.id, fence=None, error=ERROR),
    "retry": lambda tx, job: (
        jobs.retry(tx, job_id=job.id, fence=job.fence, error=ERROR, wait=1) != "fenced"
    ),
    "hand back": lambda tx, job: jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain"),
    "finish cancel": lambda tx, job: jobs.finish_cancel(tx, job_id=job.id, fence=job.fence),
    "expire": lambda tx, job: jobs.expire(tx, job_id=job.id, fence=job.fence),
}


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_what_a_worker_does_is_refused_unless_the_job_runs(ledger: Ledger, state: State) -> None:
    """In every other state, even with the right fence, nothing happens to the row."""
    job = job_in(ledger, state, begin(ledger))
    for name, ending in ENDINGS.items():
        if name == "fail waiting" and state in (State.QUEUED, State.SCHEDULED):
            continue
        with ledger.write() as tx:
            assert not ending(tx, job), name
        assert job == look(ledger, job.id), name
    assert not commit(ledger, job)
    assert job == look(ledger, job.id)
