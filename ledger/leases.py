"""Named leases: which process does what only one may do at a time."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.tables import leases
from ledger.transaction import Transaction

_LEASE_NOW: sa.BindParameter[float] = sa.bindparam("lease_now", type_=sa.Double)


def _taking(insert: tables.Insert) -> Any:
    wanted = insert(leases)
    new = wanted.excluded
    free = (
        (leases.c.holder == new.holder)
        | (leases.c.lease_until <= _LEASE_NOW)
        | (leases.c.boot_id != new.boot_id)
    )
    given = {name: new[name] for name in ("holder", "boot_id", "lease_until")}
    taken = wanted.on_conflict_do_update(index_elements=["name"], set_=given, where=free)
    return taken.returning(leases.c.name)


_TAKE = tables.both(_taking)
_RELEASE = sa.delete(leases).where(
    leases.c.name == sa.bindparam("the_name"),
    leases.c.holder == sa.bindparam("the_holder"),
)

_HOLDER = sa.select(leases.c.holder).where(leases.c.name == sa.bindparam("the_name"))
_HELD = sa.select(leases.c.name).where(
    leases.c.name == sa.bindparam("the_name"),
    leases.c.lease_until > _LEASE_NOW,
    leases.c.boot_id == sa.bindparam("the_boot"),
)


def take(tx: Transaction, name: str, holder: str, ttl_s: float) -> bool:
    """Take a lease that is free or over, or renew one's own, for `ttl_s` seconds from now."""
    wanted = {
        "name": name,
        "holder": holder,
        "boot_id": tx.boot_id or "",
        "lease_until": tx.lease_now + ttl_s,
        "lease_now": tx.lease_now,
    }
    return tx.execute(_TAKE, wanted).first() is not None


def release(tx: Transaction, name: str, holder: str) -> None:
    """Give a lease back, if it is the holder's."""
    tx.execute(_RELEASE, {"the_name": name, "the_holder": holder})


def holder(tx: Transaction, name: str) -> str | None:
    """Who holds a lease, or held it last."""
    found: str | None = tx.execute(_HOLDER, {"the_name": name}).scalar_one_or_none()
    return found


def is_held(tx: Transaction, name: str) -> bool:
    """Whether somebody holds a lease now."""
    asked = {"the_name": name, "lease_now": tx.lease_now, "the_boot": tx.boot_id or ""}
    return tx.execute(_HELD, asked).first() is not None
