"""The trees of logs: their leaves and the nodes above them, as they are stored.

A node above the leaves is stored when all leaves under it are there. Nothing here hashes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import sqlalchemy as sa

from ledger import tables
from ledger.log_tables import NODE_SHIFT, log_entries, log_leaves, log_nodes
from ledger.log_values import LeafRow
from ledger.tables import receipts
from ledger.transaction import Transaction

NodeId = tuple[int, int]
"""A node of a tree: its level, 0 for leaves, and its index within the level."""

_MOST_NODES = 500

_THE_LOG: sa.BindParameter[int] = sa.bindparam("the_log", type_=sa.BigInteger)
_ADD_NODES = tables.both(lambda insert: insert(log_nodes))
_LEAVES = (
    sa.select(
        log_leaves,
        sa.func.coalesce(receipts.c.canonical, log_entries.c.data).label("data"),
    )
    .select_from(
        log_leaves.outerjoin(receipts, receipts.c.job_id == log_leaves.c.job_id).outerjoin(
            log_entries, log_entries.c.digest == log_leaves.c.entry
        )
    )
    .where(
        log_leaves.c.log == _THE_LOG,
        log_leaves.c.index >= sa.bindparam("first", type_=sa.BigInteger),
        log_leaves.c.index < sa.bindparam("beyond", type_=sa.BigInteger),
    )
    .order_by(log_leaves.c.index)
)
_LEAF_HASHES = sa.select(log_leaves.c.index, log_leaves.c.hash).where(
    log_leaves.c.log == _THE_LOG, log_leaves.c.index.in_(sa.bindparam("wanted", expanding=True))
)
_NODE_HASHES = sa.select(log_nodes.c.node, log_nodes.c.hash).where(
    log_nodes.c.log == _THE_LOG, log_nodes.c.node.in_(sa.bindparam("wanted", expanding=True))
)
_RECEIPT_LEAF = sa.select(log_leaves.c.log, log_leaves.c.index).where(
    log_leaves.c.job_id == sa.bindparam("the_job")
)

_ENTRY_LEAF = sa.select(log_leaves.c.log, log_leaves.c.index).where(
    log_leaves.c.entry == sa.bindparam("the_entry")
)


def add_nodes(tx: Transaction, log: int, nodes: Mapping[NodeId, bytes]) -> None:
    """Store what a tree has gained above its leaves."""
    rows = [
        {"log": log, "node": level << NODE_SHIFT | index, "hash": value}
        for (level, index), value in nodes.items()
    ]
    if rows:
        tx.execute(_ADD_NODES, rows)


def leaves(tx: Transaction, log: int, first: int, beyond: int) -> list[LeafRow]:
    """The leaves from index `first` up to, not including, `beyond`, with their bytes."""
    asked = {"the_log": log, "first": first, "beyond": beyond}
    return [LeafRow(**row) for row in tx.rows(_LEAVES, asked)]


def leaves_of(tx: Transaction, job_id: str) -> list[tuple[int, int]]:
    """The logs, by number, and the indexes in them of a job's receipt.

    There is more than one only where a log was given up before the receipt was under a checkpoint.
    """
    return [(row["log"], row["index"]) for row in tx.rows(_RECEIPT_LEAF, {"the_job": job_id})]


def leaves_of_entry(tx: Transaction, digest: str) -> list[tuple[int, int]]:
    """The logs and the indexes in them of an entry that is no receipt; looks at every leaf."""
    return [(row["log"], row["index"]) for row in tx.rows(_ENTRY_LEAF, {"the_entry": digest})]


def reader(tx: Transaction, log: int) -> Callable[[Iterable[NodeId]], dict[NodeId, bytes]]:
    """What fetches nodes of one log's tree, for whoever asks for nothing else."""
    return functools.partial(nodes, tx, log)


def nodes(tx: Transaction, log: int, wanted: Iterable[NodeId]) -> dict[NodeId, bytes]:
    """The stored hashes of nodes of a log's tree; those that are not stored are left out."""
    leaf_ids: list[int] = []
    inner: list[int] = []
    for level, index in wanted:
        (inner if level else leaf_ids).append(level << NODE_SHIFT | index)
    found: dict[NodeId, bytes] = {}
    for keys, statement, column in (
        (leaf_ids, _LEAF_HASHES, "index"),
        (inner, _NODE_HASHES, "node"),
    ):
        for start in range(0, len(keys), _MOST_NODES):
            asked = {"the_log": log, "wanted": keys[start : start + _MOST_NODES]}
            for row in tx.rows(statement, asked):
                key = row[column]
                found[key >> NODE_SHIFT, key & (1 << NODE_SHIFT) - 1] = row["hash"]
    return found
