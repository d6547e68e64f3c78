"""What clients, workers, crashes and the reconciler do to a ledger, as rules for Hypothesis."""

from __future__ import annotations

import uuid

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ledger import (
    EDGES,
    TERMINAL,
    Claim,
    Ledger,
    ManualClock,
    Refusal,
    State,
    changes,
    events,
    jobs,
    receipts,
    samples,
    sessions,
    workers,
)
from tests.integration.ledger import model
from tests.integration.ledger.counters import FIRST, OTHER, TWIN, Counters
from tests.integration.ledger.model import NEVER, Model
from tests.integration.ledger.support import ERROR, commit, new_job, open_session, sample


class LedgerMachine(RuleBasedStateMachine):
    """Does to a ledger what clients, workers, crashes and the reconciler do, in any order."""

    made = Bundle("made")
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.ledger = self.open_ledger()
        self.jobs: dict[str, Model] = {}
        self.leases: dict[str, float] = {}
        self.seen: list[int] = []
        self.counters = Counters(self.ledger, self.clock)

    def open_ledger(self) -> Ledger:
        """An empty one, with the machine's clock."""
        raise NotImplementedError

    @initialize(target=opened)
    def first_worker(self) -> str:
        return self.start_worker()

    @rule(target=opened)
    def worker_starts(self) -> str:
        return self.start_worker()

    def start_worker(self) -> str:
        with self.ledger.write() as tx:
            session = open_session(tx, f"worker-{len(self.leases)}")
        self.leases[session] = self.clock.now + sessions.LEASE_S
        return session

    @rule(
        target=made,
        wait=st.sampled_from([0, 0, 3]),
        patience=st.sampled_from([None, 5, 30]),
        shared=st.booleans(),
        priority=st.sampled_from([3, 3, 0, 9]),
    )
    def submit(self, wait: int, patience: int | None, shared: bool, priority: int) -> str:
        return self.submit_one(wait, patience, shared=shared, priority=priority)

    def submit_one(
        self, wait: int, patience: int | None, *, shared: bool = False, priority: int = 3
    ) -> str:
        now = self.clock.now
        job = Model(
            # Counted, so that who comes first is the same whenever this is run again.
            id=str(uuid.UUID(int=len(self.jobs))),
            state=State.SCHEDULED if wait else State.QUEUED,
            created=now,
            priority=priority,
            shared=shared,
            queued=now,
            due=now + wait,
            deadline=NEVER if patience is None else now + patience,
        )
        new = new_job(
            id=job.id,
            not_before=job.due,
            deadline=None if patience is None else job.deadline,
            dedupe=shared,
            priority=priority,
        )
        with self.ledger.write() as tx:
            (row,) = jobs.submit(tx, [new])
        older = sorted(self.jobs.values(), key=lambda other: other.age)
        if shared and not wait:
            job.follows = next((other.id for other in older if other.may_lead(job)), None)
        if job.follows:
            job.state, job.due = State.SCHEDULED, NEVER
        assert row.created
        self.jobs[job.id] = job
        return job.id

    @rule(target=made, session=opened, shared=st.booleans())
    def submit_and_claim(self, session: str, shared: bool) -> str:
        job_id = self.submit_one(0, None, shared=shared)
        self.try_claim(job_id, session, 0)
        return job_id

    @rule(
        target=made,
        session=opened,
        patience=st.sampled_from([None, 5]),
        what=st.sampled_from(["commit", "fail", "cancel", "hand back"]),
    )
    def three_share(self, session: str, patience: int | None, what: str) -> str:
        """So that what follows has somebody who follows, more often than chance would have it."""
        leader = self.submit_one(0, None, shared=True)
        self.try_claim(leader, session, 0)
        self.worker_keeps_a_sample(leader, 0, 1)
        followers = [self.submit_one(0, wait, shared=True) for wait in (patience, None)]
        self.worker_ends(leader, 0, what)
        return followers[0]

    @rule(session=opened)
    def worker_claims_followers(self, session: str) -> None:
        """Those that were released."""
        for job in [*self.jobs.values()]:
            if job.follows is not None and job.state is State.QUEUED:
                self.try_claim(job.id, session, 0)

    @rule(job_id=made, session=opened, behind=st.sampled_from([0, 0, 0, 1]))
    def claim(self, job_id: str, session: str, behind: int) -> None:
        self.try_claim(job_id, session, behind)

    def try_claim(self, job_id: str, session: str, behind: int) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            taken = jobs.claim(tx, session=session, job_id=job_id, number=job.copies - behind)
        reason = "session_lost" if self.leases[session] <= self.clock.now else None
        reason = reason or model.refusal(job, self.held(session), behind, self.clock.now)
        if reason is None:
            assert isinstance(taken, Claim)
            if job.follows is not None:
                job.kept |= self.jobs[job.follows].kept
            assert {row.index for row in taken.samples} == job.kept
            job.state, job.session, job.fence = State.RUNNING, session, job.fence + 1
        else:
            assert isinstance(taken, Refusal)
            assert taken.reason == reason
            if reason == "expired":
                job.state = State.EXPIRED

    def held(self, session: str) -> list[Model]:
        return [
            job
            for job in self.jobs.values()
            if job.state is State.RUNNING and job.session == session
        ]

    @rule(job_id=made, stale=st.sampled_from([0, 0, 0, 1]), index=st.integers(0, 3))
    def worker_keeps_a_sample(self, job_id: str, stale: int, index: int) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            row = jobs.get(tx, job_id)
            assert row is not None
            added = samples.add(tx, sample(row, index, fence=job.fence - stale))
        assert added == (job.state is State.RUNNING and not stale and index not in job.kept)
        job.kept |= {index} if added else set()

    @rule(
        job_id=made,
        stale=st.sampled_from([0, 0, 0, 1]),
        what=st.sampled_from(["commit", "fail", "retry", "hand back", "cancel", "expire"]),
    )
    def worker_ends(self, job_id: str, stale: int, what: str) -> None:
        job = self.jobs[job_id]
        held = {"job_id": job_id, "fence": job.fence - stale}
        with self.ledger.write() as tx:
            row = jobs.get(tx, job_id)
            assert row is not None
            if what == "fail":
                done = jobs.fail(tx, **held, error=ERROR)  # type: ignore[arg-type]
            elif what == "retry":
                told = jobs.retry(tx, **held, error=ERROR, wait=2)  # type: ignore[arg-type]
                done = told != "fenced"
            elif what == "hand back":
                done = jobs.hand_back(tx, **held, reason="drain")  # type: ignore[arg-type]
            elif what == "cancel":
                done = jobs.finish_cancel(tx, **held)  # type: ignore[arg-type]
            elif what == "expire":
                done = jobs.expire(tx, **held)  # type: ignore[arg-type]
        if what == "commit":
            done = commit(self.ledger, row, fence=job.fence - stale)
        assert done == (job.state is State.RUNNING and not stale)
        if done:
            job.end(what, self.clock.now)

    @rule(job_id=made)
    def client_cancels(self, job_id: str) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            jobs.cancel(tx, job_id=job_id, reason="asked")
        if job.state is State.RUNNING:
            job.cancel = True
        elif job.state not in TERMINAL:
            job.state = State.CANCELLED

    @rule(session=opened, crashed=st.booleans())
    def session_ends(self, session: str, crashed: bool) -> None:
        with self.ledger.write() as tx:
            sessions.close(tx, session, crashed=crashed, reason="died")
        held = self.held(session)
        if crashed:
            model.crash(held, self.clock.now)
        else:
            for job in held:
                job.give_back(self.clock.now)
        self.leases[session] = 0.0

    @rule(session=opened)
    def worker_is_drained(self, session: str) -> None:
        """It is told, hands everything back and ends; its engine, which did not hear, goes on."""
        held = self.held(session)
        worker = f"worker-{[*self.leases].index(session)}"
        with self.ledger.write() as tx:
            assert workers.set_flag(tx, worker, drain=True)
            told = jobs.attention(tx, session)
            for job in held:
                assert jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain")
            assert sessions.close(tx, session, crashed=False, reason="drain") == []
        assert (told.drain, told.stop) == (True, False)
        assert told.alive == (self.leases[session] > self.clock.now)
        assert told.running == {job.id: job.fence for job in held}
        assert sorted(told.cancel) == sorted(job.id for job in held if job.cancel)
        self.leases[session] = 0.0
        for job in held:
            job.give_back(self.clock.now)
            self.zombie_tries(job.id)

    @rule(job_id=made)
    def zombie_tries(self, job_id: str) -> None:
        """Whoever has a job no more gets nothing in, neither a sample nor an end."""
        job = self.jobs[job_id]
        fence = job.fence - (job.state is State.RUNNING)
        with self.ledger.write() as tx:
            row = jobs.get(tx, job_id)
            assert row is not None
            assert not samples.add(tx, sample(row, 5, fence=fence))
            assert not jobs.fail(tx, job_id=job_id, fence=fence, error=ERROR)
        assert not commit(self.ledger, row, fence=fence)

    @rule(session=opened)
    def keeper_renews(self, session: str) -> None:
        with self.ledger.write() as tx:
            kept = sessions.renew(tx, session)
        assert kept == (self.leases[session] > self.clock.now)
        if kept:
            self.leases[session] = self.clock.now + sessions.LEASE_S

    @rule(seconds=st.sampled_from([1, 2, 5]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reconciler_sweeps(self) -> None:
        with self.ledger.write() as tx:
            expired = {job.id for job in jobs.expire_due(tx)}
            released = {job.id for job in jobs.release_due(tx)}
        for job_id, job in self.jobs.items():
            waits = job.state in (State.QUEUED, State.SCHEDULED)
            late = waits and job.deadline <= self.clock.now
            due = job.state is State.SCHEDULED and not late and job.due <= self.clock.now
            assert (job_id in expired, job_id in released) == (late, due)
            if late:
                job.state = State.EXPIRED
            elif due:
                job.queue(self.clock.now)

    @rule()
    def reconciler_releases_followers(self) -> None:
        with self.ledger.write() as tx:
            released = [job.id for job in jobs.release_followers(tx)]
        assert len(released) == len(set(released))
        assert set(released) == model.release(self.jobs, self.clock.now)

    @rule(waited=st.sampled_from([0, 3]))
    def reconciler_promotes(self, waited: int) -> None:
        with self.ledger.write() as tx:
            promoted = {job.id for job in jobs.promote(tx, waited)}
        for job in self.jobs.values():
            waits = job.state is State.QUEUED and job.queued <= self.clock.now - waited
            assert (job.id in promoted) == (waits and job.priority > 0 and not job.promoted)
            if job.id in promoted:
                job.promoted, job.copies = True, job.copies + 1

    @rule(job_id=made)
    def reconciler_sends_again(self, job_id: str) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            again = jobs.resend(tx, [job_id])
        assert bool(again) == (job.state is State.QUEUED)
        job.copies += len(again)

    @rule(which=st.sampled_from([FIRST, TWIN, OTHER]))
    def somebody_counts(self, which: int) -> None:
        self.counters.count(which)

    @rule(which=st.sampled_from([FIRST, TWIN]), other=st.sampled_from([FIRST, TWIN, OTHER]))
    def somebody_counts_and_is_overtaken(self, which: int, other: int) -> None:
        if other != which:
            self.counters.overtake(which, other)

    @rule(which=st.sampled_from([FIRST, TWIN, OTHER]), batch=st.integers(1, 5))
    def somebody_counts_and_is_killed(self, which: int, batch: int) -> None:
        self.counters.kill(which, batch)

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        with self.ledger.read() as tx:
            for row in jobs.get_many(tx, [*self.jobs]):
                job = self.jobs[row.id]
                told = (row.state, row.fence, row.tries, row.crashes, row.shared_crashes)
                assert told == (job.state, job.fence, job.tries, job.crashes, job.shared_crashes)
                assert row.suspect is job.suspect
                assert (row.sent_number, row.follows) == (job.copies, job.follows)
                assert (row.promoted_at is not None, row.priority) == (job.promoted, job.priority)
                assert row.ended == (row.finished_at is not None)
                if row.state is State.QUEUED:
                    assert row.queued_at == job.queued
                receipt = receipts.get(tx, row.id)
                assert (receipt is not None) == (job.state is State.SUCCEEDED)
            dead = [event.subject for event in events.after(tx, 0)]
        assert sorted(dead) == sorted(j.id for j in self.jobs.values() if j.state is State.DEAD)

    @invariant()
    def the_sequence_only_grows_and_tells_whole_lives(self) -> None:
        with self.ledger.read() as tx:
            read = changes.after(tx, 0, 10_000)
        numbers = [change.seq for change in read]
        assert numbers == sorted(set(numbers))
        assert numbers[: len(self.seen)] == self.seen
        self.seen = numbers
        last: dict[str, tuple[int, State | None, int]] = {}
        # Of one job's moves `step` is the order; on PostgreSQL `seq` need not be.
        for change in sorted(read, key=lambda change: change.step):
            step, state, fence = last.get(change.job_id, (0, None, 0))
            assert (change.step, change.source) == (step + 1, state)
            assert (change.source, change.target) in EDGES
            assert change.fence == fence + (change.target is State.RUNNING)
            last[change.job_id] = (change.step, change.target, change.fence)
        assert {job_id: state for job_id, (_, state, _) in last.items()} == {
            job_id: job.state for job_id, job in self.jobs.items()
        }

    def teardown(self) -> None:
        self.counters.check()
