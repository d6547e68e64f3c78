"""Chords: when all parts of a group have ended, exactly one caller sets off the body.

A part is anybody's task, ours or not; it is known by its task's id.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from ledger import sessions, tables
from ledger.tables import chord_parts, chords, jobs
from ledger.transaction import Transaction
from ledger.values import ChordPart, ChordState

STALE_S = 60.0
"""After how many seconds somebody else may set off a body that was taken and never done.

At once, where the taker named its session and that is over.
"""

_HAS_JOBS = sa.select(jobs.c.id).where(jobs.c.group_id == sa.bindparam("the_group")).limit(1)
_THE_CHORD = chords.c.group_id == sa.bindparam("the_group")
_ITS_PARTS = chord_parts.c.group_id == sa.bindparam("the_group")
_PARTS = (
    sa.select(*(column for column in chord_parts.c if column.name != "group_id"))
    .where(_ITS_PARTS)
    .order_by(chord_parts.c.index.is_(None), chord_parts.c.index, chord_parts.c.id)
)
_ENDED = sa.select(sa.func.count()).select_from(chord_parts).where(_ITS_PARTS)
_GET = sa.select(chords.c.size, chords.c.done_at, chords.c.claimed_by).where(_THE_CHORD)


def _expecting(insert: tables.Insert) -> Any:
    told = insert(chords)
    return told.on_conflict_do_update(
        index_elements=["group_id"], set_={"size": told.excluded.size}
    )


def _locking(insert: tables.Insert) -> Any:
    mine = insert(chords)
    held = mine.on_conflict_do_update(
        index_elements=["group_id"], set_={"group_id": mine.excluded.group_id}
    )
    return held.returning(chords.c.done_at)


def _taking(insert: tables.Insert) -> Any:
    wanted = insert(chords)
    free = (
        chords.c.claimed_at.is_(None)
        | (chords.c.claimed_at <= sa.bindparam("stale", type_=sa.Double))
        # A session that is over never comes back, so this holds until the chord is taken again.
        | (chords.c.claimed_by == sa.bindparam("the_dead", type_=sa.Text))
    )
    taken = wanted.on_conflict_do_update(
        index_elements=["group_id"],
        set_={name: wanted.excluded[name] for name in ("claimed_at", "claimed_by")},
        where=chords.c.done_at.is_(None) & free,
    )
    return taken.returning(chords.c.group_id)


_EXPECT = tables.both(_expecting)
_LOCK = tables.both(_locking)
_TAKE = tables.both(_taking)
_ADD = tables.both(lambda insert: insert(chord_parts).on_conflict_do_nothing())
_GIVE_BACK = (
    sa.update(chords)
    .where(_THE_CHORD, chords.c.done_at.is_(None))
    .values(claimed_at=None, claimed_by=None)
)
_FINISH = (
    sa.update(chords)
    .where(_THE_CHORD, chords.c.done_at.is_(None))
    .values(done_at=sa.bindparam("now", type_=sa.Double))
)
_FORGET = sa.delete(chord_parts).where(_ITS_PARTS)


def expect(tx: Transaction, group_id: str, size: int) -> None:
    """Write down how many parts a chord has, for whoever asks to take it without knowing."""
    tx.execute(_EXPECT, {"group_id": group_id, "size": size})


def size(tx: Transaction, group_id: str) -> int | None:
    """How many parts a chord has, if that was written down."""
    chord = tx.row(_GET, {"the_group": group_id})
    return None if chord is None else chord["size"]


def has_jobs(tx: Transaction, group_id: str) -> bool:
    """Whether the ledger has jobs of this group."""
    return tx.row(_HAS_JOBS, {"the_group": group_id}) is not None


def add(tx: Transaction, group_id: str, part: ChordPart) -> None:
    """Write down how a part ended; the first word counts, and none after the chord is done.

    Parts of one chord wait for one another here, so that the last one to `take` sees them all.
    """
    held = tx.row(_LOCK, {"group_id": group_id})
    if held is None or held["done_at"] is None:
        tx.execute(_ADD, {"group_id": group_id, **dataclasses.asdict(part)})


def take(
    tx: Transaction,
    group_id: str,
    size: int | None = None,
    stale_after: float = STALE_S,
    *,
    session: str | None = None,
) -> ChordState:
    """Ask to set off the body of a chord of `size` parts, or of as many as it was told to expect.

    To be asked in the transaction that added a part, or a later one. Whoever names its session lets
    others take the chord as soon as that is over.
    """
    chord = tx.row(_GET, {"the_group": group_id})
    if chord is not None and chord["done_at"] is not None:
        return ChordState.DONE
    if size is None:
        size = None if chord is None else chord["size"]
    if size is None or tx.execute(_ENDED, {"the_group": group_id}).scalar_one() < size:
        return ChordState.WAITING
    wanted = {
        "group_id": group_id,
        "claimed_at": tx.now,
        "claimed_by": session,
        "stale": tx.now - stale_after,
        "the_dead": None if chord is None else _dead(tx, chord["claimed_by"]),
    }
    if tx.execute(_TAKE, wanted).first() is not None:
        return ChordState.MINE
    chord = tx.row(_GET, {"the_group": group_id})
    return ChordState.DONE if chord is not None and chord["done_at"] else ChordState.TAKEN


def give_back(tx: Transaction, group_id: str) -> None:
    """Let somebody else take a chord whose body could not be set off."""
    tx.execute(_GIVE_BACK, {"the_group": group_id})


def done(tx: Transaction, group_id: str) -> None:
    """Write down that the body has been set off, for ever, and forget the parts."""
    tx.execute(_FINISH, {"the_group": group_id, "now": tx.now})
    tx.execute(_FORGET, {"the_group": group_id})


def parts(tx: Transaction, group_id: str) -> list[ChordPart]:
    """The parts that have ended, in the order of the header."""
    return [ChordPart(**row) for row in tx.rows(_PARTS, {"the_group": group_id})]


def _dead(tx: Transaction, session_id: str | None) -> str | None:
    """The taker's session, if it is over."""
    return session_id if session_id is not None and sessions.is_over(tx, session_id) else None
