"""The first tables, and the triggers that hold what no statement may break.

Revision ID: r0001
"""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

# Frozen here on purpose: a later change of the published moves is a later revision.
_MOVES = (
    "scheduled>queued",
    "scheduled>failed",
    "scheduled>cancelled",
    "scheduled>expired",
    "queued>running",
    "queued>failed",
    "queued>cancelled",
    "queued>expired",
    "queued>dead",
    "running>queued",
    "running>scheduled",
    "running>succeeded",
    "running>failed",
    "running>cancelled",
    "running>expired",
)
_MOVE_LIST = ", ".join(f"'{move}'" for move in _MOVES)

_ILLEGAL_MOVE = f"(OLD.state || '>' || NEW.state) NOT IN ({_MOVE_LIST})"
_FENCE_FELL = "NEW.fence < OLD.fence"
_RECEIPT_CHANGED = """(
    NEW.job_id <> OLD.job_id
    OR NEW.canonical <> OLD.canonical
    OR NEW.digest <> OLD.digest
    OR NEW.report_digest <> OLD.report_digest
    OR NEW.created_at <> OLD.created_at
    OR (OLD.leaf_index IS NOT NULL AND (NEW.leaf_index IS NULL OR NEW.leaf_index <> OLD.leaf_index))
    OR (OLD.signature IS NOT NULL AND (NEW.signature IS NULL OR NEW.signature <> OLD.signature))
)"""

_GUARDS = (
    (
        "jobs_moves",
        "jobs",
        "UPDATE OF state",
        _ILLEGAL_MOVE,
        "this move of a job is not published",
    ),
    ("jobs_fence", "jobs", "UPDATE OF fence", _FENCE_FELL, "a fence never falls"),
    (
        "receipts_keep",
        "receipts",
        "UPDATE",
        _RECEIPT_CHANGED,
        "a receipt never changes",
    ),
    ("receipts_stay", "receipts", "DELETE", None, "a receipt is never deleted"),
    ("changes_keep", "changes", "UPDATE", None, "the change sequence never changes"),
)


def upgrade() -> None:
    """Make the tables, guard them, and give the ledger its name."""
    _create_identity_and_bodies()
    _create_sessions_and_jobs()
    _create_what_jobs_leave()
    _create_what_processes_share()
    for guard in _GUARDS:
        _guard(*guard)
    op.get_bind().execute(
        sa.text(
            "INSERT INTO ledger (uuid, created_at, change_base) VALUES (:uuid, :now, 0)"
        ),
        {"uuid": str(uuid.uuid4()), "now": time.time()},
    )


def _create_identity_and_bodies() -> None:
    op.create_table(
        "ledger",
        sa.Column("uuid", sa.Text(), primary_key=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("change_base", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "bodies",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )


def _create_sessions_and_jobs() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("pid_started", sa.Double(), nullable=False),
        sa.Column("pid_namespace", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double()),
        sa.Column("crashed", sa.Boolean()),
        sa.Column("reason", sa.Text()),
    )
    _partial_index("sessions_open", "sessions", "closed_at IS NULL", "worker")
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text()),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("crash_reasons", sa.JSON()),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text()),
        sa.Column("profile_digest", sa.Text()),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("not_before", sa.Double()),
        sa.Column("deadline", sa.Double()),
        sa.Column("run_timeout", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("cancel_reason", sa.Text()),
        sa.Column("session", sa.Text(), sa.ForeignKey("sessions.id")),
        sa.Column("canvas", sa.JSON()),
        sa.Column("group_id", sa.Text()),
        sa.Column("group_index", sa.Integer()),
        sa.Column("root_id", sa.Text()),
        sa.Column("parent_id", sa.Text()),
        sa.Column("correlation_id", sa.Text()),
        sa.Column("sent_number", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("queued_at", sa.Double()),
        sa.Column("started_at", sa.Double()),
        sa.Column("claimed_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("delivered_at", sa.Double()),
        sa.Column("delivery_tries", sa.Integer(), nullable=False),
        sa.Column("delivery_error", sa.Text()),
        sa.Column("error", sa.JSON()),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.Column("result_digest", sa.Text()),
        sa.Column("output_digest", sa.Text()),
        sa.Column("report_digest", sa.Text()),
        sa.Column("receipt_digest", sa.Text()),
        sa.Column("confidence", sa.Double()),
        sa.Column("k", sa.Integer()),
        sa.Column("rounds", sa.Integer()),
        sa.Column("review", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("idempotency_key", name="jobs_idempotency_key"),
    )
    op.create_index("jobs_created", "jobs", ["created_at", "id"])
    _partial_index(
        "jobs_deadline",
        "jobs",
        "deadline IS NOT NULL AND finished_at IS NULL",
        "deadline",
    )
    _partial_index(
        "jobs_group", "jobs", "group_id IS NOT NULL", "group_id", "group_index"
    )
    op.create_index("jobs_model_state", "jobs", ["model", "state"])
    _partial_index("jobs_queued", "jobs", "state = 'queued'", "queue", "queued_at")
    _partial_index("jobs_running", "jobs", "state = 'running'", "session")
    _partial_index("jobs_scheduled", "jobs", "state = 'scheduled'", "not_before")
    _partial_index(
        "jobs_undelivered",
        "jobs",
        "finished_at IS NOT NULL AND delivered_at IS NULL",
        "delivery_tries",
        "finished_at",
    )


def _create_what_jobs_leave() -> None:
    # PostgreSQL's numbers are made by the writer; only SQLite counts by itself.
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "changes",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=on_sqlite,
        ),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("session", sa.Text()),
        sa.UniqueConstraint("job_id", "step", name="changes_job_step"),
        sqlite_autoincrement=on_sqlite,
    )
    op.create_table(
        "samples",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("index", sa.Integer(), primary_key=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("text_digest", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("invalid_reason", sa.Text()),
        sa.Column("answer_class", sa.Text()),
        sa.Column("logprob", sa.Double()),
        sa.Column("model_digest", sa.Text()),
        sa.Column("engine_digest", sa.Text()),
        sa.Column("prompt_digest", sa.Text()),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("canonical", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, unique=True),
        sa.Column("report_digest", sa.Text(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger()),
        sa.Column("signature", sa.LargeBinary()),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    _partial_index("receipts_unsealed", "receipts", "leaf_index IS NULL", "created_at")
    op.create_table(
        "reviews",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    op.create_index("reviews_state", "reviews", ["state", "created_at"])


def _create_what_processes_share() -> None:
    op.create_table(
        "workers",
        sa.Column("worker", sa.Text(), primary_key=True),
        sa.Column("node", sa.Text()),
        sa.Column("session", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.Double()),
        sa.Column("drain", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
    )
    op.create_table(
        "chords",
        sa.Column("group_id", sa.Text(), primary_key=True),
        sa.Column("size", sa.Integer()),
        sa.Column("claimed_at", sa.Double()),
        sa.Column("done_at", sa.Double()),
    )
    op.create_table(
        "chord_parts",
        sa.Column("group_id", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("index", sa.Integer()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("result", sa.Text()),
    )


def _partial_index(name: str, table: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, list(columns), sqlite_where=condition, postgresql_where=condition
    )


def _guard(name: str, table: str, event: str, when: str | None, message: str) -> None:
    """Refuse an event on a table, where a condition holds."""
    condition = f"WHEN ({when})" if when else ""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {condition} "
        f"EXECUTE FUNCTION {name}()"
    )
