"""The ledger itself: opens the store, checks that it is the right one, and gives transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Self

import sqlalchemy as sa
from sqlalchemy import exc

from ledger import addresses, faults, postgres, schema, sqlite, tables
from ledger.clocks import Clock, PostgresClock, SqliteClock
from ledger.errors import LedgerBusy
from ledger.transaction import Transaction

Dialect = Literal["sqlite", "postgresql"]

_UUID = sa.select(tables.identity.c.uuid)


class Ledger:
    """An open ledger; safe to share between threads, and to use after a fork.

    To be closed at the end, or used as `with Ledger.open(url) as ledger`. `uuid` names it for good,
    `place` is its URL without the password.
    """

    def __init__(
        self,
        *,
        place: str,
        dialect: Dialect,
        writer: sa.Engine,
        reader: sa.Engine,
        clock: Clock,
        path: Path | None,
    ) -> None:
        self.place = place
        self.dialect: Dialect = dialect
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._same_file = None if path is None else sqlite.SameFile(path)
        self._turn = threading.Lock()
        self._writing = False
        self._pid = os.getpid()
        self.uuid = self._identify()

    @classmethod
    def open(cls, url: str, *, migrate: bool = False, clock: Clock | None = None) -> Ledger:
        """Open the ledger at `sqlite:////path/ledger.db` or `postgresql+psycopg://…`.

        With `migrate` the schema, and a SQLite file, is made or brought up to date first. `clock`
        stands in for the store's own in tests.

        Raises:
            LedgerNotMigrated, LedgerTooNew: the schema is not this program's.
            LedgerOnNetworkFilesystem, LedgerForeign, LedgerUrlInvalid, LedgerDriverMissing: this is
                no place for a ledger.
            LedgerUnavailable, LedgerRefused, LedgerDamaged, LedgerFull: it cannot be used now.
        """
        parsed = addresses.parsed(url)
        place = addresses.shown(parsed)
        with _translated(place):
            if parsed.get_backend_name() == "sqlite":
                clock = clock or SqliteClock()
                return cls._open_sqlite(parsed, place, migrate=migrate, clock=clock)
            clock = clock or PostgresClock()
            return cls._open_postgres(parsed, place, migrate=migrate, clock=clock)

    @classmethod
    def _open_sqlite(cls, url: sa.URL, place: str, *, migrate: bool, clock: Clock) -> Ledger:
        path = sqlite.path_of(url)
        sqlite.refuse_network_filesystem(path)
        if migrate:
            with sqlite.migration_lock(path):
                sqlite.create_file(path)
                migrating = sqlite.engine(path, readonly=False)
                try:
                    _upgrade(migrating, place)
                finally:
                    migrating.dispose()
        sqlite.require_file(path)
        with ExitStack() as on_failure:
            writer = sqlite.engine(path, readonly=False)
            on_failure.callback(writer.dispose)
            reader = sqlite.engine(path, readonly=True)
            on_failure.callback(reader.dispose)
            with reader.connect() as connection:
                schema.require_current(connection, place=place)
            ledger = cls(
                place=place,
                dialect="sqlite",
                writer=writer,
                reader=reader,
                clock=clock,
                path=path,
            )
            on_failure.pop_all()
        return ledger

    @classmethod
    def _open_postgres(cls, url: sa.URL, place: str, *, migrate: bool, clock: Clock) -> Ledger:
        engine = postgres.engine(url.set(drivername="postgresql+psycopg"))
        with ExitStack() as on_failure:
            on_failure.callback(engine.dispose)
            with engine.begin() as connection:
                postgres.require_version(connection)
            if migrate:
                _upgrade(engine, place)
            with engine.begin() as connection:
                schema.require_current(connection, place=place)
                postgres.raise_change_base(connection)
            ledger = cls(
                place=place,
                dialect="postgresql",
                writer=engine,
                reader=postgres.reader(engine),
                clock=clock,
                path=None,
            )
            on_failure.pop_all()
        return ledger

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits to disk at the end of the block; an exception rolls it back.

        Raises:
            LedgerGone: the file was removed or replaced.
            LedgerError: what the driver's error means. A LedgerUnavailable at the end of the block
                leaves open whether it was committed; everything here can be done again.
        """
        self._check_place()
        with (
            self._in_turn(),
            _translated(self.place),
            self._writer.connect() as connection,
            connection.begin(),
        ):
            self._writing = True
            tx = self._transaction(connection)
            yield tx
            tx.flush()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot that cannot write.

        Raises:
            LedgerGone: the file was removed or replaced.
            LedgerError: what the driver's error means.
        """
        self._check_place()
        with (
            _translated(self.place),
            self._reader.connect() as connection,
            connection.begin(),
        ):
            yield self._transaction(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._writer.dispose()
        self._reader.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _transaction(self, connection: sa.Connection) -> Transaction:
        return Transaction(connection, dialect=self.dialect, clock=self._clock, place=self.place)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One writer of this process at a time; SQLite's own lock is polled, and unfair."""
        if self.dialect != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=sqlite.BUSY_TIMEOUT_S):
            raise self._busy()
        try:
            yield
        finally:
            self._writing = False
            self._turn.release()

    def _busy(self) -> LedgerBusy:
        """Whoever has the turn either writes, or waits for SQLite's lock itself."""
        if self._writing:
            who = "Another thread of this process has been writing to"
            action = "Try again, and keep transactions short; do not nest them."
        else:
            who = "Another process has kept the threads of this one from writing to"
            action = "Try again; if it lasts, look for a process that holds a transaction open."
        return LedgerBusy(
            f"{who} the ledger at {self.place} for {sqlite.BUSY_TIMEOUT_S:g} s.",
            suggested_action=action,
            details={"place": self.place},
        )

    def _check_place(self) -> None:
        """See to it that the connections are this process's, and lead to the file of that name."""
        if self._same_file is not None:
            self._same_file.check()
        # A child of a fork must neither use nor close its parent's connections.
        if os.getpid() != self._pid:
            self._writer.dispose(close=False)
            self._reader.dispose(close=False)
            self._turn = threading.Lock()
            self._pid = os.getpid()

    def _identify(self) -> str:
        with self.read() as tx:
            return str(tx.execute(_UUID).scalar_one())


def _upgrade(engine: sa.Engine, place: str) -> None:
    with engine.connect() as connection:
        if schema.is_current(connection, place=place):
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            postgres.lock_migration(connection)
        if not schema.is_current(connection, place=place):
            schema.upgrade(connection)


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error) as error:
        raise faults.translated(error, place=place) from error
