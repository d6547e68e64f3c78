"""Moves with what counting needs to know of their jobs, for whoever follows the changes.

A page costs two statements, whatever it holds: each move has its job's facts and the time of the
move before it; those that ended a job have the samples that were drawn for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ledger import sequence, tables
from ledger.states import TERMINAL, State
from ledger.tables import changes, jobs, samples, sessions
from ledger.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one sample cost; `first_token_ms` and `cached_tokens` only where they were measured."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    first_token_ms: int | None
    duration_ms: int
    valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move and its job.

    `since` is when the job came to `source`, and `since_seq` the number of that move; on PostgreSQL
    it may be the higher one, for that move's transaction may have begun later. `crashed` is None
    unless this move gave the job back because its session was closed; then it tells whether that
    was a crash. What a job gets only with its end (`confidence`, `k`, `review`) is that of its end,
    whichever move this is. `samples` are there only where this move ended the job, and without
    those that another job drew.
    """

    seq: int
    at: float
    job_id: str
    step: int
    source: State | None
    target: State
    reason: str | None
    since: float | None
    crashed: bool | None
    model: str
    priority: int
    origin: str
    created_at: float
    cancel_asked_at: float | None
    confidence: float | None
    k: int | None
    review: bool
    follows: str | None
    samples: tuple[Drawn, ...] = ()
    since_seq: int | None = None


_OF_A_JOB = (
    *("model", "priority", "origin", "created_at", "cancel_asked_at"),
    *("confidence", "k", "review", "follows"),
)
_OF_A_SAMPLE = (
    *("job_id", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("first_token_ms", "duration_ms", "valid"),
)
_before = changes.alias("before")


def _facts(page: sa.CTE) -> sa.Select[Any]:
    # By the moment and the reason, which the closing wrote: what a job did of itself, as to be
    # handed back, may stand in the same transaction.
    closed = (
        (sessions.c.id == page.c.session)
        & (sessions.c.closed_at == page.c.at)
        & (sessions.c.reason == page.c.reason)
    )
    before = (_before.c.job_id == page.c.job_id) & (_before.c.step == page.c.step - 1)
    return (
        sa.select(
            *(page.c[name] for name in ("seq", "at", "job_id", "step")),
            *(page.c[name] for name in ("source", "target", "reason")),
            _before.c.at.label("since"),
            _before.c.seq.label("since_seq"),
            sessions.c.crashed,
            *(jobs.c[name] for name in _OF_A_JOB),
        )
        .select_from(
            page.join(jobs, jobs.c.id == page.c.job_id)
            .outerjoin(_before, before)
            .outerjoin(sessions, closed)
        )
        .order_by(page.c.seq)
    )


def _samples(page: sa.CTE) -> sa.Select[Any]:
    # A job that follows another one takes over samples that count for that one.
    own = jobs.c.follows.is_(None) | (samples.c.created_at > jobs.c.started_at)
    return (
        sa.select(*(samples.c[name] for name in _OF_A_SAMPLE))
        .select_from(
            page.join(jobs, jobs.c.id == page.c.job_id).join(
                samples, samples.c.job_id == page.c.job_id
            )
        )
        .where(page.c.target.in_(sorted(TERMINAL)), own)
        .order_by(page.c.seq, samples.c.index)
    )


_PAGES = {name: page.cte("page") for name, page in sequence.following(changes, "seq").items()}
_FACTS: tables.Statements = {name: _facts(page) for name, page in _PAGES.items()}
_SAMPLES: tables.Statements = {name: _samples(page) for name, page in _PAGES.items()}


def after(tx: Transaction, seq: int, limit: int = 500) -> list[Move]:
    """The moves after number `seq` (0 for all), oldest first; none is ever added behind them."""
    tx.flush()
    wanted = {"after_seq": seq, "at_most": limit}
    rows = tx.rows(_FACTS, wanted)
    drawn: dict[str, list[Drawn]] = {}
    if any(row["target"] in TERMINAL for row in rows):
        for row in tx.rows(_SAMPLES, wanted):
            drawn.setdefault(row.pop("job_id"), []).append(Drawn(**row))
    return [
        Move(
            **row,
            samples=tuple(drawn.get(row["job_id"], ())) if row["target"] in TERMINAL else (),
        )
        for row in rows
    ]
