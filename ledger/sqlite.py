"""SQLite: one file, one machine, one writer at a time.

Every connection has foreign keys on, waits for locks, and syncs each commit to the disk
(`synchronous=FULL`), because accepted means on disk. The file is never made by opening it: only
migrating makes it, so that a client with a wrong path is told so.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from ledger import filesystems
from ledger.columns import dump_json
from ledger.errors import (
    LedgerDriverMissing,
    LedgerForeign,
    LedgerGone,
    LedgerNotMigrated,
    LedgerOnNetworkFilesystem,
    LedgerRefused,
    LedgerUrlInvalid,
)

APPLICATION_ID = 0x686F6E79
"""`hony`, in the file's header: whose database this is (`PRAGMA application_id`)."""

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for another one."""

_OLDEST = (3, 35, 0)  # the first with RETURNING


def path_of(url: sa.URL) -> Path:
    """The file of a `sqlite:///` URL.

    Raises:
        LedgerUrlInvalid: it names no file.
        LedgerDriverMissing: the SQLite library is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise LedgerDriverMissing(
            f"The SQLite library is {sqlite3.sqlite_version}; 3.35 is the oldest that will do.",
            suggested_action="Use a Python that is linked against a newer SQLite.",
        )
    if not url.database or url.database == ":memory:" or url.query:
        raise LedgerUrlInvalid(
            f"{url.render_as_string()} names no file.",
            suggested_action="Use sqlite:////absolute/path/ledger.db.",
        )
    return Path(url.database).absolute()


def refuse_network_filesystem(path: Path) -> None:
    """Refuse a file on a network file system.

    Raises:
        LedgerOnNetworkFilesystem: its type is in `details`.
    """
    kind = filesystems.type_of(path)
    if kind in filesystems.NETWORK:
        raise LedgerOnNetworkFilesystem(
            f"The ledger {path} is on {kind}, a network file system, where SQLite loses data.",
            suggested_action="Put it on a local disk, or use PostgreSQL for several machines.",
            details={"place": str(path), "filesystem": kind},
        )


def require_file(path: Path) -> None:
    """Refuse a path where there is no ledger yet.

    Raises:
        LedgerNotMigrated: the file is missing or empty.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise LedgerNotMigrated(
            f"There is no ledger at {path}.",
            suggested_action="Start a worker or run `honeyflow up`; they make it.",
            details={"place": str(path)},
        )


def create_file(path: Path) -> None:
    """Make an empty ledger, readable by its owner only, unless there is a file.

    Raises:
        LedgerForeign: the file is another program's database.
        LedgerRefused: it cannot be made there.
    """
    try:
        # Never opened when it is there: closing any descriptor of the file drops the POSIX locks
        # that SQLite holds on it in this process, and others would then delete a WAL in use.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise _refused(path, error) from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and owner != APPLICATION_ID:
            raise LedgerForeign(
                f"{path} is the database of another program.",
                suggested_action="Choose another path for the ledger.",
                details={"place": str(path)},
            )
        if not tables:
            # Both are written with the first page and cannot be changed later without a VACUUM.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


@contextmanager
def migration_lock(path: Path) -> Iterator[None]:
    """Keep every other process from migrating this file; its directory is made where needed.

    Raises:
        LedgerRefused: it cannot be made there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(f"{path}.migration-lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


class SameFile:
    """Notices when the file was removed or replaced under an open ledger."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._look()

    def check(self) -> None:
        """Refuse to write into a file that nobody can find any more.

        Raises:
            LedgerGone: the path is empty, or another file is there.
        """
        if self._look() != self._identity:
            raise LedgerGone(
                f"The ledger {self._path} was removed or replaced while it was open.",
                suggested_action="Restart every process that uses it.",
                details={"place": str(self._path)},
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def engine(path: Path, *, readonly: bool) -> sa.Engine:
    """Connections to an existing file: for snapshots, or for writers that lock it at once."""
    uri = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_S,
            cached_statements=256,
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if readonly:
            connection.execute("PRAGMA query_only = ON")
        return connection

    made = sa.create_engine(
        "sqlite://",
        creator=connect,
        json_serializer=dump_json,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=28,
    )
    begin = "BEGIN" if readonly else "BEGIN IMMEDIATE"

    @event.listens_for(made, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Through SQLAlchemy the same word would take ten times as long.
        driver: Any = connection.connection.driver_connection
        driver.execute(begin)

    return made


def _refused(path: Path, error: OSError) -> LedgerRefused:
    return LedgerRefused(
        f"The ledger {path} cannot be made: {error.strerror}.",
        suggested_action="Choose a directory that this user can write to.",
        details={"place": str(path)},
    )
