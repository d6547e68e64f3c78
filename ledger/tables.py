"""The ledger's tables as they are now. `migrations/` builds them; a test holds the two together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ledger.columns import (
    Decimal,
    EscapedText,
    Real,
    StateText,
    flag,
    number,
    partial_index,
    plain_json,
)
from ledger.states import State

Statements = Mapping[str, Any]
"""One statement per dialect's name."""

Insert = Callable[[sa.Table], Any]
"""A dialect's own `insert`."""

DIALECTS = ("sqlite", "postgresql")


def both(build: Callable[[Insert], Any]) -> Statements:
    """Build a statement with each dialect's own `insert`, which is what knows ON CONFLICT."""
    return {"sqlite": build(sqlite.insert), "postgresql": build(postgresql.insert)}


metadata = sa.MetaData()

identity = sa.Table(
    "ledger",
    metadata,
    sa.Column("uuid", sa.Text, primary_key=True),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("change_base", sa.BigInteger, nullable=False),
)

bodies = sa.Table(
    "bodies",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("pid_started", Real, nullable=False),
    sa.Column("pid_namespace", sa.Text, nullable=False),
    sa.Column("boot_id", sa.Text, nullable=False),
    sa.Column("lease_until", Real, nullable=False),
    sa.Column("opened_at", Real, nullable=False),
    sa.Column("renewed_at", Real, nullable=False),
    sa.Column("closed_at", Real),
    sa.Column("crashed", sa.Boolean),
    sa.Column("reason", sa.Text),
    partial_index("sessions_open", "closed_at IS NULL", "worker"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", StateText, nullable=False),
    sa.Column("previous", StateText),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("crash_reasons", plain_json()),
    sa.Column("suspect", sa.Boolean, nullable=False),
    sa.Column("shared_crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("profile", sa.Text),
    sa.Column("profile_digest", sa.Text),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("stream", sa.Boolean, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("not_before", Real),
    sa.Column("deadline", Real),
    sa.Column("run_timeout", Real, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("cancel_reason", sa.Text),
    sa.Column("session", sa.Text, sa.ForeignKey("sessions.id")),
    sa.Column("canvas", plain_json()),
    sa.Column("group_id", sa.Text),
    sa.Column("group_index", sa.Integer),
    sa.Column("root_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("correlation_id", sa.Text),
    sa.Column("sent_number", sa.BigInteger, nullable=False),
    sa.Column("sent_at", Real),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("queued_at", Real),
    sa.Column("started_at", Real),
    sa.Column("claimed_at", Real),
    sa.Column("finished_at", Real),
    sa.Column("delivered_at", Real),
    sa.Column("delivery_tries", sa.Integer, nullable=False),
    sa.Column("delivery_error", EscapedText),
    sa.Column("error", plain_json()),
    # No foreign keys to bodies: a digest is evidence that outlives the bytes it names.
    sa.Column("request_digest", sa.Text, nullable=False),
    sa.Column("result_digest", sa.Text),
    sa.Column("output_digest", sa.Text),
    sa.Column("report_digest", sa.Text),
    sa.Column("receipt_digest", sa.Text),
    sa.Column("confidence", Real),
    sa.Column("k", sa.Integer),
    sa.Column("rounds", sa.Integer),
    sa.Column("review", sa.Boolean, nullable=False),
    sa.Column("promoted_at", Real),
    flag("dedupe"),
    # Not a foreign key: the job that is followed may be deleted first.
    sa.Column("follows", sa.Text),
    sa.Column("purged_at", Real),
    sa.Column("cancel_asked_at", Real),
    sa.Column("traceparent", sa.Text),
    sa.UniqueConstraint("idempotency_key", name="jobs_idempotency_key"),
)


def _partial(name: str, where: str, *columns: str) -> None:
    partial_index(name, where, *(jobs.c[column] for column in columns))


_partial("jobs_queued", "state = 'queued'", "queue", "queued_at")
_partial("jobs_scheduled", "state = 'scheduled'", "not_before")
_partial("jobs_running", "state = 'running'", "session")
_partial("jobs_deadline", "deadline IS NOT NULL AND finished_at IS NULL", "deadline")
_partial(
    "jobs_undelivered",
    "finished_at IS NOT NULL AND delivered_at IS NULL",
    "delivery_tries",
    "finished_at",
)
_partial("jobs_group", "group_id IS NOT NULL", "group_id", "group_index")
_partial(
    "jobs_unpromoted", "state = 'queued' AND priority > 0 AND promoted_at IS NULL", "queued_at"
)
_partial("jobs_leading", "dedupe AND follows IS NULL AND finished_at IS NULL", "request_digest")
_partial(
    "jobs_following",
    "state = 'scheduled' AND follows IS NOT NULL AND not_before IS NULL",
    "follows",
    "created_at",
    "id",
)
sa.Index("jobs_created", jobs.c.created_at, jobs.c.id)
sa.Index("jobs_model_state", jobs.c.model, jobs.c.state)

changes = sa.Table(
    "changes",
    metadata,
    number("seq"),
    sa.Column("at", Real, nullable=False),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("source", StateText),
    sa.Column("target", StateText, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("session", sa.Text),
    sa.UniqueConstraint("job_id", "step", name="changes_job_step"),
    # A number is never used twice, even when the newest rows have been deleted.
    sqlite_autoincrement=True,
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("seed", Decimal, nullable=False),
    sa.Column("text_digest", sa.Text, nullable=False),
    sa.Column("finish_reason", sa.Text),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("valid", sa.Boolean, nullable=False),
    sa.Column("invalid_reason", EscapedText),
    sa.Column("answer_class", EscapedText),
    sa.Column("logprob", Real),
    sa.Column("model_digest", sa.Text),
    sa.Column("engine_digest", sa.Text),
    sa.Column("prompt_digest", sa.Text),
    sa.Column("duration_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("first_token_ms", sa.BigInteger),
    sa.Column("cached_tokens", sa.Integer),
)

receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("canonical", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("report_digest", sa.Text, nullable=False),
    sa.Column("leaf_index", sa.BigInteger),
    sa.Column("signature", sa.LargeBinary),
    sa.Column("created_at", Real, nullable=False),
    sa.Column("log", sa.BigInteger),
    partial_index("receipts_unlogged", "leaf_index IS NULL", "log", "created_at"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("reasons", plain_json(), nullable=False),
    sa.Column("classes", plain_json(), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", Real, nullable=False),
    sa.Index("reviews_state", "state", "created_at"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("node", sa.Text),
    sa.Column("session", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("facts", plain_json(), nullable=False),
    sa.Column("seen_at", Real),
    sa.Column("drain", sa.Boolean, nullable=False),
    flag("stop"),
    sa.Column("seal", sa.Text),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("boot_id", sa.Text, nullable=False),
    sa.Column("lease_until", Real, nullable=False),
)

chords = sa.Table(
    "chords",
    metadata,
    sa.Column("group_id", sa.Text, primary_key=True),
    sa.Column("size", sa.Integer),
    sa.Column("claimed_at", Real),
    sa.Column("done_at", Real),
    sa.Column("claimed_by", sa.Text),
)

chord_parts = sa.Table(
    "chord_parts",
    metadata,
    sa.Column("group_id", sa.Text, primary_key=True),
    # Not the index: the parts of a group inside a chord count from 0 again.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("index", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("result", EscapedText),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    number("id"),
    sa.Column("at", Real, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", EscapedText, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

quarantine_totals = sa.Table(
    "quarantine_totals",
    metadata,
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    number("id"),
    sa.Column("at", Real, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", plain_json(), nullable=False),
    sqlite_autoincrement=True,
)


def state_in(*states: State, table: sa.FromClause | None = None) -> sa.ColumnElement[bool]:
    """The states of `jobs`, or of an alias of it, with their names written out.

    Only so do partial indexes serve a query that is prepared before its parameters are known.
    """
    column = (jobs if table is None else table).c.state
    names = [sa.literal_column(f"'{state}'", StateText()) for state in states]
    return column == names[0] if len(names) == 1 else column.in_(names)
