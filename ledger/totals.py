"""Totals: what was counted so far, by metric and labels; they outlive the rows they were made from.

Which metrics there are and what raises them is told by whoever counts (`monitoring.counting`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ledger import tables
from ledger.monitoring_tables import totals
from ledger.transaction import Transaction

_READ = sa.select(totals).order_by(totals.c.metric, totals.c.labels)
_WRITE = tables.both(
    lambda insert: (new := insert(totals)).on_conflict_do_update(
        index_elements=["metric", "labels"],
        set_={"value": new.excluded.value, "counts": new.excluded.counts},
    )
)
_DELETE = sa.delete(totals).where(
    totals.c.metric == sa.bindparam("the_metric"), totals.c.labels == sa.bindparam("the_labels")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalRow:
    """One total.

    `labels` are the values of the metric's labels, in its order. `value` is that of a counter or
    gauge, or the sum of a histogram; only a histogram has `counts`, per bucket and not cumulative.
    """

    metric: str
    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()


def read(tx: Transaction) -> list[TotalRow]:
    """All totals, by metric and labels."""
    return [
        TotalRow(
            metric=row["metric"],
            labels=tuple(json.loads(row["labels"])),
            value=row["value"],
            counts=tuple(row["counts"] or ()),
        )
        for row in tx.rows(_READ)
    ]


def write(tx: Transaction, rows: Iterable[TotalRow]) -> None:
    """Put these totals in the place of what stands there for their metrics and labels."""
    written = [
        {
            "metric": row.metric,
            "labels": json.dumps(row.labels),
            "value": row.value,
            "counts": list(row.counts) or None,
        }
        for row in rows
    ]
    if written:
        # In one order everywhere, so that no two writers wait for each other.
        tx.execute(_WRITE, sorted(written, key=lambda row: (row["metric"], row["labels"])))


def delete(tx: Transaction, series: Iterable[tuple[str, tuple[str, ...]]]) -> None:
    """Take out the totals of these metrics and labels, as far as they are there."""
    gone = [{"the_metric": metric, "the_labels": json.dumps(labels)} for metric, labels in series]
    if gone:
        tx.execute(_DELETE, sorted(gone, key=lambda row: (row["the_metric"], row["the_labels"])))
