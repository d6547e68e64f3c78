"""Reading jobs. Part of `ledger.jobs`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from ledger import bodies, changes
from ledger.errors import BodyMissing, InvalidValue
from ledger.states import State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.transitions import job_of
from ledger.values import Change, Job, storable

_GET = sa.select(jobs).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_ENDED = _GET.where(jobs.c.finished_at.is_not(None))
_DIGESTS = sa.select(jobs.c.request_digest, jobs.c.result_digest).where(
    jobs.c.id == sa.bindparam("the_job")
)
_COUNTS = sa.select(jobs.c.model, jobs.c.state, sa.func.count().label("jobs")).group_by(
    jobs.c.model, jobs.c.state
)


def get(tx: Transaction, job_id: str) -> Job | None:
    """One job's row."""
    return next(iter(get_many(tx, [job_id])), None)


def get_many(tx: Transaction, ids: Sequence[str]) -> list[Job]:
    """The rows of those ids that are there, in the order of the ids."""
    return _in_order(tx, _GET, ids)


def ended(tx: Transaction, ids: Sequence[str]) -> list[Job]:
    """The rows of those ids that have ended, in the order of the ids."""
    return _in_order(tx, _ENDED, ids)


def list_jobs(
    tx: Transaction,
    *,
    states: Collection[str] | None = None,
    model: str | None = None,
    limit: int = 50,
    before: str | None = None,
) -> list[Job]:
    """Jobs, the newest first; `before` is the id of the last job of the page before.

    Raises:
        InvalidValue: one of `states` is none.
    """
    query = sa.select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
    if states is not None:
        query = query.where(jobs.c.state.in_([_state(name) for name in states]))
    if model is not None:
        query = query.where(jobs.c.model == model)
    if before is not None:
        last = jobs.alias("last")
        place = sa.select(last.c.created_at, last.c.id).where(last.c.id == before)
        query = query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < place.scalar_subquery())
    return [job_of(row) for row in tx.rows(query)]


def history(tx: Transaction, job_id: str) -> list[Change]:
    """Every move of a job, in order."""
    return changes.of_job(tx, job_id)


def request(tx: Transaction, job_id: str) -> bytes:
    """The bytes of a job's request, exactly as they were entered.

    Raises:
        BodyMissing: there is no such job, or its request is no longer stored.
        BodyMismatch: what is stored is not what was entered.
    """
    row = tx.row(_DIGESTS, {"the_job": job_id}) if storable(job_id) else None
    data = None if row is None else bodies.get(tx, row["request_digest"])
    if data is None:
        raise BodyMissing(
            f"The request of job {job_id} is not stored.",
            suggested_action="Check the id; a purge deletes a job's request and answer.",
            details={"job_id": job_id},
        )
    return data


def result(tx: Transaction, job_id: str) -> bytes | None:
    """The bytes of a job's result; None when it has none or they are no longer stored.

    Raises:
        BodyMismatch: what is stored is not what was committed.
    """
    row = tx.row(_DIGESTS, {"the_job": job_id}) if storable(job_id) else None
    if row is None or row["result_digest"] is None:
        return None
    return bodies.get(tx, row["result_digest"])


def counts(tx: Transaction) -> dict[tuple[str, State], int]:
    """How many jobs of each model are in each state."""
    return {(row["model"], row["state"]): row["jobs"] for row in tx.rows(_COUNTS)}


def _in_order(tx: Transaction, query: sa.Select[Any], ids: Sequence[str]) -> list[Job]:
    rows = tx.rows(query, {"ids": [job_id for job_id in ids if storable(job_id)]})
    found = {row["id"]: job_of(row) for row in rows}
    return [found[job_id] for job_id in ids if job_id in found]


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError as error:
        raise InvalidValue(
            f"{name!r} is no state of a job.",
            suggested_action=f"Use one of {', '.join(State)}.",
        ) from error
