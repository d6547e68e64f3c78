"""Jobs that share an execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from ledger import Claim, Job, Ledger, ManualClock, SampleRow, State, jobs, samples, sessions
from tests.integration.ledger.support import (
    ERROR,
    begin,
    commit,
    enter,
    job_in,
    look,
    new_job,
    run,
    sample,
    take,
    try_claim,
)


def share(ledger: Ledger, **columns: Any) -> Job:
    """A job that may share its execution, in the ledger."""
    return enter(ledger, dedupe=True, **columns)


def release(ledger: Ledger, limit: int = 500) -> list[Job]:
    """What the reconciler does."""
    with ledger.write() as tx:
        return jobs.release_followers(tx, limit)


def claim(ledger: Ledger, job_id: str, session: str) -> Claim:
    """What a session gets with a job."""
    number = look(ledger, job_id).sent_number
    with ledger.write() as tx:
        taken = jobs.claim(tx, session=session, job_id=job_id, number=number)
    assert isinstance(taken, Claim), taken
    return taken


def keep(ledger: Ledger, *kept: SampleRow) -> None:
    """Samples of running jobs."""
    with ledger.write() as tx:
        assert all(samples.add_many(tx, kept))


def test_a_job_like_one_under_way_follows_it(ledger: Ledger, clock: ManualClock) -> None:
    """It waits without a time of its own, so that nothing but its leader's end releases it."""
    leader = share(ledger)
    clock.advance(1)
    follower = share(ledger, not_before=clock.now - 5)

    assert (State.QUEUED, None) == (leader.state, leader.follows)
    assert follower.created
    assert follower.dedupe
    assert (State.SCHEDULED, leader.id, None, None) == (
        follower.state,
        follower.follows,
        follower.not_before,
        follower.queued_at,
    )
    assert follower == look(ledger, follower.id)
    clock.advance(1000)
    with ledger.write() as tx:
        assert jobs.release_due(tx) == []
        assert jobs.expire_due(tx) == []
        assert jobs.release_followers(tx) == []
    assert try_claim(ledger, follower, begin(ledger)) == "not_due"


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.SCHEDULED])
def test_it_follows_whatever_is_under_way(ledger: Ledger, state: State) -> None:
    """Queued, running, or waiting for another try."""
    leader = share(ledger)
    if state is not State.QUEUED:
        take(ledger, leader.id, begin(ledger))
    if state is State.SCHEDULED:
        with ledger.write() as tx:
            jobs.retry(tx, job_id=leader.id, fence=1, error=ERROR, wait=2)

    assert state == look(ledger, leader.id).state
    assert leader.id == share(ledger).follows


@pytest.mark.parametrize(
    "other",
    [
        {"request": b'{"prompt":"other"}'},
        {"policy": "lean"},
        {"profile_digest": "sha256:aa"},
        {"queue": "gpu.node-1.0"},
        {"dedupe": False},
    ],
)
def test_only_jobs_alike_share(ledger: Ledger, other: dict[str, Any]) -> None:
    """In request, policy, profile and queue; and both have to want it."""
    leader = enter(ledger, **({"dedupe": True} | other))
    assert share(ledger).follows is None
    assert enter(ledger, **({"dedupe": True} | other)).follows == (
        leader.id if leader.dedupe else None
    )


def test_nobody_follows_what_has_ended_or_is_called_off(ledger: Ledger) -> None:
    """Nor a follower."""
    session = begin(ledger)
    for ending in ("commit", "fail", "cancel"):
        leader = run(ledger, session, dedupe=True, policy=ending)
        with ledger.write() as tx:
            if ending == "fail":
                jobs.fail(tx, job_id=leader.id, fence=1, error=ERROR)
            elif ending == "cancel":
                jobs.cancel(tx, job_id=leader.id, reason="asked")
        if ending == "commit":
            commit(ledger, leader)
        second = share(ledger, policy=ending)
        assert second.follows is None
        assert [second.id] * 2 == [share(ledger, policy=ending).follows for _ in range(2)]


def test_following_keeps_nobody_waiting_longer(ledger: Ledger, clock: ManualClock) -> None:
    """No due job waits for another's time or behind a less urgent one, and none runs early."""
    timed = share(ledger, delay_s=60)
    leader = share(ledger, priority=6)
    assert (None, None) == (timed.follows, leader.follows)
    clock.advance(1)
    urgent = share(ledger, priority=3)
    assert urgent.follows is None
    assert share(ledger, priority=9).follows == leader.id
    assert share(ledger, priority=3).follows == urgent.id
    later = share(ledger, delay_s=60)
    assert (None, clock.now + 60) == (later.follows, later.not_before)
    take(ledger, leader.id, begin(ledger))
    assert share(ledger, priority=0).follows == leader.id


def test_jobs_of_one_submission_share(ledger: Ledger) -> None:
    """The first of them leads, unless one is there already; others are left alone."""
    alike, alone, lean = {"dedupe": True}, {}, {"dedupe": True, "policy": "lean"}
    new = [new_job(**columns) for columns in (alike, alone, lean, alike, alike)]
    with ledger.write() as tx:
        first = jobs.submit(tx, new)
        second = jobs.submit(tx, [replace(job, id=new_job().id) for job in new])

    leader = first[0].id
    assert [None, None, None, leader, leader] == [job.follows for job in first]
    assert [leader, None, first[2].id, leader, leader] == [job.follows for job in second]
    assert {job.id for job in first} == {job.id for job in new}


def test_submitting_again_changes_nothing(ledger: Ledger) -> None:
    """By id or by key; whoever was not entered is followed by nobody."""
    first = new_job(dedupe=True, idempotency_key="key")
    with ledger.write() as tx:
        (leader,) = jobs.submit(tx, [first])
    take(ledger, leader.id, begin(ledger))
    with ledger.write() as tx:
        jobs.fail(tx, job_id=leader.id, fence=1, error=ERROR)
        again, by_key, fresh, last = jobs.submit(
            tx,
            [
                first,
                new_job(dedupe=True, idempotency_key="key"),
                new_job(dedupe=True),
                new_job(dedupe=True),
            ],
        )

    assert [leader.id] * 2 == [again.id, by_key.id]
    assert (State.FAILED, None) == (again.state, again.follows)
    assert (None, fresh.id) == (fresh.follows, last.follows)
    with ledger.write() as tx:
        (follower,) = jobs.submit(tx, [new_job(dedupe=True, id=last.id)])
    assert replace(last, created=False) == follower


def test_followers_of_a_success_are_queued_with_its_samples(
    ledger: Ledger, clock: ManualClock
) -> None:
    """As they were drawn, whatever becomes of the claim; and still theirs after the commit."""
    session = begin(ledger)
    leader = take(ledger, share(ledger).id, session)
    clock.advance(1)
    first, second, third = (share(ledger) for _ in range(3))
    drawn = [sample(leader, index, seed=10 + index, model_digest="sha256:m") for index in range(3)]
    keep(ledger, *drawn)
    assert release(ledger) == []
    commit(ledger, leader)
    clock.advance(5)
    released = release(ledger, 2) + release(ledger)

    assert {first.id, second.id, third.id} == {job.id for job in released}
    assert len(released) == 3
    for job in released:
        assert (State.QUEUED, leader.id, 2, clock.now, clock.now) == (
            job.state,
            job.follows,
            job.sent_number,
            job.queued_at,
            job.sent_at,
        )
        assert job == look(ledger, job.id)
    taken = claim(ledger, first.id, session)
    with ledger.read() as tx:
        led = samples.of(tx, leader.id)
        assert jobs.history(tx, first.id)[1].reason == "leader ended"
    assert [replace(row, job_id=first.id, fence=1) for row in led] == taken.samples
    keep(ledger, sample(taken.job, 3, text="its own"))
    with ledger.write() as tx:
        jobs.hand_back(tx, job_id=first.id, fence=1, reason="drain")
    again = claim(ledger, first.id, session)
    assert [*taken.samples, again.samples[-1]] == again.samples
    assert commit(ledger, again.job)
    with ledger.read() as tx:
        assert again.samples == samples.of(tx, first.id)


def test_its_own_samples_come_before_its_leaders(ledger: Ledger) -> None:
    """A follower that drew some itself keeps those."""
    session = begin(ledger)
    leader = take(ledger, share(ledger).id, session)
    follower = share(ledger)
    commit(ledger, leader)
    release(ledger)
    own = sample(claim(ledger, follower.id, session).job, 1, text="its own")
    keep(ledger, own)
    with ledger.write() as tx:
        samples.adopt(tx, follower.id, leader.id, fence=1)
        samples.adopt(tx, follower.id, follower.id, fence=1)
        assert ["its own"] == [row.text for row in samples.of(tx, follower.id)]


@pytest.mark.parametrize("ending", ["fail", "cancel", "expire", "crash"])
def test_the_oldest_follower_leads_after_any_other_end(
    ledger: Ledger, clock: ManualClock, ending: str
) -> None:
    """And is followed by the others, as many times as it takes."""
    leader = share(ledger, deadline=clock.now + 30)
    followers = []
    for _ in range(3):
        clock.advance(1)
        followers.append(share(ledger))
    _end(ledger, clock, leader.id, ending)
    (heir,) = release(ledger)

    assert look(ledger, leader.id).ended
    assert (followers[0].id, State.QUEUED, None, 2, clock.now) == (
        heir.id,
        heir.state,
        heir.follows,
        heir.sent_number,
        heir.queued_at,
    )
    assert heir == look(ledger, heir.id)
    assert [heir.id] * 2 == [look(ledger, job.id).follows for job in followers[1:]]
    assert heir.id == share(ledger).follows
    assert release(ledger) == []
    session = begin(ledger, "worker-2")
    taken = claim(ledger, heir.id, session)
    assert taken.samples == []
    keep(ledger, sample(taken.job))
    commit(ledger, taken.job)
    assert len(release(ledger)) == 3
    assert len(claim(ledger, followers[1].id, session).samples) == 1


def _end(ledger: Ledger, clock: ManualClock, job_id: str, ending: str) -> None:
    """End a job otherwise than with success."""
    if ending == "crash":
        for number in range(3):
            session = begin(ledger, f"doomed-{number}")
            take(ledger, job_id, session)
            with ledger.write() as tx:
                sessions.close(tx, session, crashed=True, reason="died")
        return
    if ending == "expire":
        clock.advance(30)
    with ledger.write() as tx:
        if ending == "fail":
            jobs.fail(tx, job_id=job_id, fence=None, error=ERROR)
        elif ending == "cancel":
            jobs.cancel(tx, job_id=job_id, reason="asked")
        else:
            jobs.expire_due(tx)


def test_followers_of_a_job_that_is_gone_go_on(ledger: Ledger) -> None:
    """As after an end that was no success."""
    share(ledger)
    followers = {share(ledger).id for _ in range(2)}
    with ledger.write() as tx:
        tx.execute(sa.text("UPDATE jobs SET follows = 'gone' WHERE follows IS NOT NULL"))
    (heir,) = release(ledger)

    assert {heir.id, *(look(ledger, job_id).follows for job_id in followers)} == {heir.id, None}
    assert {heir.id} < followers


def test_a_follower_is_called_off_and_expires_like_any_other(
    ledger: Ledger, clock: ManualClock
) -> None:
    """And is then released by nobody."""
    leader = run(ledger, begin(ledger), dedupe=True)
    called_off, hasty, patient = share(ledger), share(ledger, expires_s=3), share(ledger)
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=called_off.id, reason="asked")
    clock.advance(3)
    with ledger.write() as tx:
        jobs.fail(tx, job_id=leader.id, fence=1, error=ERROR)
    for _ in range(2):
        with ledger.write() as tx:
            jobs.release_followers(tx)
            jobs.expire_due(tx)

    told = {look(ledger, job.id).state for job in (called_off, hasty)}
    assert told == {State.CANCELLED, State.EXPIRED}
    assert look(ledger, patient.id).state == State.QUEUED


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_follower_whose_deadline_has_passed_is_not_released(
    ledger: Ledger, clock: ManualClock, succeeds: bool
) -> None:
    """It expires first; then the next one leads."""
    leader = run(ledger, begin(ledger), dedupe=True)
    late = share(ledger, expires_s=3)
    clock.advance(1)
    patient = share(ledger)
    clock.advance(2)
    if succeeds:
        commit(ledger, leader)
    else:
        with ledger.write() as tx:
            jobs.fail(tx, job_id=leader.id, fence=1, error=ERROR)
    with ledger.write() as tx:
        released = jobs.release_followers(tx)
        assert [late.id] == [job.id for job in jobs.expire_due(tx)]
        released += jobs.release_followers(tx)

    assert [patient.id] == [job.id for job in released]
    assert (leader.id if succeeds else None) == look(ledger, patient.id).follows


def test_a_follower_that_has_to_try_again_waits_its_time(
    ledger: Ledger, clock: ManualClock
) -> None:
    """It is not released before, although its leader ended long ago."""
    session = begin(ledger)
    leader = run(ledger, session, dedupe=True)
    follower = share(ledger)
    commit(ledger, leader)
    release(ledger)
    take(ledger, follower.id, session)
    with ledger.write() as tx:
        jobs.retry(tx, job_id=follower.id, fence=1, error=ERROR, wait=2)
    assert release(ledger) == []
    clock.advance(2)
    with ledger.write() as tx:
        assert [follower.id] == [job.id for job in jobs.release_due(tx)]


def test_no_more_are_released_than_asked_for(ledger: Ledger) -> None:
    """Of followers and heirs together."""
    session = begin(ledger)
    done, failed = (run(ledger, session, dedupe=True, policy=name) for name in ("a", "b"))
    for name in ("a", "a", "b", "b"):
        share(ledger, policy=name)
    commit(ledger, done)
    with ledger.write() as tx:
        jobs.fail(tx, job_id=failed.id, fence=1, error=ERROR)

    assert [1, 1, 1, 0] == [len(release(ledger, 1)) for _ in range(4)]


def test_a_job_that_shares_nothing_is_as_before(ledger: Ledger) -> None:
    """In every state."""
    session = begin(ledger)
    for state in State:
        if state is not State.RUNNING:
            job = job_in(ledger, state, session)
            assert (False, None, None) == (job.dedupe, job.follows, job.promoted_at)
    assert release(ledger) == []
