"""The crash rule: what counts against whom when a session ends with jobs in flight.

All jobs in flight share a crash, and most are innocent. So a crash counts only against a job that
suffers it alone, and the third such crash is its last. What shares one becomes a suspect, of which
a session runs one at a time, beside others. What shares another one as well runs alone from then
on: the next crash is its own, or it is innocent.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ledger import events
from ledger.states import State
from ledger.tables import jobs, state_in
from ledger.transaction import Transaction
from ledger.transitions import NOW, RESENT, THE_FENCE, THE_JOB, Transition, job_of
from ledger.values import Job

MAX_CRASHES = 3
"""The crash with which a job is dead; only those that it suffers alone count."""

_IN_FLIGHT = (
    sa.select(jobs)
    .where(jobs.c.session == sa.bindparam("the_session"), state_in(State.RUNNING))
    .order_by(jobs.c.id)
    .with_for_update(key_share=True)
)
_GIVE_BACK = Transition(
    sources=(State.RUNNING,),
    target=State.QUEUED,
    where=(THE_JOB, THE_FENCE),
    values={
        **RESENT,
        "suspect": sa.bindparam("now_suspect", type_=sa.Boolean),
        "crashes": sa.bindparam("now_crashes", type_=sa.Integer),
        "shared_crashes": sa.bindparam("now_shared", type_=sa.Integer),
        "crash_reasons": sa.bindparam("now_reasons", type_=jobs.c.crash_reasons.type),
    },
)
_CANCEL = Transition(
    sources=(State.RUNNING,),
    target=State.CANCELLED,
    where=(THE_JOB, THE_FENCE),
    values={"finished_at": NOW},
)
_BURY = Transition(
    sources=(State.QUEUED,),
    target=State.DEAD,
    where=(THE_JOB, THE_FENCE),
    values={
        "finished_at": NOW,
        "error": sa.bindparam("the_error", type_=jobs.c.error.type),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a session's end means for each job in flight: its own crash, a shared one, or none."""

    counts: bool
    shared: bool


def give_back(tx: Transaction, session_id: str, *, crashed: bool, reason: str) -> list[Job]:
    """Move every job that a closed session still runs to where it belongs."""
    rows = tx.rows(_IN_FLIGHT, {"the_session": session_id})
    verdict = judge(len(rows), crashed=crashed)
    return [_move(tx, job_of(row), verdict, reason=reason) for row in rows]


def judge(in_flight: int, *, crashed: bool) -> Verdict:
    """The rule itself, for each of so many jobs in flight."""
    return Verdict(counts=crashed and in_flight == 1, shared=crashed and in_flight > 1)


def _move(tx: Transaction, job: Job, verdict: Verdict, *, reason: str) -> Job:
    held = {"the_job": job.id, "the_fence": job.fence}
    if job.cancel_requested:
        return _CANCEL.one(tx, reason="cancelled", **held) or job
    reasons = list(job.crash_reasons or ()) + [reason] * verdict.counts
    moved = _GIVE_BACK.one(
        tx,
        reason=reason,
        now_suspect=job.suspect or verdict.counts or verdict.shared,
        now_crashes=job.crashes + verdict.counts,
        now_shared=job.shared_crashes + verdict.shared,
        now_reasons=reasons or None,
        **held,
    )
    if moved is None or moved.crashes < MAX_CRASHES:
        return moved or job
    error = {
        "code": "JOB_DEAD",
        "message": f"The job crashed its worker {moved.crashes} times.",
        "suggested_action": "Look at the reasons; the request itself may bring the engine down.",
        "retriable": False,
        "details": {"reasons": reasons},
    }
    dead = _BURY.one(tx, reason="third crash", the_error=error, **held)
    if dead is not None:
        events.add(tx, kind=events.JOB_DEAD, subject=job.id, details={"reasons": reasons})
    return dead or moved
