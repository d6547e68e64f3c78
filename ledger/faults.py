"""The drivers' errors as ours: which fault, what it means for the caller, what to do."""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from ledger.errors import (
    InvalidValue,
    LedgerBusy,
    LedgerDamaged,
    LedgerError,
    LedgerFull,
    LedgerReadOnly,
    LedgerRefused,
    LedgerUnavailable,
)

_ACTIONS: dict[type[LedgerError], str] = {
    LedgerUnavailable: "Check that the ledger's store is running and reachable, then try again.",
    LedgerBusy: "Try again; if it lasts, look for a process that holds a transaction open.",
    LedgerFull: "Free disk space on the ledger's machine, then try again.",
    LedgerRefused: "Check user, password, database and rights in the ledger's URL.",
    LedgerDamaged: "Stop the workers, keep a copy of the file and restore the last backup.",
    LedgerReadOnly: "Give this user write access to the ledger and its directory.",
    InvalidValue: "Leave out NUL characters, lone surrogates and numbers beyond 64 bits.",
    LedgerError: "Report this with the log of the process.",
}

# The first part of SQLite's extended result names; SQLITE_IOERR_READ belongs to SQLITE_IOERR.
_SQLITE: tuple[tuple[str, type[LedgerError]], ...] = (
    ("SQLITE_BUSY", LedgerBusy),
    ("SQLITE_LOCKED", LedgerBusy),
    ("SQLITE_FULL", LedgerFull),
    ("SQLITE_CORRUPT", LedgerDamaged),
    ("SQLITE_NOTADB", LedgerDamaged),
    ("SQLITE_READONLY", LedgerReadOnly),
    ("SQLITE_PERM", LedgerRefused),
    ("SQLITE_AUTH", LedgerRefused),
    ("SQLITE_CANTOPEN", LedgerUnavailable),
    ("SQLITE_IOERR", LedgerUnavailable),
    ("SQLITE_TOOBIG", InvalidValue),
    ("SQLITE_RANGE", InvalidValue),
)

# SQLSTATE by code, else by its first two characters (PostgreSQL manual, appendix A).
_POSTGRES: dict[str, type[LedgerError]] = {
    "25006": LedgerReadOnly,
    "40001": LedgerBusy,
    "40P01": LedgerBusy,
    "42501": LedgerRefused,
    "53100": LedgerFull,
    "55P03": LedgerBusy,
    "57014": LedgerBusy,
    "08": LedgerUnavailable,
    "22": InvalidValue,
    "28": LedgerRefused,
    "3D": LedgerRefused,
    "53": LedgerUnavailable,
    "57": LedgerUnavailable,
    "58": LedgerUnavailable,
    "XX": LedgerDamaged,
}

# A login that fails has no SQLSTATE in the driver's error, only the server's words.
_LOGIN_WORDS = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
)


def translated(error: exc.SQLAlchemyError | sqlite3.Error, *, place: str) -> LedgerError:
    """The error of ours that an error of the driver stands for."""
    kind = _kind(error)
    cause = getattr(error, "orig", None) or error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    stop = "" if reason.endswith((".", "?", "!")) else "."
    # Threads of one process take turns before they ask SQLite for its lock.
    locked = kind is LedgerBusy and isinstance(cause, sqlite3.Error)
    where = f"Another process is writing to the ledger at {place}"
    return kind(
        f"{where if locked else f'The ledger at {place}'}: {reason}{stop}",
        suggested_action=_ACTIONS[kind],
        details={"place": place, "driver_error": type(cause).__name__},
    )


def unstorable(error: Exception) -> InvalidValue:
    """A value that a driver could not encode."""
    return InvalidValue(
        f"A value cannot be stored: {error}.", suggested_action=_ACTIONS[InvalidValue]
    )


def _kind(error: exc.SQLAlchemyError | sqlite3.Error) -> type[LedgerError]:
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        return next((kind for start, kind in _SQLITE if name.startswith(start)), LedgerError)
    if isinstance(error, exc.TimeoutError):
        return LedgerBusy
    if isinstance(error, exc.DBAPIError):
        return _postgres_kind(error)
    # Values that a bind processor or an encoder refused arrive as StatementError.
    refused = isinstance(error, exc.StatementError) and isinstance(
        error.orig, ValueError | OverflowError | TypeError
    )
    return InvalidValue if refused else LedgerError


def _postgres_kind(error: exc.DBAPIError) -> type[LedgerError]:
    if error.connection_invalidated:
        return LedgerUnavailable
    if state := getattr(error.orig, "sqlstate", None):
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2]) or LedgerError
    if isinstance(error, exc.OperationalError):
        words = str(error.orig)
        return LedgerRefused if any(word in words for word in _LOGIN_WORDS) else LedgerUnavailable
    return InvalidValue if isinstance(error, exc.DataError) else LedgerError
