"""What the ledger's columns hold, where that is not what the drivers make of it."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from ledger.states import State


class EscapedText(TypeDecorator[str]):
    """Any Python string, NUL and lone surrogates too, as a JSON string."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: sa.Dialect) -> str | None:
        """Escape."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> str | None:
        """Read back."""
        return None if value is None else str(json.loads(value))


class Real(TypeDecorator[float]):
    """A float; SQLite's RETURNING gives a whole number back as an integer."""

    impl = sa.Double
    cache_ok = True

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> float | None:
        """Read back."""
        return None if value is None else float(value)


class Decimal(TypeDecorator[int]):
    """An integer of any size, as decimal digits: a seed may need more than 63 bits."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: sa.Dialect) -> str | None:
        """Write out."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> int | None:
        """Read back."""
        return None if value is None else int(value)


class StateText(TypeDecorator[State]):
    """A state by its name."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: State | None, _dialect: sa.Dialect) -> str | None:
        """Write its name."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> State | None:
        """Read it back."""
        return None if value is None else State(value)


def dump_json(value: Any) -> str:
    """Plain JSON for the JSON columns.

    Raises:
        ValueError, TypeError: it is not JSON; both drivers' errors would come later and differ.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def plain_json() -> sa.JSON:
    """JSON in which None is NULL."""
    return sa.JSON(none_as_null=True)


def number(name: str) -> sa.Column[int]:
    """A key that counts; INTEGER on SQLite, because only that is its row id."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, primary_key=True, autoincrement=True)


def partial_index(name: str, where: str, *columns: Any) -> sa.Index:
    """An index over the rows for which a condition holds."""
    condition = sa.text(where)
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


def flag(name: str) -> sa.Column[bool]:
    """A flag that is down unless said otherwise, also by programs that do not know it yet."""
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
