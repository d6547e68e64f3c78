"""A ledger's address: read, and shown without its secrets."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import exc

from ledger import tables
from ledger.errors import LedgerUrlInvalid


def parsed(url: str) -> sa.URL:
    """The parts of an address.

    Raises:
        LedgerUrlInvalid: it is neither SQLite's nor PostgreSQL's. It is not repeated, because it
            may hold a password.
    """
    try:
        parts = sa.make_url(url)
        known = parts.get_backend_name() in tables.DIALECTS
    except exc.ArgumentError:
        known = False
    if not known:
        raise LedgerUrlInvalid(
            "The ledger's URL is neither SQLite nor PostgreSQL.",
            suggested_action="Use sqlite:////path/ledger.db or postgresql+psycopg://user@host/name.",
        )
    return parts


def shown(url: sa.URL) -> str:
    """The address without anything secret in it."""
    query = {name: value for name, value in url.query.items() if "password" not in name}
    bare = sa.URL.create(
        url.drivername,
        username=url.username,
        host=url.host,
        port=url.port,
        database=url.database,
        query=query,
    )
    return bare.render_as_string()
