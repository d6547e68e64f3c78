"""Any order of operations keeps the promises: a model in plain Python beside the real ledger."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
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
    jobs,
    receipts,
    samples,
    sessions,
)
from ledger.endings import MAX_TRIES
from tests.integration.ledger.support import ERROR, commit, new_job, open_session, sample


@dataclass
class Model:
    """What the machine believes of one job."""

    state: State
    fence: int = 0
    tries: int = 0
    crashes: int = 0
    suspect: bool = False
    cancel: bool = False
    session: str | None = None
    due: float = 0.0
    deadline: float = float("inf")
    copies: int = 1
    kept: int = 0

    def queue(self) -> None:
        """Back to its queue, or cancelled where that was asked for."""
        self.state = State.CANCELLED if self.cancel else State.QUEUED
        self.copies += not self.cancel


class LedgerMachine(RuleBasedStateMachine):
    """Does to a ledger what clients, workers, crashes and the reconciler do, in any order."""

    made = Bundle("made")
    opened = Bundle("opened")
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="honeyflow-machine-"))
        shutil.copy(self.template, self.folder / "ledger.db")
        self.clock = ManualClock()
        self.ledger = Ledger.open(f"sqlite:///{self.folder}/ledger.db", clock=self.clock)
        self.jobs: dict[str, Model] = {}
        self.leases: dict[str, float] = {}
        self.seen: list[int] = []

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

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

    @rule(target=made, wait=st.sampled_from([0, 3]), patience=st.sampled_from([None, 5, 30]))
    def submit(self, wait: int, patience: int | None) -> str:
        return self.submit_one(wait, patience)

    def submit_one(self, wait: int, patience: int | None) -> str:
        due = self.clock.now + wait
        deadline = float("inf") if patience is None else self.clock.now + patience
        new = new_job(not_before=due, deadline=None if patience is None else deadline)
        with self.ledger.write() as tx:
            (job,) = jobs.submit(tx, [new])
        state = State.SCHEDULED if wait else State.QUEUED
        self.jobs[job.id] = Model(state, due=due, deadline=deadline)
        return job.id

    @rule(target=made, session=opened)
    def submit_and_claim(self, session: str) -> str:
        job_id = self.submit_one(0, None)
        self.try_claim(job_id, session, 0)
        return job_id

    @rule(job_id=made, session=opened, behind=st.sampled_from([0, 0, 0, 1]))
    def claim(self, job_id: str, session: str, behind: int) -> None:
        self.try_claim(job_id, session, behind)

    def try_claim(self, job_id: str, session: str, behind: int) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            taken = jobs.claim(tx, session=session, job_id=job_id, number=job.copies - behind)
        reason = self.refusal(job, session, behind)
        if reason is None:
            assert isinstance(taken, Claim)
            assert len(taken.samples) == job.kept
            job.state, job.session, job.fence = State.RUNNING, session, job.fence + 1
        else:
            assert isinstance(taken, Refusal)
            assert taken.reason == reason
            if reason == "expired":
                job.state = State.EXPIRED

    def refusal(self, job: Model, session: str, behind: int) -> str | None:
        busy = any(
            other.suspect and other.state is State.RUNNING and other.session == session
            for other in self.jobs.values()
        )
        checks = {
            "session_lost": self.leases[session] <= self.clock.now,
            "ended": job.state in TERMINAL,
            "running": job.state is State.RUNNING,
            "expired": job.deadline <= self.clock.now,
            "not_due": job.state is State.SCHEDULED,
            "stale_copy": bool(behind),
            "suspect_busy": job.suspect and busy,
        }
        return next((reason for reason, holds in checks.items() if holds), None)

    @rule(job_id=made, stale=st.sampled_from([0, 0, 0, 1]))
    def worker_keeps_a_sample(self, job_id: str, stale: int) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            row = jobs.get(tx, job_id)
            assert row is not None
            added = samples.add(tx, sample(row, job.kept, fence=job.fence - stale))
        assert added == (job.state is State.RUNNING and not stale)
        job.kept += added

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
            self.after(job, what)

    def after(self, job: Model, what: str) -> None:
        if what == "hand back":
            job.queue()
        elif what == "retry" and job.cancel:
            job.state = State.CANCELLED
        elif what == "retry" and job.tries < MAX_TRIES:
            job.state, job.tries, job.due = State.SCHEDULED, job.tries + 1, self.clock.now + 2
        else:
            job.state = {
                "commit": State.SUCCEEDED,
                "fail": State.FAILED,
                "retry": State.FAILED,
                "cancel": State.CANCELLED,
                "expire": State.EXPIRED,
            }[what]

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
        held = [
            job
            for job in self.jobs.values()
            if job.state is State.RUNNING and job.session == session
        ]
        suspects = [job for job in held if job.suspect] or held
        for job in held:
            if crashed and not job.cancel and job in suspects:
                job.suspect = True
                job.crashes += len(suspects) == 1
            job.queue()
            if job.crashes == 3:
                job.state = State.DEAD
        self.leases[session] = 0.0

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
                job.state, job.copies = State.QUEUED, job.copies + 1

    @rule(job_id=made)
    def reconciler_sends_again(self, job_id: str) -> None:
        job = self.jobs[job_id]
        with self.ledger.write() as tx:
            again = jobs.resend(tx, [job_id])
        assert bool(again) == (job.state is State.QUEUED)
        job.copies += len(again)

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        with self.ledger.read() as tx:
            for job_id, job in self.jobs.items():
                row = jobs.get(tx, job_id)
                assert row is not None
                told = (row.state, row.fence, row.tries, row.crashes, row.suspect)
                assert told == (job.state, job.fence, job.tries, job.crashes, job.suspect)
                assert row.sent_number == job.copies
                assert row.ended == (row.finished_at is not None)
                receipt = receipts.get(tx, job_id)
                assert (receipt is not None) == (job.state is State.SUCCEEDED)

    @invariant()
    def the_sequence_only_grows_and_tells_whole_lives(self) -> None:
        with self.ledger.read() as tx:
            read = changes.after(tx, 0, 10_000)
        numbers = [change.seq for change in read]
        assert numbers == sorted(set(numbers))
        assert numbers[: len(self.seen)] == self.seen
        self.seen = numbers
        last: dict[str, tuple[int, State | None, int]] = {}
        for change in read:
            step, state, fence = last.get(change.job_id, (0, None, 0))
            assert (change.step, change.source) == (step + 1, state)
            assert (change.source, change.target) in EDGES
            assert change.fence == fence + (change.target is State.RUNNING)
            last[change.job_id] = (change.step, change.target, change.fence)
        assert {job_id: state for job_id, (_, state, _) in last.items()} == {
            job_id: job.state for job_id, job in self.jobs.items()
        }


@pytest.mark.usefixtures("sqlite_template")
class TestLedgerMachine(LedgerMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine; how many times is the profile's."""

    settings = settings(stateful_step_count=40)

    @pytest.fixture(autouse=True)
    def _template(self, sqlite_template: Path) -> None:
        LedgerMachine.template = sqlite_template
