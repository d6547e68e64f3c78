"""The batches of logs: leaves get their places, then what was signed of them is stored.

A batch comes about in two transactions. `assign` gives its leaves their indexes, as inserts under a
compare-and-set on the log's size; `seal` stores what was signed of it. What lies between the two is
finished by whoever looks next. Nothing here hashes or signs: `proofs` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ledger import receipts, tables, trees
from ledger.log_tables import batches, log_entries, log_leaves, logs
from ledger.log_values import BatchRow, Leaf, LogState
from ledger.transaction import Transaction
from ledger.trees import NodeId

_THE_LOG: sa.BindParameter[int] = sa.bindparam("the_log", type_=sa.BigInteger)
_GROW = (
    sa.update(logs)
    .where(
        logs.c.number == _THE_LOG,
        logs.c.size == sa.bindparam("from_size", type_=sa.BigInteger),
        logs.c.state == LogState.OPEN.value,
    )
    .values(
        size=logs.c.size + sa.bindparam("by", type_=sa.BigInteger),
        batches=logs.c.batches + 1,
    )
    .returning(logs.c.batches)
)
_ADVANCE = (
    sa.update(logs)
    .where(
        logs.c.number == _THE_LOG,
        logs.c.sealed_size == sa.bindparam("from_size", type_=sa.BigInteger),
        logs.c.state == LogState.OPEN.value,
    )
    .values(
        sealed_size=sa.bindparam("to_size", type_=sa.BigInteger),
        sealed_root=sa.bindparam("the_root", type_=sa.LargeBinary),
        key=sa.bindparam("the_key", type_=sa.Text),
    )
    .returning(logs.c.number)
)
_ADD_LEAVES = tables.both(lambda insert: insert(log_leaves))
_ADD_BATCH = sa.insert(batches)
_PLACE_ENTRY = (
    sa.update(log_entries)
    .where(log_entries.c.digest == sa.bindparam("the_entry"), log_entries.c.leaf_index.is_(None))
    .values(leaf_index=sa.bindparam("the_leaf", type_=sa.BigInteger))
)
_FINISH = (
    sa.update(batches)
    .where(
        batches.c.log == _THE_LOG,
        batches.c.number == sa.bindparam("the_number", type_=sa.BigInteger),
        batches.c.manifest.is_(None),
    )
    .values(
        manifest=sa.bindparam("the_manifest", type_=sa.LargeBinary),
        signature=sa.bindparam("the_signature", type_=sa.LargeBinary),
        checkpoint=sa.bindparam("the_checkpoint", type_=sa.LargeBinary),
    )
)
_BATCHES = sa.select(batches).where(batches.c.log == _THE_LOG)
_SEALED = _BATCHES.where(batches.c.manifest.is_not(None))
_GET = _BATCHES.where(batches.c.number == sa.bindparam("the_number", type_=sa.BigInteger))
_NEWEST = _SEALED.order_by(batches.c.number.desc()).limit(1)
_OF_LEAF = (
    _SEALED.where(batches.c.first_index <= sa.bindparam("the_index", type_=sa.BigInteger))
    .order_by(batches.c.first_index.desc())
    .limit(1)
)
_RANGE = (
    _SEALED.where(batches.c.number > sa.bindparam("after", type_=sa.BigInteger))
    .order_by(batches.c.number)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_UNPUBLISHED = _SEALED.where(batches.c.published_at.is_(None)).order_by(batches.c.number)
_PUBLISHED = (
    sa.update(batches)
    .where(
        batches.c.log == _THE_LOG,
        batches.c.number == sa.bindparam("the_number", type_=sa.BigInteger),
    )
    .values(published_at=sa.bindparam("now", type_=sa.Double))
)


def assign(
    tx: Transaction,
    *,
    log: int,
    size: int,
    leaves: Sequence[Leaf],
    nodes: Mapping[NodeId, bytes],
    sealed_at: float,
) -> int | None:
    """Give leaves their places as the log's next batch; tells its number, from 0.

    `size` is the log's size as the caller knows it, `nodes` what the tree gains above its leaves.
    None, and nothing written, where the log has another size by now or may not grow.
    """
    grown = {"the_log": log, "from_size": size, "by": len(leaves)}
    begun: int | None = tx.execute(_GROW, grown).scalar_one_or_none()
    if begun is None:
        return None
    number = begun - 1
    rows: list[dict[str, Any]] = [
        {"log": log, "index": size + place, **asdict(leaf)} for place, leaf in enumerate(leaves)
    ]
    tx.execute(_ADD_LEAVES, rows)
    trees.add_nodes(tx, log, nodes)
    tx.execute(
        _ADD_BATCH,
        {
            "log": log,
            "number": number,
            "first_index": size,
            "count": len(leaves),
            "sealed_at": sealed_at,
        },
    )
    receipts.place(tx, {row["job_id"]: row["index"] for row in rows if row["job_id"] is not None})
    placed = [
        {"the_entry": row["entry"], "the_leaf": row["index"]}
        for row in rows
        if row["entry"] is not None
    ]
    if placed:
        tx.execute(_PLACE_ENTRY, placed)
    return number


def seal(
    tx: Transaction,
    *,
    batch: BatchRow,
    manifest: bytes,
    signature: bytes,
    checkpoint: bytes,
    root: bytes,
    key: str,
) -> bool:
    """Store what was signed of a batch; false where somebody has sealed it, or it may not be."""
    size = {
        "the_log": batch.log,
        "from_size": batch.first_index,
        "to_size": batch.tree_size,
        "the_root": root,
        "the_key": key,
    }
    if tx.execute(_ADVANCE, size).first() is None:
        return False
    tx.execute(
        _FINISH,
        {
            "the_log": batch.log,
            "the_number": batch.number,
            "the_manifest": manifest,
            "the_signature": signature,
            "the_checkpoint": checkpoint,
        },
    )
    return True


def get(tx: Transaction, log: int, number: int) -> BatchRow | None:
    """One batch; the last that was begun has the number `LogRow.batches` less one."""
    row = tx.row(_GET, {"the_log": log, "the_number": number})
    return None if row is None else BatchRow(**row)


def newest(tx: Transaction, log: int) -> BatchRow | None:
    """The last sealed batch."""
    row = tx.row(_NEWEST, {"the_log": log})
    return None if row is None else BatchRow(**row)


def of_leaf(tx: Transaction, log: int, index: int) -> BatchRow | None:
    """The sealed batch that a leaf belongs to; None where it is not sealed."""
    row = tx.row(_OF_LEAF, {"the_log": log, "the_index": index})
    found = None if row is None else BatchRow(**row)
    return found if found is not None and index < found.tree_size else None


def sealed(tx: Transaction, log: int, *, after: int = -1, limit: int = 100) -> list[BatchRow]:
    """The sealed batches after number `after`, oldest first."""
    asked = {"the_log": log, "after": after, "at_most": limit}
    return [BatchRow(**row) for row in tx.rows(_RANGE, asked)]


def unpublished(tx: Transaction, log: int) -> list[BatchRow]:
    """The sealed batches whose files nobody has written yet, oldest first."""
    return [BatchRow(**row) for row in tx.rows(_UNPUBLISHED, {"the_log": log})]


def mark_published(tx: Transaction, log: int, number: int) -> None:
    """Write down that a batch's files are written."""
    tx.execute(_PUBLISHED, {"the_log": log, "the_number": number, "now": tx.now})
