"""What a log holds besides receipts, what witnesses say of it, and which keys are revoked."""

from __future__ import annotations

import sqlalchemy as sa

from ledger import bodies, tables
from ledger.log_tables import cosignatures, key_revocations, log_entries, log_leaves, logs
from ledger.log_values import EntryRow, Leaf, LogRow, LogState
from ledger.transaction import Transaction

_THE_LOG: sa.BindParameter[int] = sa.bindparam("the_log", type_=sa.BigInteger)
_ADD = tables.both(lambda insert: insert(log_entries).on_conflict_do_nothing())
_UNLOGGED = (
    sa.select(log_entries)
    .where(log_entries.c.leaf_index.is_(None), log_entries.c.log == _THE_LOG)
    .order_by(log_entries.c.created_at, log_entries.c.digest)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_OF_JOB = (
    sa.select(log_entries)
    .where(log_entries.c.job_id == sa.bindparam("the_job"))
    .order_by(log_entries.c.created_at, log_entries.c.digest)
)
_OF_TYPE = (
    sa.select(log_entries)
    .where(log_entries.c.log == _THE_LOG, log_entries.c.type == sa.bindparam("the_type"))
    .order_by(log_entries.c.created_at, log_entries.c.digest)
)
OF_ONE_LOG = "key-handover"
"""The type of entries that speak of the log that they are queued for, and of no other."""

_MOVE = (
    sa.update(log_entries)
    .where(
        log_entries.c.log == sa.bindparam("old_log"),
        log_entries.c.leaf_index.is_(None),
        log_entries.c.type != OF_ONE_LOG,
    )
    .values(log=sa.bindparam("new_log", type_=sa.BigInteger))
)
_elsewhere, _other_log = log_leaves.alias("elsewhere"), logs.alias("other_log")
_ORPHANS = (
    sa.select(log_leaves.c.type, log_leaves.c.hash, log_leaves.c.entry)
    .where(
        log_leaves.c.log == _THE_LOG,
        log_leaves.c.index >= sa.bindparam("from_index", type_=sa.BigInteger),
        log_leaves.c.entry.is_not(None),
        log_leaves.c.type != OF_ONE_LOG,
        ~sa.exists().where(
            _elsewhere.c.entry == log_leaves.c.entry,
            _elsewhere.c.log != log_leaves.c.log,
            _elsewhere.c.log == _other_log.c.number,
            (_elsewhere.c.index < _other_log.c.sealed_size)
            | (_other_log.c.state == LogState.OPEN.value),
        ),
    )
    .order_by(log_leaves.c.index)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_COSIGN = tables.both(
    lambda insert: insert(cosignatures).on_conflict_do_nothing(
        index_elements=["log", "tree_size", "key_id"]
    )
)
_COSIGNED = (
    sa.select(cosignatures.c.witness, sa.func.max(cosignatures.c.tree_size).label("tree_size"))
    .where(cosignatures.c.log == _THE_LOG)
    .group_by(cosignatures.c.witness)
)
_LINES = (
    sa.select(cosignatures.c.tree_size, cosignatures.c.line)
    .where(
        cosignatures.c.log == _THE_LOG,
        cosignatures.c.tree_size >= sa.bindparam("from_size", type_=sa.BigInteger),
    )
    .order_by(cosignatures.c.tree_size, cosignatures.c.witness)
)
_REVOKE = tables.both(lambda insert: insert(key_revocations).on_conflict_do_nothing())
_REVOCATIONS = sa.select(key_revocations.c.data).order_by(
    key_revocations.c.created_at, key_revocations.c.digest
)


def add(
    tx: Transaction,
    *,
    log: int,
    kind: str,
    data: bytes,
    job_id: str | None = None,
    body_digest: str | None = None,
) -> str:
    """Queue an entry for a log, unless the same bytes are queued or logged; gives its digest."""
    digest = bodies.digest_of(data)
    row = {
        "digest": digest,
        "log": log,
        "type": kind,
        "job_id": job_id,
        "data": data,
        "body_digest": body_digest,
        "created_at": tx.now,
    }
    tx.execute(_ADD, row)
    return digest


def unlogged(tx: Transaction, log: int, limit: int = 100) -> list[EntryRow]:
    """The entries that wait for a place in a log, oldest first."""
    return [EntryRow(**row) for row in tx.rows(_UNLOGGED, {"the_log": log, "at_most": limit})]


def of_job(tx: Transaction, job_id: str) -> list[EntryRow]:
    """The entries about a job's receipt, oldest first."""
    return [EntryRow(**row) for row in tx.rows(_OF_JOB, {"the_job": job_id})]


def of_type(tx: Transaction, log: int, kind: str) -> list[EntryRow]:
    """All entries of one type that a log has, or is to have, oldest first."""
    return [EntryRow(**row) for row in tx.rows(_OF_TYPE, {"the_log": log, "the_type": kind})]


def move(tx: Transaction, *, old_log: int, new_log: int) -> None:
    """Give the entries without a place to another log, but for those of the log's own key."""
    tx.execute(_MOVE, {"old_log": old_log, "new_log": new_log})


def orphans(tx: Transaction, log: LogRow, limit: int) -> list[Leaf]:
    """The entries whose batch was begun and is never sealed, as `receipts.orphans`."""
    asked = {"the_log": log.number, "from_index": log.sealed_size, "at_most": limit}
    return [Leaf(**row) for row in tx.rows(_ORPHANS, asked)]


def add_cosignature(
    tx: Transaction, *, log: int, tree_size: int, witness: str, key_id: str, line: str
) -> None:
    """Keep a witness's signature line over the checkpoint of one size."""
    row = {
        "log": log,
        "tree_size": tree_size,
        "witness": witness,
        "key_id": key_id,
        "line": line,
        "created_at": tx.now,
    }
    tx.execute(_COSIGN, row)


def cosigned(tx: Transaction, log: int) -> dict[str, int]:
    """The largest size of a log that each witness has signed."""
    return {row["witness"]: row["tree_size"] for row in tx.rows(_COSIGNED, {"the_log": log})}


def cosignatures_from(tx: Transaction, log: int, tree_size: int) -> dict[int, list[str]]:
    """The witnesses' lines over checkpoints of a size or larger, by size."""
    lines: dict[int, list[str]] = {}
    for row in tx.rows(_LINES, {"the_log": log, "from_size": tree_size}):
        lines.setdefault(row["tree_size"], []).append(row["line"])
    return lines


def revoke(tx: Transaction, *, key: str, origin: str, data: bytes) -> None:
    """Keep a revocation."""
    row = {
        "digest": bodies.digest_of(data),
        "key": key,
        "origin": origin,
        "data": data,
        "created_at": tx.now,
    }
    tx.execute(_REVOKE, row)


def revocations(tx: Transaction) -> list[bytes]:
    """All revocations, oldest first."""
    return [row["data"] for row in tx.rows(_REVOCATIONS)]
