"""One transaction on the ledger: what every function of this package takes first.

It knows the dialect, reads the store's clocks once, and gathers the bodies and the changes of a
whole group of operations, which are written by one statement each. Bodies so have one order
everywhere: two writers that store the same answers would otherwise wait for each other in a ring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from ledger import faults, tables
from ledger.clocks import Clock, Moment

_PUT = tables.both(lambda insert: insert(tables.bodies).on_conflict_do_nothing())

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Transaction:
    """A transaction that `Ledger.write` or `Ledger.read` has begun and will end."""

    def __init__(
        self, connection: sa.Connection, *, dialect: str, clock: Clock, place: str
    ) -> None:
        self.dialect = dialect
        self.place = place
        self.pending: dict[str, Mapping[str, Any]] = {}
        self.held_sessions: dict[str, bool] = {}
        self.numbered = 0
        self._deferred: dict[int, tuple[tables.Statements, list[Mapping[str, Any]]]] = {}
        self._connection = connection
        self._clock = clock
        self._moment: Moment | None = None

    @property
    def now(self) -> float:
        """The store's wall clock, seconds since the epoch; the same all through the transaction."""
        return self._read_clock().now

    @property
    def lease_now(self) -> float:
        """The clock that leases are measured with, in seconds; the same all through."""
        return self._read_clock().lease_now

    @property
    def boot_id(self) -> str | None:
        """The boot that leases belong to, or None where they outlive boots."""
        return self._clock.boot_id()

    def execute(
        self,
        statement: sa.Executable | tables.Statements,
        parameters: Parameters | None = None,
    ) -> sa.CursorResult[Any]:
        """Run a statement, or the one of this dialect.

        Raises:
            LedgerError: what the driver's error means.
        """
        chosen = statement[self.dialect] if isinstance(statement, Mapping) else statement
        try:
            return self._connection.execute(chosen, parameters)
        except exc.SQLAlchemyError as error:
            raise faults.translated(error, place=self.place) from error
        except (ValueError, OverflowError, TypeError) as error:
            # What the drivers cannot encode, they let through as it is.
            raise faults.unstorable(error) from error

    def rows(
        self, statement: sa.Executable | tables.Statements, parameters: Parameters | None = None
    ) -> list[dict[str, Any]]:
        """Run a statement and give all its rows by column.

        Raises:
            LedgerError: what the driver's error means.
        """
        found = self.execute(statement, parameters)
        names = tuple(found.keys())
        return [dict(zip(names, row, strict=True)) for row in found]

    def row(
        self, statement: sa.Executable | tables.Statements, parameters: Parameters | None = None
    ) -> dict[str, Any] | None:
        """Run a statement and give its first row, if it has one.

        Raises:
            LedgerError: what the driver's error means.
        """
        return next(iter(self.rows(statement, parameters)), None)

    def pending_body(self, digest: str) -> bytes | None:
        """The bytes of a digest, if they wait to be written."""
        pending = self.pending.get(digest)
        return None if pending is None else bytes(pending["data"])

    def defer(self, statement: tables.Statements, rows: Sequence[Mapping[str, Any]]) -> None:
        """Leave an INSERT to the flush, where all rows of one statement are written at once."""
        self._deferred.setdefault(id(statement), (statement, []))[1].extend(rows)

    def flush(self) -> None:
        """Write what was gathered so far; `Ledger.write` does it before it commits."""
        for statement, rows in self._deferred.values():
            self.execute(statement, rows)
        self._deferred.clear()
        if self.pending:
            gathered = [self.pending[digest] for digest in sorted(self.pending)]
            self.pending.clear()
            self.execute(_PUT, gathered)

    def _read_clock(self) -> Moment:
        if self._moment is None:
            try:
                self._moment = self._clock.read(self._connection)
            except exc.SQLAlchemyError as error:
                raise faults.translated(error, place=self.place) from error
        return self._moment
