"""Short words for what these tests do all the time."""

from __future__ import annotations

import uuid
from typing import Any

from ledger import (
    Claim,
    Job,
    Ledger,
    NewJob,
    ReceiptRow,
    Refusal,
    RefusalReason,
    ReviewRow,
    SampleRow,
    State,
    bodies,
    jobs,
    sessions,
)
from ledger.transaction import Transaction

ERROR = {"code": "SOME_ERROR", "message": "Something went wrong."}


def new_job(**columns: Any) -> NewJob:
    """A job as a client would submit it."""
    given: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "model": "queenbee-spine",
        "queue": "model.queenbee-spine",
        "request": b'{"prompt":"hello"}',
        "policy": "dynamic",
    }
    return NewJob(**(given | columns))


def enter(ledger: Ledger, **columns: Any) -> Job:
    """A job in the ledger."""
    with ledger.write() as tx:
        return jobs.submit(tx, [new_job(**columns)])[0]


def begin(ledger: Ledger, worker: str = "worker-1") -> str:
    """An open session's id."""
    with ledger.write() as tx:
        return open_session(tx, worker)


def open_session(tx: Transaction, worker: str = "worker-1", *, again: bool = False) -> str:
    """An open session's id, in this transaction."""
    return sessions.open(
        tx,
        worker=worker,
        node="node-1",
        pid=4711,
        pid_started=12.5,
        pid_namespace="pid:[1]",
        boot_id="boot-1",
        again=again,
    ).id


def take(ledger: Ledger, job_id: str, session: str) -> Job:
    """A job that the session has claimed."""
    with ledger.write() as tx:
        sent = jobs.get(tx, job_id)
        assert sent is not None
        taken = jobs.claim(tx, session=session, job_id=job_id, number=sent.sent_number)
    assert isinstance(taken, Claim), taken
    return taken.job


def try_claim(ledger: Ledger, job: Job, session: str) -> RefusalReason | None:
    """Why the session does not get the job; None if it does."""
    with ledger.write() as tx:
        taken = jobs.claim(tx, session=session, job_id=job.id, number=job.sent_number)
    return taken.reason if isinstance(taken, Refusal) else None


def run(ledger: Ledger, session: str, **columns: Any) -> Job:
    """A running job."""
    return take(ledger, enter(ledger, **columns).id, session)


def look(ledger: Ledger, job_id: str) -> Job:
    """The job's row as it is now."""
    with ledger.read() as tx:
        job = jobs.get(tx, job_id)
    assert job is not None
    return job


def receipt_of(job_id: str, report: bytes = b"{}") -> ReceiptRow:
    """A receipt that fits the job and the report."""
    canonical = b'{"job_id":"%s"}' % job_id.encode()
    return ReceiptRow(
        job_id=job_id,
        canonical=canonical,
        digest=bodies.digest_of(canonical),
        report_digest=bodies.digest_of(report),
    )


def commit(ledger: Ledger, job: Job, *, review: bool = False, **changed: Any) -> bool:
    """Whether the job could be ended with a result."""
    doubt = ReviewRow(job_id=job.id, reasons=("low agreement",), classes=[["mild", 2]])
    given: dict[str, Any] = {
        "job_id": job.id,
        "fence": job.fence,
        "result": b'{"answer":"yes"}',
        "output": b"yes",
        "report": b"{}",
        "receipt": receipt_of(job.id),
        "confidence": 0.75,
        "k": 3,
        "rounds": 1,
        "review": doubt if review else None,
    }
    with ledger.write() as tx:
        return jobs.commit(tx, **(given | changed))


def sample(job: Job, index: int = 0, **columns: Any) -> SampleRow:
    """A sample of a running job."""
    given: dict[str, Any] = {
        "job_id": job.id,
        "index": index,
        "fence": job.fence,
        "seed": 7,
        "text": "mild",
    }
    return SampleRow(**(given | columns))


def job_in(ledger: Ledger, state: State, session: str) -> Job:
    """A job that has come to a state by published moves."""
    if state is State.SCHEDULED:
        return enter(ledger, not_before=2e9)
    if state is State.QUEUED:
        return enter(ledger)
    if state is State.DEAD:
        return _dead(ledger)
    job = run(ledger, session, deadline=1.75e9)
    with ledger.write() as tx:
        if state is State.FAILED:
            assert jobs.fail(tx, job_id=job.id, fence=job.fence, error=ERROR)
        elif state is State.CANCELLED:
            assert jobs.finish_cancel(tx, job_id=job.id, fence=job.fence)
        elif state is State.EXPIRED:
            assert jobs.expire(tx, job_id=job.id, fence=job.fence)
    if state is State.SUCCEEDED:
        assert commit(ledger, job)
    return look(ledger, job.id)


def _dead(ledger: Ledger) -> Job:
    job = enter(ledger)
    for number in range(3):
        session = begin(ledger, f"doomed-{job.id}-{number}")
        take(ledger, job.id, session)
        with ledger.write() as tx:
            sessions.close(tx, session, crashed=True, reason=f"crash {number + 1}")
    return look(ledger, job.id)
