"""How a session takes a job, gives it back, and learns what to look at. Part of `ledger.jobs`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ledger import bodies, endings, samples, sessions, tables, views
from ledger.states import APART_AFTER, TERMINAL, State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.transitions import NOW, RESENT, THE_FENCE, THE_JOB, Transition, job_of
from ledger.values import Attention, Claim, Job, Refusal, RefusalReason, storable

_THE_SESSION: sa.BindParameter[str] = sa.bindparam("the_session")
_other = jobs.alias("other")
_running: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
    _other.c.session == _THE_SESSION, tables.state_in(State.RUNNING, table=_other)
)
_RUNS_A_SUSPECT = _running.where(_other.c.suspect).exists()
_RUNS_ANYTHING = _running.exists()
_REQUEST = (
    sa.select(tables.bodies.c.data)
    .where(tables.bodies.c.digest == jobs.c.request_digest)
    .scalar_subquery()
    .label("request")
)
_CLAIM = Transition(
    sources=(State.QUEUED,),
    target=State.RUNNING,
    where=(
        THE_JOB,
        jobs.c.sent_number <= sa.bindparam("number", type_=sa.BigInteger),
        sa.not_(jobs.c.cancel_requested),
        jobs.c.deadline.is_(None) | (jobs.c.deadline > NOW),
        sa.not_(jobs.c.suspect) | sa.not_(_RUNS_A_SUSPECT),
        (jobs.c.shared_crashes < APART_AFTER) | sa.not_(_RUNS_ANYTHING),
    ),
    values={
        "fence": jobs.c.fence + 1,
        "session": _THE_SESSION,
        "claimed_at": NOW,
        "started_at": sa.func.coalesce(jobs.c.started_at, NOW),
    },
    also=(_REQUEST,),
)
_HAND_BACK = Transition(
    sources=(State.RUNNING,),
    target=State.QUEUED,
    where=(THE_JOB, THE_FENCE, sa.not_(jobs.c.cancel_requested)),
    values=RESENT,
)
_NO_REQUEST = {
    "code": "REQUEST_LOST",
    "message": "The ledger no longer holds the request as it was entered.",
    "suggested_action": "Submit it again; check the ledger's disk.",
    "retriable": False,
}
_NEWEST = 2**62
_ATTENTION = (
    sa.select(
        tables.sessions.c.closed_at,
        tables.sessions.c.lease_until,
        tables.sessions.c.boot_id,
        tables.workers.c.drain,
        tables.workers.c.stop,
        tables.workers.c.seal,
        jobs.c.id,
        jobs.c.fence,
        jobs.c.cancel_requested,
    )
    .select_from(
        tables.sessions.outerjoin(
            tables.workers, tables.workers.c.worker == tables.sessions.c.worker
        ).outerjoin(
            jobs,
            (jobs.c.session == tables.sessions.c.id) & tables.state_in(State.RUNNING),
        )
    )
    .where(tables.sessions.c.id == _THE_SESSION)
)


def claim(tx: Transaction, *, session: str, job_id: str, number: int) -> Claim | Refusal:
    """Take a queued job for a live session: its fence rises by one, and the session owns it.

    `number` is that of the message's copy; a copy older than the last one sent is stale. A suspect
    is not given to a session that runs another one, nor a job that runs apart to one that runs
    anything. A job that was called off, whose deadline has passed, or whose request is not stored
    as it was entered, is ended by this call.
    """
    if not sessions.hold(tx, session):
        return Refusal(reason=RefusalReason.SESSION_LOST)
    # Both come out of a message; neither may bring down the transaction of a whole group.
    if not storable(job_id):
        return Refusal(reason=RefusalReason.UNKNOWN)
    number = max(-1, min(number, _NEWEST))
    # Twice, because on PostgreSQL another writer may move the row between the two looks at it.
    for _ in range(2):
        rows = _CLAIM.apply(tx, the_job=job_id, number=number, the_session=session)
        if rows:
            request = rows[0].pop("request")
            return _taken(tx, job_of(rows[0]), request)
        if (refusal := _explained(tx, job_id, number)) is not None:
            return refusal
    return Refusal(reason=RefusalReason.RUNNING)


def hand_back(tx: Transaction, *, job_id: str, fence: int, reason: str) -> bool:
    """Put a running job back into its queue, nothing counted; false when it is not held any more.

    A job that was called off is cancelled instead.
    """
    moved = _HAND_BACK.moves(tx, reason=reason, the_job=job_id, the_fence=fence)
    return moved or endings.finish_cancel(tx, job_id=job_id, fence=fence, only_if_requested=True)


def attention(tx: Transaction, session: str, held: Iterable[str] = ()) -> Attention:
    """What a session has to look at, in one query: what is called off, lost, and its own standing.

    `held` are the ids the caller believes to run; those it no longer holds come back as `lost`.
    """
    rows = tx.rows(_ATTENTION, {"the_session": session})
    running = {row["id"]: row["fence"] for row in rows if row["id"] is not None}
    return Attention(
        alive=bool(rows) and sessions.is_alive(tx, rows[0]),
        drain=bool(rows) and bool(rows[0]["drain"]),
        stop=bool(rows) and bool(rows[0]["stop"]),
        seal=rows[0]["seal"] if rows else None,
        running=running,
        cancel=[row["id"] for row in rows if row["cancel_requested"]],
        lost=[job_id for job_id in held if job_id not in running],
    )


def _taken(tx: Transaction, job: Job, request: bytes | None) -> Claim | Refusal:
    if request is None:
        request = tx.pending_body(job.request_digest)
    if request is None or bodies.digest_of(request) != job.request_digest:
        endings.fail(tx, job_id=job.id, fence=job.fence, error=_NO_REQUEST)
        return Refusal(reason=RefusalReason.ENDED, job=views.get(tx, job.id))
    if job.follows is not None:
        samples.adopt(tx, job.id, job.follows, fence=job.fence)
    kept = samples.of(tx, job.id) if job.fence > 1 or job.follows is not None else []
    return Claim(job=job, request=request, samples=kept)


def _explained(tx: Transaction, job_id: str, number: int) -> Refusal | None:
    """Why the claim got nothing; None if by now there is no reason."""
    job = views.get(tx, job_id)
    if job is None:
        return Refusal(reason=RefusalReason.UNKNOWN)
    if job.state in TERMINAL:
        return Refusal(reason=RefusalReason.ENDED, job=job)
    if job.state is State.RUNNING:
        return Refusal(reason=RefusalReason.RUNNING, job=job)
    return _ended_here(tx, job) or _must_wait(job, number)


def _ended_here(tx: Transaction, job: Job) -> Refusal | None:
    if job.cancel_requested:
        ended = endings.cancel(tx, job_id=job.id, reason=job.cancel_reason or "asked")
        return Refusal(reason=RefusalReason.ENDED, job=ended)
    if job.deadline is not None and job.deadline <= tx.now:
        ended = endings.expire_waiting(tx, job.id)
        return Refusal(reason=RefusalReason.EXPIRED, job=ended)
    return None


def _must_wait(job: Job, number: int) -> Refusal | None:
    if job.state is State.SCHEDULED:
        return Refusal(reason=RefusalReason.NOT_DUE, job=job)
    if number < job.sent_number:
        return Refusal(reason=RefusalReason.STALE_COPY, job=job)
    return Refusal(reason=RefusalReason.SUSPECT_BUSY, job=job) if job.suspect else None
