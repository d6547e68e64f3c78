"""Chords: when all members of a group have ended, exactly one caller sets off the body."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.tables import chords, jobs
from ledger.transaction import Transaction
from ledger.transitions import job_of
from ledger.values import ChordState, Job

STALE_S = 60.0
"""After how many seconds somebody else may set off a body that was taken and never done."""

_THE_GROUP = jobs.c.group_id == sa.bindparam("the_group")
_THE_CHORD = chords.c.group_id == sa.bindparam("the_group")
_MEMBERS = (
    sa.select(jobs).where(_THE_GROUP).order_by(jobs.c.group_index, jobs.c.created_at, jobs.c.id)
)
_ENDED = sa.select(sa.func.count()).where(_THE_GROUP, jobs.c.finished_at.is_not(None))
_GET = sa.select(chords.c.size, chords.c.done_at).where(_THE_CHORD)


def _expecting(insert: tables.Insert) -> Any:
    told = insert(chords)
    return told.on_conflict_do_update(
        index_elements=["group_id"], set_={"size": told.excluded.size}
    )


def _taking(insert: tables.Insert) -> Any:
    wanted = insert(chords)
    untaken = chords.c.claimed_at.is_(None) | (
        chords.c.claimed_at <= sa.bindparam("stale", type_=sa.Double)
    )
    taken = wanted.on_conflict_do_update(
        index_elements=["group_id"],
        set_={"claimed_at": wanted.excluded.claimed_at},
        where=chords.c.done_at.is_(None) & untaken,
    )
    return taken.returning(chords.c.group_id)


_EXPECT = tables.both(_expecting)
_TAKE = tables.both(_taking)
_FINISH = (
    sa.update(chords)
    .where(_THE_CHORD, chords.c.done_at.is_(None))
    .values(done_at=sa.bindparam("now", type_=sa.Double))
)


def expect(tx: Transaction, group_id: str, size: int) -> None:
    """Write down how many members a chord has, for whoever asks to take it without knowing."""
    tx.execute(_EXPECT, {"group_id": group_id, "size": size})


def take(
    tx: Transaction, group_id: str, size: int | None = None, stale_after: float = STALE_S
) -> ChordState:
    """Ask to set off the body of a chord of `size` members, or of as many as it was told to expect.

    To be asked in a transaction after the one that ended a member: two members that end in two
    transactions at once do not see one another from inside them.
    """
    chord = tx.row(_GET, {"the_group": group_id})
    if size is None:
        size = None if chord is None else chord["size"]
    if size is None or tx.execute(_ENDED, {"the_group": group_id}).scalar_one() < size:
        return ChordState.WAITING
    wanted = {"group_id": group_id, "claimed_at": tx.now, "stale": tx.now - stale_after}
    if tx.execute(_TAKE, wanted).first() is not None:
        return ChordState.MINE
    chord = tx.row(_GET, {"the_group": group_id})
    return ChordState.DONE if chord is not None and chord["done_at"] else ChordState.TAKEN


def done(tx: Transaction, group_id: str) -> None:
    """Write down that the body has been set off; for ever."""
    tx.execute(_FINISH, {"the_group": group_id, "now": tx.now})


def members(tx: Transaction, group_id: str) -> list[Job]:
    """The members, in the order of the group."""
    return [job_of(row) for row in tx.rows(_MEMBERS, {"the_group": group_id})]
