"""PostgreSQL: many machines, many writers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from ledger.columns import dump_json
from ledger.errors import LedgerDriverMissing

LOCK_TIMEOUT_S = 10
"""How long a writer waits for a row that another one holds."""

_OLDEST = 130000  # 13, the first with pg_current_xact_id()
_MIGRATION_LOCK = 0x686F6E79_666C6F77


def engine(url: sa.URL) -> sa.Engine:
    """Connections that commit to disk, and that notice a server which is gone.

    Raises:
        LedgerDriverMissing: psycopg is not installed.
    """
    try:
        made = sa.create_engine(
            url,
            isolation_level="READ COMMITTED",
            json_serializer=dump_json,
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=28,
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                "application_name": "honeyflow",
            },
        )
    except ImportError as error:
        raise LedgerDriverMissing(
            "The driver for PostgreSQL, psycopg 3, is not installed.",
            suggested_action="Install honeyflow[postgres].",
        ) from error

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            # A server may be set to answer before a commit is on disk; accepted means on disk.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
            cursor.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    return made


def reader(made: sa.Engine) -> sa.Engine:
    """The same connections, for snapshots that cannot write."""
    return made.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def require_version(connection: sa.Connection) -> None:
    """Refuse a server that is too old.

    Raises:
        LedgerDriverMissing: it is older than PostgreSQL 13.
    """
    number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if number < _OLDEST:
        raise LedgerDriverMissing(
            f"The server is PostgreSQL {number // 10000}; 13 is the oldest that will do.",
            suggested_action="Use a newer server.",
        )


def lock_migration(connection: sa.Connection) -> None:
    """Keep every other process from migrating this database until this transaction ends."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def raise_change_base(connection: sa.Connection) -> None:
    """Keep change numbers rising in a database restored from a dump.

    There, transaction ids start low again (see `ledger.sequence`).
    """
    connection.exec_driver_sql(
        "UPDATE ledger SET change_base = newest.id - own.id + 1"
        " FROM (SELECT greatest((SELECT max(seq) FROM changes), (SELECT max(id) FROM events))"
        " / 1048576 AS id) AS newest,"
        " (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS id) AS own"
        " WHERE newest.id >= own.id + ledger.change_base"
    )
