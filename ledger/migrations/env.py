"""Alembic's way in: runs revisions in the transaction that `ledger.schema` hands over."""

from __future__ import annotations

from alembic import context

from ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
