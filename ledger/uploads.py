"""Uploads: what is to be stored on an IPFS node, in the transaction that writes it.

A row is `pending` until a node has stored its bytes under the very CID that was computed here, then
`done`; `refused` is one that a node keeps naming otherwise, and that a person has to look at.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.log_tables import uploads
from ledger.transaction import Transaction


class UploadState(StrEnum):
    """What became of an upload."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


class UploadKind(StrEnum):
    """What is uploaded: a job's report, or a batch of the log."""

    REPORT = "report"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRow:
    """One upload: the bytes with `body_digest`, under `cid`, which is theirs by `profile`.

    `tries` counts attempts that failed, `error` tells of the last one; `next_at` is when the next
    one is due.
    """

    cid: str
    kind: str
    body_digest: str
    profile: str
    state: str
    tries: int
    next_at: float
    error: Mapping[str, Any] | None
    created_at: float
    done_at: float | None


_CID: sa.BindParameter[str] = sa.bindparam("the_cid", type_=sa.Text)
_AT_MOST: sa.BindParameter[int] = sa.bindparam("at_most", type_=sa.Integer)
_NOW: sa.BindParameter[float] = sa.bindparam("the_time", type_=sa.Double)
# Written out, so that the partial index serves.
_PENDING = uploads.c.state == sa.literal_column("'pending'")
_OPEN = (uploads.c.cid == _CID, _PENDING)
_FAILED = {"tries": uploads.c.tries + 1, "error": sa.bindparam("the_error", type_=sa.JSON)}

_ADD = tables.both(lambda insert: insert(uploads).on_conflict_do_nothing())
_DUE = (
    sa.select(uploads)
    .where(_PENDING, uploads.c.next_at <= _NOW)
    .order_by(uploads.c.next_at, uploads.c.cid)
    .limit(_AT_MOST)
)
_GET = sa.select(uploads).where(uploads.c.cid == _CID)
_LIST = sa.select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.cid).limit(_AT_MOST)
_LIST_IN = _LIST.where(uploads.c.state == sa.bindparam("the_state", type_=sa.Text))
_COUNTS = sa.select(uploads.c.state, sa.func.count().label("many")).group_by(uploads.c.state)
_OLDEST = sa.select(sa.func.min(uploads.c.created_at)).where(_PENDING)
_DONE = (
    sa.update(uploads)
    .where(*_OPEN)
    .values(state=str(UploadState.DONE), error=None, done_at=_NOW)
    .returning(uploads.c.cid)
)
_PUT_OFF = sa.update(uploads).where(*_OPEN).values(next_at=_NOW, **_FAILED).returning(uploads.c.cid)
_REFUSE = (
    sa.update(uploads)
    .where(*_OPEN)
    .values(state=str(UploadState.REFUSED), **_FAILED)
    .returning(uploads.c.cid)
)
_RETRY_ALL = (
    sa.update(uploads)
    .where(uploads.c.state != str(UploadState.DONE))
    .values(state=str(UploadState.PENDING), tries=0, error=None, next_at=_NOW)
)
_RETRY = _RETRY_ALL.where(uploads.c.cid.in_(sa.bindparam("cids", expanding=True)))
_DROP_BODY = (
    sa.delete(uploads)
    .where(
        uploads.c.body_digest == sa.bindparam("the_digest"),
        uploads.c.state != str(UploadState.DONE),
    )
    .returning(uploads.c.cid)
)


def add(tx: Transaction, *, cid: str, kind: UploadKind, body_digest: str, profile: str) -> None:
    """Have bytes uploaded that `bodies` holds; the same CID again changes nothing."""
    row = {
        "cid": cid,
        "kind": str(kind),
        "body_digest": body_digest,
        "profile": profile,
        "state": str(UploadState.PENDING),
        "tries": 0,
        "next_at": tx.now,
        "error": None,
        "created_at": tx.now,
        "done_at": None,
    }
    tx.defer(_ADD, [row])


def due(tx: Transaction, limit: int = 1) -> builtins.list[UploadRow]:
    """Those whose time has come, the longest waiting first."""
    tx.flush()
    return _rows(tx, _DUE, {"the_time": tx.now, "at_most": limit})


def get(tx: Transaction, cid: str) -> UploadRow | None:
    """One upload."""
    tx.flush()
    return next(iter(_rows(tx, _GET, {"the_cid": cid})), None)


def list(  # noqa: A001 - callers read uploads.list
    tx: Transaction, *, state: UploadState | None = None, limit: int = 100
) -> builtins.list[UploadRow]:
    """All of them or those in a state, the newest first."""
    tx.flush()
    if state is None:
        return _rows(tx, _LIST, {"at_most": limit})
    return _rows(tx, _LIST_IN, {"the_state": str(state), "at_most": limit})


def counts(tx: Transaction) -> dict[UploadState, int]:
    """How many there are in each state."""
    tx.flush()
    found = {row["state"]: row["many"] for row in tx.rows(_COUNTS)}
    return {state: found.get(str(state), 0) for state in UploadState}


def oldest_pending(tx: Transaction) -> float | None:
    """Since when the one has been waiting that waits longest."""
    tx.flush()
    found: float | None = tx.execute(_OLDEST).scalar_one()
    return found


def finish(tx: Transaction, cid: str) -> bool:
    """Note that a node has stored it; false if it was not pending."""
    return _changed(tx, _DONE, {"the_cid": cid, "the_time": tx.now})


def put_off(tx: Transaction, cid: str, *, wait_s: float, error: Mapping[str, Any]) -> bool:
    """Count a failed try, and have the next one wait; false if it was not pending."""
    told = {"the_cid": cid, "the_time": tx.now + wait_s, "the_error": dict(error)}
    return _changed(tx, _PUT_OFF, told)


def refuse(tx: Transaction, cid: str, *, error: Mapping[str, Any]) -> bool:
    """Count a failed try, and let it be the last; false if it was not pending."""
    return _changed(tx, _REFUSE, {"the_cid": cid, "the_error": dict(error)})


def retry(tx: Transaction, cids: Sequence[str] | None = None) -> int:
    """Have these, or for None all that are not done, tried again now; gives how many."""
    tx.flush()
    if cids is None:
        return tx.execute(_RETRY_ALL, {"the_time": tx.now}).rowcount
    if not cids:
        return 0
    return tx.execute(_RETRY, {"the_time": tx.now, "cids": [*cids]}).rowcount


def drop_body(tx: Transaction, body_digest: str) -> builtins.list[str]:
    """Forget uploads of bytes that are about to be erased; gives the CIDs of those not done."""
    tx.flush()
    return [row["cid"] for row in tx.rows(_DROP_BODY, {"the_digest": body_digest})]


def _rows(
    tx: Transaction, statement: sa.Executable, parameters: Mapping[str, Any]
) -> builtins.list[UploadRow]:
    return [UploadRow(**row) for row in tx.rows(statement, parameters)]


def _changed(tx: Transaction, statement: sa.Executable, parameters: Mapping[str, Any]) -> bool:
    tx.flush()
    return tx.execute(statement, parameters).first() is not None
