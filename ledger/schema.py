"""Which schema a database has, and bringing it up to date.

Alembic does the work and is imported only then: a client just compares two names.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ledger.errors import LedgerNotMigrated, LedgerTooNew

REVISIONS = ("r0001", "r0002", "r0003", "r0004", "r0005", "r0006")
"""Every revision in `migrations/versions/`, the oldest first."""

VERSION_TABLE = "ledger_version"

_VERSION: sa.Select[tuple[str]] = sa.select(sa.column("version_num")).select_from(
    sa.table(VERSION_TABLE)
)
_MIGRATIONS = Path(__file__).parent / "migrations"


def current(connection: sa.Connection) -> str | None:
    """The revision a database is at, or None where there is no ledger."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(_VERSION).scalar_one_or_none()
    return None if found is None else str(found)


def is_current(connection: sa.Connection, *, place: str) -> bool:
    """Whether the schema is this program's.

    Raises:
        LedgerTooNew: it is a newer program's.
    """
    found = current(connection)
    if found is not None and found not in REVISIONS:
        raise LedgerTooNew(
            f"The ledger at {place} has schema {found}; this program knows up to {REVISIONS[-1]}.",
            suggested_action="Upgrade honeyflow here to the version the workers run.",
            details={"place": place, "found": found, "known": REVISIONS[-1]},
        )
    return found == REVISIONS[-1]


def require_current(connection: sa.Connection, *, place: str) -> None:
    """Refuse a schema that is not this program's.

    Raises:
        LedgerNotMigrated: there is none, or an older one.
        LedgerTooNew: it is a newer program's.
    """
    if not is_current(connection, place=place):
        found = current(connection)
        what = f"has schema {found}, older than {REVISIONS[-1]}" if found else "has no schema"
        raise LedgerNotMigrated(
            f"The ledger at {place} {what}.",
            suggested_action="Start a worker of this version or run `honeyflow up`; they migrate.",
            details={"place": place, "found": found, "needed": REVISIONS[-1]},
        )


def upgrade(connection: sa.Connection) -> None:
    """Bring a database to the newest revision, in the transaction that the caller has begun."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
