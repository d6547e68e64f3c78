"""Finished samples of a job, kept as they come, so that none is ever drawn twice.

Of each index the first is kept; one that was drawn by another model, engine or prompt counts for
nothing any more and gives way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ledger import bodies, tables
from ledger.states import State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.values import SampleRow, cleaned

_table = tables.samples
_COLUMNS = [column.name for column in _table.columns if column.name != "created_at"]

# The lock, which SQLite does not need, keeps a sample of an older fence from slipping in behind the
# back of a claim that has already read what is kept.
_HELD = (
    sa.select(jobs.c.id, jobs.c.fence)
    .where(
        jobs.c.id.in_(sa.bindparam("ids", expanding=True)),
        tables.state_in(State.RUNNING),
    )
    .order_by(jobs.c.id)
    .with_for_update(key_share=True)
)
_DIGESTS = ("model_digest", "engine_digest", "prompt_digest")


def _keeping(insert: tables.Insert) -> Any:
    """The first one stays, unless it was drawn by another model, engine or prompt than the new."""
    new = insert(_table)
    kept = new.on_conflict_do_update(
        index_elements=["job_id", "index"],
        set_={name: new.excluded[name] for name in (*_COLUMNS, "created_at")},
        where=sa.or_(*(_table.c[name].is_distinct_from(new.excluded[name]) for name in _DIGESTS)),
    )
    return kept.returning(_table.c.job_id, _table.c.index)


_INSERT = tables.both(_keeping)
_LED = [column.name for column in _table.columns if column.name not in ("job_id", "fence")]
_ADOPT = tables.both(
    lambda insert: (
        insert(_table)
        .from_select(
            ["job_id", "fence", *_LED],
            sa.select(
                sa.bindparam("the_job", type_=sa.Text),
                sa.bindparam("the_fence", type_=sa.BigInteger),
                *(_table.c[name] for name in _LED),
            )
            .select_from(_table.join(jobs, jobs.c.id == _table.c.job_id))
            .where(_table.c.job_id == sa.bindparam("the_leader"))
            .where(tables.state_in(State.SUCCEEDED)),
        )
        .on_conflict_do_nothing()
    )
)
_OF = (
    sa.select(_table, tables.bodies.c.data)
    .select_from(_table.outerjoin(tables.bodies, tables.bodies.c.digest == _table.c.text_digest))
    .where(_table.c.job_id == sa.bindparam("the_job"))
    .order_by(_table.c.index)
)


def add(tx: Transaction, sample: SampleRow) -> bool:
    """Keep a sample; false if its job is not (running, fence) or has one of that index."""
    return add_many(tx, [sample])[0]


def add_many(tx: Transaction, samples: Sequence[SampleRow]) -> list[bool]:
    """Keep samples of any number of jobs; for each, in order, what `add` would say."""
    if not samples:
        return []
    ids = sorted({sample.job_id for sample in samples})
    held = {(row["id"], row["fence"]) for row in tx.rows(_HELD, {"ids": ids})}
    wanted: dict[tuple[str, int], SampleRow] = {}
    for sample in samples:
        if (sample.job_id, sample.fence) in held:
            wanted.setdefault((sample.job_id, sample.index), sample)
    if not wanted:
        return [False] * len(samples)
    rows = [_row(tx, wanted[key]) for key in sorted(wanted)]
    kept = {(row["job_id"], row["index"]) for row in tx.rows(_INSERT, rows)}
    return [
        (sample.job_id, sample.index) in kept
        and wanted.get((sample.job_id, sample.index)) is sample
        for sample in samples
    ]


def adopt(tx: Transaction, job_id: str, leader_id: str, *, fence: int) -> None:
    """Keep for a job that was just claimed the samples of the one it follows, if that succeeded.

    They stay as they were drawn, with the leader's seeds and times.
    """
    tx.execute(_ADOPT, {"the_job": job_id, "the_fence": fence, "the_leader": leader_id})


def of(tx: Transaction, job_id: str) -> list[SampleRow]:
    """The samples kept for a job, by index; one whose text is no longer stored is left out."""
    rows = tx.rows(_OF, {"the_job": job_id})
    texts = [_text(tx, row.pop("data"), row["text_digest"]) for row in rows]
    return [
        SampleRow(text=text, **row)
        for text, row in zip(texts, rows, strict=True)
        if text is not None
    ]


def _text(tx: Transaction, stored: bytes | None, digest: str) -> str | None:
    """A sample's text; None when its bytes are not stored, or not as they were."""
    data = tx.pending_body(digest) if stored is None else stored
    if data is None or bodies.digest_of(data) != digest:
        return None
    return data.decode("utf-8", "surrogatepass")


def _row(tx: Transaction, sample: SampleRow) -> dict[str, object]:
    data = sample.text.encode("utf-8", "surrogatepass")
    row: dict[str, object] = {
        name: getattr(sample, name) for name in _COLUMNS if name != "text_digest"
    }
    row["finish_reason"] = sample.finish_reason and cleaned(sample.finish_reason)
    row["text_digest"] = bodies.put(tx, data, bodies.TEXT)
    row["created_at"] = tx.now
    return row
