"""How a job enters the ledger: submitted, or refused at the door. Part of `ledger.jobs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from ledger import bodies, changes, followers, states, tables
from ledger.errors import IdempotencyConflict, JobConflict
from ledger.states import State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.transitions import job_of
from ledger.values import Job, NewJob

_INSERT = tables.both(lambda insert: insert(jobs).on_conflict_do_nothing().returning(jobs))
_EXISTING = sa.select(jobs).where(
    jobs.c.id.in_(sa.bindparam("ids", expanding=True))
    | jobs.c.idempotency_key.in_(sa.bindparam("keys", expanding=True))
)


def submit(tx: Transaction, new: Sequence[NewJob]) -> list[Job]:
    """Enter jobs, in the order given: queued when they are due, else scheduled.

    A job that is there already, by its id or by its idempotency key, is given as it is, with
    `created` false, if its request is the same. A due job with `dedupe` is scheduled to follow one
    like it that is under way, where there is one (see `ledger.followers`).

    Raises:
        JobConflict: the id is taken by another request.
        IdempotencyConflict: the idempotency key is taken by another request.
    """
    rows = []
    for job in new:
        not_before = _moment(tx, job.not_before, job.delay_s)
        due = not_before is None or not_before <= tx.now
        rows.append(_row(tx, job, State.QUEUED if due else State.SCHEDULED))
    if any(job.dedupe for job in new):
        _share(tx, new, rows)
    return _enter(tx, new, rows, reason="submitted")


def refuse(tx: Transaction, new: NewJob, error: Mapping[str, Any]) -> Job:
    """Enter a job that has failed already: a request that cannot be run, kept with its error.

    Raises:
        JobConflict, IdempotencyConflict: as in `submit`.
    """
    row = _row(tx, new, State.FAILED) | {"error": error, "finished_at": tx.now}
    return _enter(tx, [new], [row], reason="refused")[0]


def _enter(
    tx: Transaction, new: Sequence[NewJob], rows: list[dict[str, Any]], *, reason: str
) -> list[Job]:
    if not rows:
        return []
    # By id, so that no two submitters wait in a ring.
    entered = tx.rows(_INSERT, sorted(_firsts(rows), key=itemgetter("id")))
    changes.append(tx, entered, reason=reason)
    created = {row["id"]: job_of(row, created=True) for row in entered}
    if len(created) == len(new):
        return [created[job.id] for job in new]
    by_id, by_key = _existing(tx, new)
    return [
        created.pop(job.id)
        if job.id in created
        else _same(job, row["request_digest"], by_id, by_key)
        for job, row in zip(new, rows, strict=True)
    ]


def _share(tx: Transaction, new: Sequence[NewJob], rows: list[dict[str, Any]]) -> None:
    """Let those that will be entered follow others, where they may."""
    by_id, by_key = _existing(tx, new)
    entering = [
        row
        for row in _firsts(rows)
        if row["id"] not in by_id and row["idempotency_key"] not in by_key
    ]
    followed = followers.leaders_of(tx, entering)
    for row in entering:
        if row["id"] in followed:
            waiting = {"not_before": None, "queued_at": None, "follows": followed[row["id"]]}
            row |= {"state": State.SCHEDULED, **waiting}


def _firsts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows with one id or key the first."""
    ids: dict[str, dict[str, Any]] = {}
    keys: set[str] = set()
    for row in rows:
        key = row["idempotency_key"]
        if row["id"] not in ids and key not in keys:
            ids[row["id"]] = row
            keys |= {key} - {None}
    return [*ids.values()]


def _existing(tx: Transaction, new: Sequence[NewJob]) -> tuple[dict[str, Job], dict[str, Job]]:
    ids = [job.id for job in new]
    keys = [job.idempotency_key for job in new if job.idempotency_key is not None]
    found = [job_of(row) for row in tx.rows(_EXISTING, {"ids": ids, "keys": keys})]
    by_key = {job.idempotency_key: job for job in found if job.idempotency_key is not None}
    return {job.id: job for job in found}, by_key


def _same(new: NewJob, digest: str, by_id: Mapping[str, Job], by_key: Mapping[str, Job]) -> Job:
    job = by_id.get(new.id)
    if job is None and new.idempotency_key is not None:
        job = by_key[new.idempotency_key]
        if job.request_digest != digest:
            raise IdempotencyConflict(
                f"The idempotency key {new.idempotency_key!r} belongs to job {job.id}, "
                "which has another request.",
                suggested_action="Use a new idempotency key for a new request.",
                details={"job_id": job.id, "idempotency_key": new.idempotency_key},
            )
        return job
    if job is None or job.request_digest != digest:
        raise JobConflict(
            f"The job id {new.id} is taken by another request.",
            suggested_action="Use a new id for a new request.",
            details={"job_id": new.id},
        )
    return job


def _row(tx: Transaction, new: NewJob, state: State) -> dict[str, Any]:
    states.check(None, state)
    return {
        "id": new.id,
        "state": state,
        "step": 1,
        "fence": 0,
        "tries": 0,
        "crashes": 0,
        "suspect": False,
        "shared_crashes": 0,
        "model": new.model,
        "queue": new.queue,
        "priority": new.priority,
        "policy": new.policy,
        "profile": new.profile,
        "profile_digest": new.profile_digest,
        "origin": new.origin,
        "stream": new.stream,
        "idempotency_key": new.idempotency_key,
        "not_before": _moment(tx, new.not_before, new.delay_s),
        "deadline": _moment(tx, new.deadline, new.expires_s),
        "run_timeout": new.run_timeout,
        "cancel_requested": False,
        "canvas": new.canvas,
        "group_id": new.group_id,
        "group_index": new.group_index,
        "root_id": new.root_id,
        "parent_id": new.parent_id,
        "correlation_id": new.correlation_id,
        "sent_number": 1,
        "created_at": tx.now,
        "queued_at": tx.now if state is State.QUEUED else None,
        "finished_at": None,
        "delivery_tries": 0,
        "error": None,
        "request_digest": bodies.put(tx, new.request, bodies.JSON),
        "review": False,
        "dedupe": new.dedupe,
        "follows": None,
        "traceparent": new.traceparent,
    }


def _moment(tx: Transaction, moment: float | None, seconds: float | None) -> float | None:
    return moment if seconds is None else tx.now + seconds
