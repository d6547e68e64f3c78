"""How a job ends, or gets another try. Part of `ledger.jobs`.

Every function that takes a fence is a compare-and-set on (running, fence): where it gives False, or
`fenced`, somebody else has the job by now and nothing was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ledger import bodies, receipts, reviews, views
from ledger.log_values import ReceiptRow, ReviewRow
from ledger.states import State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.transitions import NOW, THE_FENCE, THE_JOB, Transition, job_of
from ledger.values import Job, cleaned

MAX_TRIES = 5
"""Retries after transient errors; the next such error is final."""

_ENDED: Mapping[str, Any] = {"finished_at": NOW}
_HELD = (THE_JOB, THE_FENCE)
_ERROR: sa.BindParameter[Any] = sa.bindparam("the_error", type_=jobs.c.error.type)
_REASON: sa.BindParameter[str] = sa.bindparam("the_reason", type_=sa.Text)
_ASKED: Mapping[str, Any] = {
    "cancel_requested": sa.true(),
    "cancel_asked_at": sa.func.coalesce(jobs.c.cancel_asked_at, NOW),
}

_COMMIT = Transition(
    sources=(State.RUNNING,),
    target=State.SUCCEEDED,
    where=_HELD,
    values={
        **_ENDED,
        "error": sa.null(),
        **{
            name: sa.bindparam(f"the_{name}", type_=jobs.c[name].type)
            for name in (
                "result_digest",
                "output_digest",
                "report_digest",
                "receipt_digest",
                "confidence",
                "k",
                "rounds",
                "review",
            )
        },
    },
)
_FAIL_RUNNING = Transition(
    sources=(State.RUNNING,),
    target=State.FAILED,
    where=_HELD,
    values={**_ENDED, "error": _ERROR},
)
_FAIL_WAITING = Transition(
    sources=(State.QUEUED, State.SCHEDULED),
    target=State.FAILED,
    where=(THE_JOB,),
    values={**_ENDED, "error": _ERROR},
)
_RETRY = Transition(
    sources=(State.RUNNING,),
    target=State.SCHEDULED,
    where=(*_HELD, jobs.c.tries < MAX_TRIES, sa.not_(jobs.c.cancel_requested)),
    values={
        "tries": jobs.c.tries + 1,
        "error": _ERROR,
        "not_before": sa.bindparam("due", type_=sa.Double),
        "queued_at": sa.null(),
    },
)
_CANCEL_WAITING = Transition(
    sources=(State.QUEUED, State.SCHEDULED),
    target=State.CANCELLED,
    where=(THE_JOB,),
    values={**_ENDED, **_ASKED, "cancel_reason": _REASON},
)
_CANCEL_RUNNING = Transition(
    sources=(State.RUNNING,),
    target=State.CANCELLED,
    where=_HELD,
    values={**_ENDED, **_ASKED},
)
_CANCEL_REQUESTED = Transition(
    sources=(State.RUNNING,),
    target=State.CANCELLED,
    where=(*_HELD, jobs.c.cancel_requested),
    values=_ENDED,
)
_EXPIRE_RUNNING = Transition(
    sources=(State.RUNNING,), target=State.EXPIRED, where=_HELD, values=_ENDED
)
_EXPIRE_WAITING = Transition(
    sources=(State.QUEUED, State.SCHEDULED),
    target=State.EXPIRED,
    where=(THE_JOB, jobs.c.deadline <= NOW),
    values=_ENDED,
)
_REQUEST_CANCEL = (
    sa.update(jobs)
    .where(THE_JOB, jobs.c.state == State.RUNNING)
    .values(**_ASKED, cancel_reason=sa.func.coalesce(jobs.c.cancel_reason, _REASON))
    .returning(jobs)
)


def commit(
    tx: Transaction,
    *,
    job_id: str,
    fence: int,
    result: bytes,
    report: bytes,
    receipt: ReceiptRow | None,
    confidence: float,
    k: int,
    rounds: int,
    output: bytes | None = None,
    review: ReviewRow | None = None,
) -> bool:
    """End a running job with its result and receipt, in this one transaction.

    `result` and `report` are JSON, `output` is the accepted answer's text in UTF-8, `confidence` a
    fraction. A review record is opened where one is given. Without a receipt, as jobs end that
    nobody asked for, the report is not kept.

    Raises:
        BodyMismatch: the receipt's digests are not those of its bytes and of `report`.
    """
    if receipt is not None:
        receipts.check(receipt, job_id=job_id, report=report)
    moved = _COMMIT.moves(
        tx,
        reason=None,
        the_job=job_id,
        the_fence=fence,
        the_result_digest=bodies.digest_of(result),
        the_output_digest=None if output is None else bodies.digest_of(output),
        the_report_digest=None if receipt is None else receipt.report_digest,
        the_receipt_digest=None if receipt is None else receipt.digest,
        the_confidence=confidence,
        the_k=k,
        the_rounds=rounds,
        the_review=review is not None,
    )
    if not moved:
        return False
    bodies.put(tx, result, bodies.JSON)
    if output is not None:
        bodies.put(tx, output, bodies.TEXT)
    if receipt is not None:
        bodies.put(tx, report, bodies.JSON)
        receipts.add(tx, receipt)
    if review is not None:
        reviews.add(tx, review)
    return True


def fail(tx: Transaction, *, job_id: str, fence: int | None, error: Mapping[str, Any]) -> bool:
    """End a job with its final error; `fence` None for one that is queued or scheduled."""
    move = _FAIL_WAITING if fence is None else _FAIL_RUNNING
    held = {} if fence is None else {"the_fence": fence}
    reason = _code(error)
    return move.moves(tx, reason=reason, the_job=job_id, the_error=error, **held)


def retry(
    tx: Transaction, *, job_id: str, fence: int, error: Mapping[str, Any], wait: float
) -> str:
    """Give a job another try in `wait` seconds after a transient error.

    Gives `scheduled`; `failed` when it has had its five retries; `cancelled` when it was called off
    in the meantime; `fenced` when it is not held any more.
    """
    held = {"the_job": job_id, "the_fence": fence}
    reason = _code(error)
    moved = _RETRY.one(tx, reason=reason, due=tx.now + wait, the_error=error, **held)
    if moved is None and finish_cancel(tx, job_id=job_id, fence=fence, only_if_requested=True):
        return str(State.CANCELLED)
    if moved is None:
        moved = _FAIL_RUNNING.one(tx, reason=reason, the_error=error, **held)
    return "fenced" if moved is None else str(moved.state)


def cancel(tx: Transaction, *, job_id: str, reason: str) -> Job | None:
    """Call a job off: a waiting one at once, a running one as soon as its worker looks.

    Gives the row as it is now, also of a job that has ended already; None for an unknown one.
    """
    reason = cleaned(reason)
    asked = {"the_job": job_id, "the_reason": reason}
    # Twice, because on PostgreSQL another writer may move the row between the two looks at it.
    for _ in range(2):
        if (moved := _CANCEL_WAITING.one(tx, reason=reason, **asked)) is not None:
            return moved
        row = tx.row(_REQUEST_CANCEL, {**asked, "now": tx.now})
        if row is not None:
            return job_of(row)
    return views.get(tx, job_id)


def finish_cancel(
    tx: Transaction, *, job_id: str, fence: int, only_if_requested: bool = False
) -> bool:
    """End a running job as cancelled."""
    move = _CANCEL_REQUESTED if only_if_requested else _CANCEL_RUNNING
    return move.moves(tx, reason="cancelled", the_job=job_id, the_fence=fence)


def expire(tx: Transaction, *, job_id: str, fence: int) -> bool:
    """End a running job whose deadline has passed."""
    return _EXPIRE_RUNNING.moves(tx, reason="deadline", the_job=job_id, the_fence=fence)


def expire_waiting(tx: Transaction, job_id: str) -> Job | None:
    """End one queued or scheduled job if its deadline has passed."""
    return _EXPIRE_WAITING.one(tx, reason="deadline", the_job=job_id)


def _code(error: Mapping[str, Any]) -> str:
    return cleaned(str(error.get("code", "")))
