"""How jobs come in."""

from __future__ import annotations

import uuid

import pytest

from ledger import (
    IdempotencyConflict,
    JobConflict,
    Ledger,
    ManualClock,
    State,
    bodies,
    jobs,
)
from tests.integration.ledger.support import ERROR, begin, enter, look, new_job, take


def test_seconds_count_from_the_stores_clock(ledger: Ledger, clock: ManualClock) -> None:
    """A submitter whose clock is wrong is not early or late for that."""
    clock.advance(1_000_000)
    job = enter(ledger, delay_s=5.0, expires_s=60.0)
    assert (clock.now + 5, clock.now + 60) == (job.not_before, job.deadline)
    assert State.SCHEDULED == job.state
    assert State.QUEUED == enter(ledger, delay_s=0.0).state


def test_a_due_job_is_queued_with_everything_it_was_given(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Every column of the submission comes back, and the rest starts at nothing."""
    new = new_job(
        priority=6,
        profile="spine",
        profile_digest="sha256:aa",
        deadline=clock.now + 60,
        run_timeout=12.5,
        canvas={"chain": [{"task": "x", "kwargs": {"text": "é\0"}}]},
        group_id="group",
        group_index=2,
        root_id="root",
        parent_id="parent",
        correlation_id="corr",
        stream=True,
        idempotency_key="key",
        origin="gateway",
    )
    with ledger.write() as tx:
        (job,) = jobs.submit(tx, [new])

    assert (
        job.state,
        job.previous,
        job.step,
        job.fence,
        job.created,
    ) == (State.QUEUED, None, 1, 0, True)
    for name in type(new).__dataclass_fields__:
        if name not in ("request", "delay_s", "expires_s"):
            assert getattr(new, name) == getattr(job, name), name
    assert (1, None, clock.now, clock.now) == (
        job.sent_number,
        job.sent_at,
        job.created_at,
        job.queued_at,
    )
    assert (
        job.tries,
        job.crashes,
        job.suspect,
        job.cancel_requested,
        job.review,
    ) == (0, 0, False, False, False)
    with ledger.read() as tx:
        assert new.request == jobs.request(tx, job.id)
        assert bodies.digest_of(new.request) == job.request_digest


@pytest.mark.parametrize(("wait", "state"), [(-5, "queued"), (0, "queued"), (5, "scheduled")])
def test_a_job_is_scheduled_only_until_it_is_due(
    ledger: Ledger, clock: ManualClock, wait: float, state: str
) -> None:
    """`not_before` decides, by the store's clock."""
    assert state == enter(ledger, not_before=clock.now + wait).state


def test_submitting_again_gives_the_same_job(ledger: Ledger) -> None:
    """A client that never heard the answer may ask again, also when the job has gone on."""
    new = new_job()
    with ledger.write() as tx:
        jobs.submit(tx, [new])
    take(ledger, new.id, begin(ledger))
    with ledger.write() as tx:
        (again,) = jobs.submit(tx, [new])

    assert (again.created, again.state) == (False, State.RUNNING)
    with ledger.read() as tx:
        assert len(jobs.history(tx, new.id)) == 2


def test_another_request_under_a_taken_id_is_refused(ledger: Ledger) -> None:
    """Nothing of the batch is written."""
    taken = enter(ledger)
    other = new_job()
    with pytest.raises(JobConflict, match=taken.id), ledger.write() as tx:
        jobs.submit(tx, [other, new_job(id=taken.id, request=b"{}")])

    with ledger.read() as tx:
        assert jobs.get(tx, other.id) is None


def test_an_idempotency_key_names_one_request(ledger: Ledger) -> None:
    """The same request gives the first job; another one is a conflict."""
    first = enter(ledger, idempotency_key="key")
    with ledger.write() as tx:
        (again,) = jobs.submit(tx, [new_job(idempotency_key="key")])

    assert (first.id, False) == (again.id, again.created)
    with pytest.raises(IdempotencyConflict, match=first.id), ledger.write() as tx:
        jobs.submit(tx, [new_job(idempotency_key="key", request=b"{}")])


def test_a_batch_may_name_a_job_twice(ledger: Ledger) -> None:
    """The order is kept, and only the first of the two created it."""
    first, second = new_job(idempotency_key="a"), new_job(idempotency_key="b")
    with ledger.write() as tx:
        got = jobs.submit(tx, [second, first, second, new_job(idempotency_key="a")])

    assert [second.id, first.id, second.id, first.id] == [job.id for job in got]
    assert [job.created for job in got] == [True, True, False, False]


def test_no_jobs_are_no_work(ledger: Ledger) -> None:
    """An empty batch gives an empty list."""
    with ledger.write() as tx:
        assert jobs.submit(tx, []) == []


def test_many_jobs_come_in_one_transaction_in_their_order(ledger: Ledger) -> None:
    """A thousand, with one body."""
    new = [new_job() for _ in range(1000)]
    with ledger.write() as tx:
        got = jobs.submit(tx, new)

    assert [job.id for job in new] == [job.id for job in got]
    with ledger.read() as tx:
        assert jobs.counts(tx) == {("queenbee-spine", State.QUEUED): 1000}


def test_a_refused_request_is_kept_with_its_error(ledger: Ledger, clock: ManualClock) -> None:
    """It has failed from the beginning, and waits to be told."""
    new = new_job(request=b"\xff not even JSON", origin="stock")
    with ledger.write() as tx:
        job = jobs.refuse(tx, new, ERROR)

    assert (State.FAILED, ERROR, clock.now) == (job.state, job.error, job.finished_at)
    with ledger.read() as tx:
        assert new.request == jobs.request(tx, job.id)
        assert [job.id] == [waiting.id for waiting in jobs.undelivered(tx)]
        (change,) = jobs.history(tx, job.id)
    assert (change.source, change.target, change.reason) == (None, State.FAILED, "refused")


def test_jobs_are_listed_newest_first_page_by_page(ledger: Ledger, clock: ManualClock) -> None:
    """By state and model, and after the last of the page before."""
    made = []
    for number in range(5):
        clock.advance(number % 2)
        made.append(enter(ledger, model="b" if number == 3 else "a"))
    take(ledger, made[4].id, begin(ledger))

    with ledger.read() as tx:
        everything = jobs.list(tx)
        pages = jobs.list(tx, limit=2)
        while more := jobs.list(tx, limit=2, before=pages[-1].id):
            pages += more
        of_model = jobs.list(tx, model="b")
        running = jobs.list(tx, states=["running", "dead"])
    assert [job.id for job in everything] == [job.id for job in pages]
    assert {job.id for job in made} == {job.id for job in everything}
    assert sorted(everything, key=lambda job: job.created_at, reverse=True) == everything
    assert [made[3].id] == [job.id for job in of_model]
    assert [made[4].id] == [job.id for job in running]


def test_an_unknown_job_is_nothing(ledger: Ledger) -> None:
    """Also one whose id could not be stored at all."""
    with ledger.read() as tx:
        for strange in (str(uuid.uuid4()), "", "\0", "\ud800"):
            assert jobs.get(tx, strange) is None
            assert jobs.result(tx, strange) is None
    assert look(ledger, enter(ledger).id).result_digest is None
