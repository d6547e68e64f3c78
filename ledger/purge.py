"""Erasing what a job said, and keeping that it was: its texts go, its row and its receipt stay.

1. The job has ended, everybody who waits for it has been told, no chord waits for its answer, and
   no job for its samples; unless `force` says that whoever waits shall wait in vain.
2. Its samples are deleted, and of its bodies those that nothing else uses: request, result, answer,
   report (the salt stands in it), sample texts, what people corrected it to, and what of its report
   waits to be published.
3. Its canvas and the texts of its errors are erased, the classes of its review, and what it left
   for a chord.
4. Digests by which a short text could be guessed give way to those of the receipt, which are salted
   where the request was sensitive. A job without a receipt has a random one for its request.

A second purge of a job does nothing. What the file system, a write-ahead log or a backup still
holds of deleted rows is not reached from here; on SQLite freed pages are overwritten with zeros.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ledger.errors import JobInUse
from ledger.log_tables import log_entries, uploads
from ledger.states import State
from ledger.tables import bodies, chord_parts, jobs, reviews, samples
from ledger.transaction import Transaction
from ledger.transitions import THE_JOB, job_of
from ledger.values import Job, storable

ERASED = "Its text was erased."

_JOB: sa.BindParameter[str] = sa.bindparam("the_job", type_=sa.Text)
_WANTED: sa.BindParameter[list[str]] = sa.bindparam("wanted", expanding=True)
_CIDS: sa.BindParameter[list[str]] = sa.bindparam("cids", expanding=True)
_DIGESTS = ("request_digest", "result_digest", "output_digest", "report_digest")

_GET = sa.select(jobs).where(THE_JOB).with_for_update()
_WAITED_FOR = sa.select(chord_parts.c.group_id).where(chord_parts.c.id == _JOB).limit(1)
_FOLLOWED = (
    sa.select(jobs.c.id)
    .where(jobs.c.follows == _JOB, jobs.c.finished_at.is_(None), jobs.c.fence == 0)
    .limit(1)
)
_TEXTS = sa.select(samples.c.text_digest).where(samples.c.job_id == _JOB)
_CORRECTIONS = sa.select(log_entries.c.body_digest).where(
    log_entries.c.job_id == _JOB, log_entries.c.body_digest.is_not(None)
)
_PUBLISHED = sa.select(uploads.c.body_digest, uploads.c.state, uploads.c.tries).where(
    uploads.c.cid.in_(_CIDS)
)
_USED = sa.union(
    *(
        # A purged job keeps the digests of its receipt, which may be those of texts.
        sa.select(jobs.c[name]).where(
            jobs.c[name].in_(_WANTED), jobs.c.id != _JOB, jobs.c.purged_at.is_(None)
        )
        for name in _DIGESTS
    ),
    sa.select(samples.c.text_digest).where(
        samples.c.text_digest.in_(_WANTED), samples.c.job_id != _JOB
    ),
    sa.select(uploads.c.body_digest).where(
        uploads.c.body_digest.in_(_WANTED), uploads.c.cid.not_in(_CIDS)
    ),
    sa.select(log_entries.c.body_digest).where(
        log_entries.c.body_digest.in_(_WANTED), log_entries.c.job_id != _JOB
    ),
)
_DELETE_SAMPLES = sa.delete(samples).where(samples.c.job_id == _JOB)
_DELETE_BODIES = sa.delete(bodies).where(bodies.c.digest.in_(_WANTED))
_DELETE_UPLOADS = sa.delete(uploads).where(uploads.c.cid.in_(_CIDS), uploads.c.state != "done")
_CLEAR_CORRECTIONS = (
    sa.update(log_entries).where(log_entries.c.job_id == _JOB).values(body_digest=None)
)
_CLEAR_REVIEW = sa.update(reviews).where(reviews.c.job_id == _JOB).values(classes=[])
_CLEAR_PART = sa.update(chord_parts).where(chord_parts.c.id == _JOB).values(result=None)
_CLEAR = (
    sa.update(jobs)
    .where(THE_JOB)
    .values(
        canvas=sa.null(),
        error=sa.bindparam("the_error", type_=jobs.c.error.type),
        delivery_error=sa.null(),
        request_digest=sa.bindparam("the_request", type_=sa.Text),
        output_digest=sa.bindparam("the_output", type_=sa.Text),
        result_digest=sa.null(),
        report_digest=sa.null(),
        delivered_at=sa.func.coalesce(jobs.c.delivered_at, sa.bindparam("now", type_=sa.Double)),
        purged_at=sa.bindparam("now", type_=sa.Double),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What became of a job's texts.

    `erased` bodies were deleted and `shared` were kept, because other jobs use them. `published` is
    whether the report has left the machine, `perhaps` whether it may have: an upload was under way,
    or had failed, which a node that has the report may have made it do. `before` is when an earlier
    purge did all that.
    """

    job_id: str
    erased: int = 0
    shared: int = 0
    published: bool = False
    perhaps: bool = False
    before: float | None = None


def purge(
    tx: Transaction,
    job_id: str,
    *,
    input_hash: str | None,
    output_hash: str | None,
    cids: Sequence[str] = (),
    uploading: bool = False,
    force: bool = False,
) -> Purged | None:
    """Erase an ended job's texts; None for an unknown job.

    `input_hash` and `output_hash` are its receipt's, None where it has none, `cids` name what of it
    may have been published. `uploading` is whether somebody may be uploading what waits for that.

    Raises:
        JobInUse: it has not ended, or somebody still waits for its answer.
    """
    if not storable(job_id):
        return None
    tx.flush()
    _keep_others_out(tx)
    row = tx.row(_GET, {"the_job": job_id})
    if row is None:
        return None
    job = job_of(row)
    if job.purged_at is not None:
        return Purged(job_id=job_id, before=job.purged_at)
    _refuse_in_use(tx, job, force=force)
    wanted = {digest for name in _DIGESTS if (digest := getattr(job, name)) is not None}
    wanted |= {sample["text_digest"] for sample in tx.rows(_TEXTS, {"the_job": job_id})}
    wanted |= {entry["body_digest"] for entry in tx.rows(_CORRECTIONS, {"the_job": job_id})}
    uploaded = tx.rows(_PUBLISHED, {"cids": list(cids)})
    left = [upload for upload in uploaded if upload["state"] != "done"]
    wanted |= {upload["body_digest"] for upload in uploaded}
    asked = {"the_job": job_id, "wanted": sorted(wanted), "cids": list(cids)}
    used = set(tx.execute(_USED, asked).scalars())
    for statement, parameters in (
        (_DELETE_SAMPLES, {"the_job": job_id}),
        (_DELETE_UPLOADS, {"cids": list(cids)}),
        (_DELETE_BODIES, {"wanted": sorted(wanted - used)}),
        (_CLEAR_CORRECTIONS, {"the_job": job_id}),
        (_CLEAR_REVIEW, {"the_job": job_id}),
        (_CLEAR_PART, {"the_job": job_id}),
        (
            _CLEAR,
            {
                "the_job": job_id,
                "the_request": input_hash or f"sha256:{secrets.token_hex(32)}",
                "the_output": output_hash,
                "the_error": _without_texts(job.error),
                "now": tx.now,
            },
        ),
    ):
        tx.execute(statement, parameters)
    return Purged(
        job_id=job_id,
        erased=len(wanted - used),
        shared=len(used),
        published=len(left) < len(uploaded),
        perhaps=any(
            upload["tries"] > 0 or (uploading and upload["state"] == "pending") for upload in left
        ),
    )


def _keep_others_out(tx: Transaction) -> None:
    """Let nobody begin to use a body while it is looked up who does; zero what is freed."""
    if tx.dialect == "sqlite":
        # One writer at a time there anyway.
        tx.execute(sa.text("PRAGMA secure_delete = ON"))
    else:
        tx.execute(sa.text("LOCK TABLE bodies IN SHARE ROW EXCLUSIVE MODE"))


def _refuse_in_use(tx: Transaction, job: Job, *, force: bool) -> None:
    if not job.ended:
        raise JobInUse(
            f"Job {job.id} is {job.state}; only a job that has ended can be purged.",
            suggested_action="Cancel it first, or wait for its end.",
            details={"job_id": job.id},
        )
    if force:
        return
    waiting = None
    if job.delivered_at is None:
        waiting = "its end has not been delivered yet"
    elif tx.row(_WAITED_FOR, {"the_job": job.id}) is not None:
        waiting = "a chord waits for its other parts, and then for its answer"
    elif (row := _followed(tx, job)) is not None:
        waiting = f"job {row['id']} shares its execution, and has not taken over its samples yet"
    if waiting is not None:
        raise JobInUse(
            f"Job {job.id} has ended, but {waiting}.",
            suggested_action="Try again later, or use --force: whoever waits then waits in vain.",
            details={"job_id": job.id},
        )


def _followed(tx: Transaction, job: Job) -> Mapping[str, Any] | None:
    """A job that is about to take over this one's samples."""
    if not job.dedupe or job.state != State.SUCCEEDED:
        return None
    return tx.row(_FOLLOWED, {"the_job": job.id})


def _without_texts(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    told = {"code": error.get("code"), "retriable": bool(error.get("retriable", False))}
    return {**told, "message": ERASED, "suggested_action": "", "details": {}}
