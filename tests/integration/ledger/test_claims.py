"""How sessions take jobs, and give them back."""

from __future__ import annotations

import uuid

import pytest

from ledger import (
    Claim,
    Ledger,
    ManualClock,
    Refusal,
    RefusalReason,
    State,
    jobs,
    samples,
    sessions,
    workers,
)
from tests.integration.ledger.support import (
    begin,
    enter,
    job_in,
    look,
    new_job,
    run,
    sample,
    take,
    try_claim,
)


def test_a_claim_gives_the_job_its_request_and_a_higher_fence(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The session owns it from then on."""
    job, session = enter(ledger, request=b'{"a":1}'), begin(ledger)
    clock.advance(1)
    with ledger.write() as tx:
        taken = jobs.claim(tx, session=session, job_id=job.id, number=1)

    assert isinstance(taken, Claim)
    assert (State.RUNNING, State.QUEUED, 1, session) == (
        taken.job.state,
        taken.job.previous,
        taken.job.fence,
        taken.job.session,
    )
    assert (clock.now, clock.now) == (taken.job.started_at, taken.job.claimed_at)
    assert (taken.request, taken.samples) == (b'{"a":1}', [])
    assert taken.job == look(ledger, job.id)


def test_a_job_can_be_claimed_in_the_transaction_that_enters_it(ledger: Ledger) -> None:
    """Its request is found although its bytes are not written yet."""
    session = begin(ledger)
    with ledger.write() as tx:
        (job,) = jobs.submit(tx, [new_job(request=b"fresh")])
        taken = jobs.claim(tx, session=session, job_id=job.id, number=1)

    assert isinstance(taken, Claim)
    assert taken.request == b"fresh"


def test_a_second_claim_keeps_the_first_start_and_the_samples(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The fence goes on rising; nothing that was drawn is drawn again."""
    session = begin(ledger)
    job = run(ledger, session)
    with ledger.write() as tx:
        samples.add(tx, sample(job, 1, text="severe"))
        samples.add(tx, sample(job, 0))
        jobs.hand_back(tx, job_id=job.id, fence=1, reason="drain")
    clock.advance(5)
    with ledger.write() as tx:
        taken = jobs.claim(tx, session=session, job_id=job.id, number=2)

    assert isinstance(taken, Claim)
    assert (2, job.started_at, clock.now) == (
        taken.job.fence,
        taken.job.started_at,
        taken.job.claimed_at,
    )
    assert [(kept.index, kept.text) for kept in taken.samples] == [(0, "mild"), (1, "severe")]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.SCHEDULED, RefusalReason.NOT_DUE),
        (State.RUNNING, RefusalReason.RUNNING),
        (State.SUCCEEDED, RefusalReason.ENDED),
        (State.FAILED, RefusalReason.ENDED),
        (State.CANCELLED, RefusalReason.ENDED),
        (State.EXPIRED, RefusalReason.ENDED),
        (State.DEAD, RefusalReason.ENDED),
    ],
)
def test_only_a_queued_job_is_given(ledger: Ledger, state: State, reason: RefusalReason) -> None:
    """Each other state has its reason, and the row is left as it is."""
    session = begin(ledger)
    job = job_in(ledger, state, session)

    assert reason == try_claim(ledger, job, session)
    assert job == look(ledger, job.id)


def test_an_unknown_job_is_refused(ledger: Ledger) -> None:
    """A message may name anything; the transaction goes on."""
    session, job = begin(ledger), enter(ledger)
    with ledger.write() as tx:
        for strange in (str(uuid.uuid4()), "", "no uuid", "\0", "\ud800"):
            refusal = jobs.claim(tx, session=session, job_id=strange, number=1)
            assert Refusal(reason=RefusalReason.UNKNOWN) == refusal
        assert isinstance(jobs.claim(tx, session=session, job_id=job.id, number=10**40), Claim)


def test_an_older_copy_is_stale_and_a_newer_one_is_not(ledger: Ledger) -> None:
    """Only the last copy sent, or one from the future of a restored ledger, is taken."""
    session, job = begin(ledger), enter(ledger)
    with ledger.write() as tx:
        (sent,) = jobs.resend(tx, [job.id])
        refusal = jobs.claim(tx, session=session, job_id=job.id, number=1)
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, sent.sent_number) == (RefusalReason.STALE_COPY, 2)
        assert isinstance(jobs.claim(tx, session=session, job_id=job.id, number=3), Claim)


def test_a_lost_session_gets_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """Unknown, closed or lapsed: all the same."""
    job = enter(ledger)
    closed, lapsed = begin(ledger, "a"), begin(ledger, "b")
    with ledger.write() as tx:
        sessions.close(tx, closed, crashed=False, reason="drain")
    clock.advance(sessions.LEASE_S)

    for session in (closed, lapsed, "no such session"):
        assert try_claim(ledger, job, session) == RefusalReason.SESSION_LOST
    assert look(ledger, job.id).state == State.QUEUED


def test_a_job_past_its_deadline_expires_at_the_claim(ledger: Ledger, clock: ManualClock) -> None:
    """Queued or scheduled, it is not run."""
    session = begin(ledger)
    queued = enter(ledger, deadline=clock.now + 5)
    scheduled = enter(ledger, deadline=clock.now + 5, not_before=clock.now + 9)
    clock.advance(5)
    for job in (queued, scheduled):
        assert try_claim(ledger, job, session) == RefusalReason.EXPIRED
        assert (State.EXPIRED, clock.now) == (
            look(ledger, job.id).state,
            look(ledger, job.id).finished_at,
        )


def test_a_session_runs_one_suspect_at_a_time(ledger: Ledger) -> None:
    """Others may, and innocent jobs always do."""
    crashing, session, other = begin(ledger, "a"), begin(ledger, "b"), begin(ledger, "c")
    suspects = [run(ledger, crashing) for _ in range(3)]
    with ledger.write() as tx:
        sessions.close(tx, crashing, crashed=True, reason="engine died")
    first, second, third = (look(ledger, job.id) for job in suspects)

    assert try_claim(ledger, first, session) is None
    assert try_claim(ledger, second, session) == RefusalReason.SUSPECT_BUSY
    assert try_claim(ledger, enter(ledger), session) is None
    assert try_claim(ledger, third, other) is None
    with ledger.write() as tx:
        jobs.fail(tx, job_id=first.id, fence=2, error={"code": "X"})
    assert try_claim(ledger, second, session) is None


def test_an_innocent_suspect_does_not_pay_for_a_fresh_poison(ledger: Ledger) -> None:
    """However often it was in flight beside others, it ends as soon as it runs by itself."""
    unlucky = enter(ledger)
    for number in range(2):
        session = begin(ledger, f"worker-{number}")
        for job in (look(ledger, unlucky.id), enter(ledger), enter(ledger)):
            assert try_claim(ledger, job, session) is None
        with ledger.write() as tx:
            sessions.close(tx, session, crashed=True, reason="engine died")
    session = begin(ledger, "worker-2")
    fresh = run(ledger, session)
    assert try_claim(ledger, look(ledger, unlucky.id), session) == RefusalReason.SUSPECT_BUSY
    with ledger.write() as tx:
        jobs.fail(tx, job_id=fresh.id, fence=1, error={"code": "X"})

    assert try_claim(ledger, look(ledger, unlucky.id), session) is None
    row = look(ledger, unlucky.id)
    assert (State.RUNNING, 0, 2) == (row.state, row.crashes, row.shared_crashes)


def test_a_handed_back_job_is_queued_with_nothing_counted(ledger: Ledger) -> None:
    """Its older copies are stale."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        assert jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain")
        assert not jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain")

    back = look(ledger, job.id)
    assert (
        back.state,
        back.tries,
        back.crashes,
        back.suspect,
        back.sent_number,
        back.fence,
    ) == (State.QUEUED, 0, 0, False, 2, 1)


def test_a_job_that_was_called_off_is_not_handed_back(ledger: Ledger) -> None:
    """It ends there and then."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=job.id, reason="asked")
        assert not jobs.hand_back(tx, job_id=job.id, fence=9, reason="drain")
        assert jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain")

    assert look(ledger, job.id).state == State.CANCELLED


def test_attention_tells_all_in_one_look(ledger: Ledger, clock: ManualClock) -> None:
    """What runs, what is called off, what is lost, and how the session stands."""
    session = begin(ledger)
    kept, called_off, gone = (run(ledger, session) for _ in range(3))
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=called_off.id, reason="asked")
        jobs.hand_back(tx, job_id=gone.id, fence=gone.fence, reason="reclaimed")
        workers.set_flag(tx, "worker-1", drain=True)
    with ledger.read() as tx:
        seen = jobs.attention(tx, session, [kept.id, called_off.id, gone.id])

    assert (seen.alive, seen.drain) == (True, True)
    assert {kept.id: 1, called_off.id: 1} == seen.running
    assert ([called_off.id], [gone.id]) == (seen.cancel, seen.lost)
    clock.advance(sessions.LEASE_S)
    with ledger.read() as tx:
        assert not jobs.attention(tx, session).alive
        unknown = jobs.attention(tx, "no such session", [kept.id])
    assert (False, {}, [kept.id]) == (unknown.alive, unknown.running, unknown.lost)


def test_a_claim_is_taken_only_once(ledger: Ledger) -> None:
    """The second of two sessions hears that it runs."""
    job = enter(ledger)
    take(ledger, job.id, begin(ledger, "a"))

    assert try_claim(ledger, job, begin(ledger, "b")) == RefusalReason.RUNNING
