"""What the reconciler does to many jobs, and what it finds."""

from __future__ import annotations

from ledger import Ledger, ManualClock, State, jobs
from tests.integration.ledger.support import begin, enter, job_in, look, run, take, try_claim


def test_waiting_jobs_expire_when_their_deadline_has_passed(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The oldest first, as many as asked for; running ones are their worker's."""
    session = begin(ledger)
    late = enter(ledger, deadline=clock.now + 3)
    later = enter(ledger, deadline=clock.now + 4, not_before=clock.now + 9)
    running = run(ledger, session, deadline=clock.now + 2)
    unhurried, future = enter(ledger), enter(ledger, deadline=clock.now + 60)
    clock.advance(4)
    with ledger.write() as tx:
        assert [late.id] == [job.id for job in jobs.expire_due(tx, 1)]
        assert [later.id] == [job.id for job in jobs.expire_due(tx)]
        assert jobs.expire_due(tx) == []

    assert (State.EXPIRED, clock.now) == (
        look(ledger, late.id).state,
        look(ledger, late.id).finished_at,
    )
    assert look(ledger, running.id).state == State.RUNNING
    assert [unhurried, future] == [look(ledger, job.id) for job in (unhurried, future)]


def test_scheduled_jobs_are_released_when_they_are_due(ledger: Ledger, clock: ManualClock) -> None:
    """With a new number, ready to be sent; one whose deadline has passed is not."""
    second = enter(ledger, not_before=clock.now + 6)
    first = enter(ledger, not_before=clock.now + 5)
    enter(ledger, not_before=clock.now + 5, deadline=clock.now + 6)
    enter(ledger, not_before=clock.now + 7)
    clock.advance(6)
    with ledger.write() as tx:
        (released,) = jobs.release_due(tx, 1)
        assert first.id == released.id
        assert [second.id] == [job.id for job in jobs.release_due(tx)]
        assert jobs.release_due(tx) == []

    assert (State.QUEUED, 2, clock.now, clock.now) == (
        released.state,
        released.sent_number,
        released.queued_at,
        released.sent_at,
    )
    assert released == look(ledger, first.id)


def test_sending_again_makes_older_copies_stale(ledger: Ledger, clock: ManualClock) -> None:
    """Only for jobs that are queued."""
    queued, taken = enter(ledger), run(ledger, begin(ledger))
    clock.advance(20)
    with ledger.write() as tx:
        (again,) = jobs.resend(tx, [queued.id, taken.id, "unknown"])
        assert jobs.resend(tx, []) == []

    assert (queued.id, 2, clock.now) == (again.id, again.sent_number, again.sent_at)
    assert taken == look(ledger, taken.id)


def test_jobs_that_have_waited_long_are_promoted_once(ledger: Ledger, clock: ManualClock) -> None:
    """The oldest first, as many as asked for; their priority and their place in time stay."""
    first = enter(ledger, priority=9)
    clock.advance(1)
    second, urgent = enter(ledger, priority=1), enter(ledger, priority=0)
    enter(ledger, priority=9, not_before=clock.now + 1000)
    clock.advance(1)
    fresh, taken = enter(ledger), run(ledger, begin(ledger))
    clock.advance(9)
    with ledger.write() as tx:
        assert jobs.promote(tx, 12) == []
        (promoted,) = jobs.promote(tx, 10, 1)
        assert [second.id] == [job.id for job in jobs.promote(tx, 10)]
        assert jobs.promote(tx, 10) == []

    assert first.promoted_at is None
    assert (first.id, 9, clock.now, 2, clock.now, first.queued_at) == (
        promoted.id,
        promoted.priority,
        promoted.promoted_at,
        promoted.sent_number,
        promoted.sent_at,
        promoted.queued_at,
    )
    assert promoted == look(ledger, first.id)
    assert [urgent, fresh, taken] == [look(ledger, job.id) for job in (urgent, fresh, taken)]


def test_a_promoted_job_stays_so(ledger: Ledger, clock: ManualClock) -> None:
    """When it is back in its queue, its older copies are stale as ever."""
    session, job = begin(ledger), enter(ledger)
    clock.advance(5)
    with ledger.write() as tx:
        jobs.promote(tx, 5)
    assert try_claim(ledger, job, session) == "stale_copy"
    running = take(ledger, job.id, session)
    with ledger.write() as tx:
        jobs.hand_back(tx, job_id=job.id, fence=running.fence, reason="drain")
    clock.advance(5)
    with ledger.write() as tx:
        assert jobs.promote(tx, 5) == []

    assert clock.now - 5 == look(ledger, job.id).promoted_at


def test_what_waits_too_long_is_counted_and_named_per_queue(
    ledger: Ledger, clock: ManualClock
) -> None:
    """By the last time it was sent; a job that was never sent counts from when it was queued."""
    old = [enter(ledger, queue="a") for _ in range(3)] + [enter(ledger, queue="b")]
    take(ledger, old[2].id, begin(ledger))
    clock.advance(8)
    fresh = enter(ledger, queue="a")
    with ledger.write() as tx:
        jobs.mark_sent(tx, [old[0].id, fresh.id])
        jobs.mark_sent(tx, [])
    clock.advance(2)
    with ledger.read() as tx:
        assert jobs.queued_by_queue(tx) == {"a": 1, "b": 1}
        assert [old[1].id] == [copy[0] for copy in jobs.queued_copies(tx, "a")]
        assert jobs.queued_by_queue(tx, older_than=2) == {"a": 3, "b": 1}
        assert len(jobs.queued_copies(tx, "a", older_than=0)) == 3
        assert jobs.queued_copies(tx, "nobody's", older_than=0) == []


def test_an_ended_job_waits_to_be_told_until_it_was(ledger: Ledger, clock: ManualClock) -> None:
    """Whatever ended it, and only once."""
    session = begin(ledger)
    ended = [
        job_in(ledger, state, session)
        for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED, State.DEAD)
    ]
    waiting = enter(ledger)
    with ledger.read() as tx:
        assert jobs.undelivered(tx, older_than=1) == []
    clock.advance(1)
    with ledger.write() as tx:
        found = jobs.undelivered(tx, older_than=1)
        assert {job.id for job in ended} == {job.id for job in found}
        assert len(jobs.undelivered(tx, older_than=1, limit=2)) == 2
        jobs.mark_delivered(tx, [*(job.id for job in ended[1:]), waiting.id])
        jobs.mark_delivered(tx, [])
        assert [ended[0].id] == [job.id for job in jobs.undelivered(tx)]
    first_told = clock.now
    clock.advance(5)
    with ledger.write() as tx:
        jobs.mark_delivered(tx, [job.id for job in ended])

    assert first_told == look(ledger, ended[1].id).delivered_at
    assert clock.now == look(ledger, ended[0].id).delivered_at
    assert look(ledger, waiting.id).delivered_at is None


def test_an_end_that_cannot_be_told_is_given_up(ledger: Ledger, clock: ManualClock) -> None:
    """After five tries, with the reason kept; meanwhile it waits behind those tried less often."""
    session = begin(ledger)
    stuck = job_in(ledger, State.FAILED, session)
    clock.advance(1)
    fresh = job_in(ledger, State.FAILED, session)
    for number in range(1, jobs.MAX_DELIVERIES + 1):
        with ledger.write() as tx:
            given_up = jobs.count_delivery(tx, stuck.id, error=f"ValueError: \0 {number}")
        assert given_up is (number == 5)
        with ledger.read() as tx:
            waiting = [job.id for job in jobs.undelivered(tx)]
        assert waiting == ([fresh.id] if given_up else [fresh.id, stuck.id])

    row = look(ledger, stuck.id)
    assert (clock.now, 5, "ValueError: \0 5") == (
        row.delivered_at,
        row.delivery_tries,
        row.delivery_error,
    )
    queued = enter(ledger)
    with ledger.write() as tx:
        assert not jobs.count_delivery(tx, stuck.id, error="again")
        assert not jobs.count_delivery(tx, queued.id, error="not ended")


def test_counts_are_by_model_and_state(ledger: Ledger) -> None:
    """Nothing is left out."""
    session = begin(ledger)
    for model in ("a", "a", "b"):
        enter(ledger, model=model)
    run(ledger, session, model="b")

    with ledger.read() as tx:
        assert jobs.counts(tx) == {
            ("a", State.QUEUED): 2,
            ("b", State.QUEUED): 1,
            ("b", State.RUNNING): 1,
        }
