"""Jobs that share an execution: one leads and is run, the others follow it. Part of `ledger.jobs`.

A follower waits, scheduled and without a time of its own, until its leader has ended. Where that
succeeded, the follower is queued and its claim finds the leader's samples; else one follower takes
the lead. Sharing saves work and promises nothing: on PostgreSQL two jobs that are submitted at the
same moment may both lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from ledger.states import TERMINAL, State
from ledger.tables import jobs, state_in
from ledger.transaction import Transaction
from ledger.transitions import NOW, RESENT, Transition, job_of, unlocked
from ledger.values import Job

_AT_MOST: sa.BindParameter[int] = sa.bindparam("at_most", type_=sa.Integer)
_LIKENESS = ("request_digest", "policy", "profile_digest", "queue")

_LEADERS = (
    sa.select(
        *(jobs.c[name] for name in ("id", "state", "previous", "priority", *_LIKENESS)),
    )
    .where(
        # As in the index: SQLite would not know `dedupe = 1` for the same.
        sa.text("jobs.dedupe"),
        jobs.c.follows.is_(None),
        jobs.c.finished_at.is_(None),
        jobs.c.request_digest.in_(sa.bindparam("digests", expanding=True)),
        sa.not_(jobs.c.cancel_requested),
    )
    .order_by(jobs.c.created_at, jobs.c.id)
)

_leader, _older = jobs.alias("leader"), jobs.alias("older")


def _waits(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return (
        state_in(State.SCHEDULED, table=table)
        & table.c.follows.is_not(None)
        & table.c.not_before.is_(None)
    )


def _led_by(*states: State) -> sa.ColumnElement[bool]:
    return (
        sa.select(sa.literal_column("1"))
        .where(_leader.c.id == jobs.c.follows, state_in(*states, table=_leader))
        .exists()
    )


_IN_TIME = jobs.c.deadline.is_(None) | (jobs.c.deadline > NOW)
_ORPHANED = sa.not_(_led_by(*(state for state in State if state not in TERMINAL)))
_IS_OLDEST = sa.not_(
    sa.select(sa.literal_column("1"))
    .where(
        _waits(_older),
        _older.c.follows == jobs.c.follows,
        sa.tuple_(_older.c.created_at, _older.c.id) < sa.tuple_(jobs.c.created_at, jobs.c.id),
    )
    .exists()
)
_RELEASE = Transition(
    sources=(State.SCHEDULED,),
    target=State.QUEUED,
    where=(
        unlocked(
            sa.select(jobs.c.id)
            .where(_waits(jobs), _IN_TIME, _led_by(State.SUCCEEDED))
            .order_by(jobs.c.created_at)
            .limit(_AT_MOST)
        ),
    ),
    values=RESENT,
)
_HEIRS = (
    sa.select(jobs.c.id, jobs.c.follows)
    .where(_waits(jobs), _IN_TIME, _ORPHANED, _IS_OLDEST)
    .order_by(jobs.c.created_at)
    .limit(_AT_MOST)
    .with_for_update(skip_locked=True, key_share=True)
)
_LEAD = Transition(
    sources=(State.SCHEDULED,),
    target=State.QUEUED,
    where=(jobs.c.id.in_(sa.bindparam("ids", expanding=True)), _waits(jobs)),
    values={**RESENT, "follows": sa.null()},
)
_FOLLOW = (
    sa.update(jobs)
    .where(_waits(jobs), jobs.c.follows == sa.bindparam("the_old"))
    .values(follows=sa.bindparam("the_new"))
)


def leaders_of(tx: Transaction, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Whom these new rows follow that may share an execution: the first job like it, by id.

    Only a due one follows, and only what does not keep it waiting longer than a run takes: a job
    that runs or waits for a retry, or is queued and no less urgent.
    """
    sharing = [row for row in rows if row["dedupe"] and row["state"] is State.QUEUED]
    if not sharing:
        return {}
    digests = sorted({row["request_digest"] for row in sharing})
    leaders: list[Mapping[str, Any]] = [
        row for row in tx.rows(_LEADERS, {"digests": digests}) if _is_under_way(row)
    ]
    followed = {}
    for row in sharing:
        leader = next((other for other in leaders if _serves(other, row)), None)
        if leader is None:
            leaders.append(row)
        else:
            followed[row["id"]] = leader["id"]
    return followed


def release_followers(tx: Transaction, limit: int = 500) -> list[Job]:
    """Queue the followers whose leader has ended; gives those now queued, for the caller to send.

    All of a leader that succeeded; of another one the oldest, which leads from then on.
    """
    released = _RELEASE.apply(tx, reason="leader ended", at_most=limit)
    heirs = tx.rows(_HEIRS, {"at_most": limit - len(released), "now": tx.now})
    if heirs:
        ids = [heir["id"] for heir in heirs]
        released += _LEAD.apply(tx, reason="leader ended", ids=ids)
        tx.execute(_FOLLOW, [{"the_old": heir["follows"], "the_new": heir["id"]} for heir in heirs])
    return [job_of(row) for row in released]


def _is_under_way(leader: Mapping[str, Any]) -> bool:
    """Not one that waits for a time somebody gave it."""
    return leader["state"] is not State.SCHEDULED or leader["previous"] is not None


def _serves(leader: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    alike = all(leader[name] == row[name] for name in _LIKENESS)
    waits_too = leader["state"] is State.QUEUED and leader["priority"] > row["priority"]
    return alike and not waits_too
