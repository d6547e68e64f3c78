"""The errors: every fault of a driver has one of ours."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import exc

import ledger
from ledger import errors, faults

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.LedgerError)
]


def driver_error(kind: type[Exception], **attributes: Any) -> Exception:
    """An error as a driver raises it."""
    error = kind("some  words\n of the driver")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class ServerError(Exception):
    """Stands for psycopg's errors, which carry a SQLSTATE."""

    sqlstate: str | None = None


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_and_what_to_do(kind: type[errors.LedgerError]) -> None:
    """Its code is its own, and it is exported and drawn in the tree."""
    error = kind("What.", suggested_action="Do.", details={"n": 1})

    assert (str(error), error.message, error.suggested_action) == ("What.", "What.", "Do.")
    assert error.details == {"n": 1}
    assert error.code == error.code.upper()
    assert [other.code for other in KINDS].count(kind.code) == 1
    assert kind.__name__ in ledger.__all__
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_BUSY", errors.LedgerBusy),
        ("SQLITE_BUSY_SNAPSHOT", errors.LedgerBusy),
        ("SQLITE_FULL", errors.LedgerFull),
        ("SQLITE_CORRUPT_VTAB", errors.LedgerDamaged),
        ("SQLITE_NOTADB", errors.LedgerDamaged),
        ("SQLITE_READONLY_DBMOVED", errors.LedgerReadOnly),
        ("SQLITE_CANTOPEN", errors.LedgerUnavailable),
        ("SQLITE_IOERR_FSYNC", errors.LedgerUnavailable),
        ("SQLITE_CONSTRAINT_TRIGGER", errors.LedgerError),
    ],
)
def test_what_sqlite_says(name: str, kind: type[errors.LedgerError]) -> None:
    """By the name of its result code, raw or wrapped."""
    cause = driver_error(sqlite3.OperationalError, sqlite_errorname=name)
    for error in (cause, exc.OperationalError("statement", {}, cause)):
        told = faults.translated(error, place="here")  # type: ignore[arg-type]
        assert type(told) is kind
        busy = kind is errors.LedgerBusy
        start = "Another process is writing to the ledger" if busy else "The ledger"
        assert str(told) == f"{start} at here: some words of the driver."
        assert told.details == {"place": "here", "driver_error": "OperationalError"}


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40P01", errors.LedgerBusy),
        ("40001", errors.LedgerBusy),
        ("55P03", errors.LedgerBusy),
        ("57014", errors.LedgerBusy),
        ("57P01", errors.LedgerUnavailable),
        ("08006", errors.LedgerUnavailable),
        ("53300", errors.LedgerUnavailable),
        ("53100", errors.LedgerFull),
        ("28P01", errors.LedgerRefused),
        ("3D000", errors.LedgerRefused),
        ("42501", errors.LedgerRefused),
        ("22021", errors.InvalidValue),
        ("25006", errors.LedgerReadOnly),
        ("XX001", errors.LedgerDamaged),
        ("42P01", errors.LedgerError),
    ],
)
def test_what_postgresql_says(state: str, kind: type[errors.LedgerError]) -> None:
    """By its SQLSTATE, or the class of it."""
    cause = driver_error(ServerError, sqlstate=state)
    assert type(faults.translated(exc.DBAPIError("s", {}, cause), place="here")) is kind


def test_what_has_no_code() -> None:
    """A lost connection, a login refused, an exhausted pool, a value that cannot be bound."""
    lost = exc.DBAPIError("s", {}, ServerError("x"), connection_invalidated=True)
    login = exc.OperationalError("s", {}, ServerError("password authentication failed for me"))
    away = exc.OperationalError("s", {}, ServerError("connection refused"))
    unbound = exc.StatementError("x", "s", {}, ValueError("no JSON"))
    told = {
        errors.LedgerUnavailable: (lost, away),
        errors.LedgerRefused: (login,),
        errors.LedgerBusy: (exc.TimeoutError("pool"),),
        errors.InvalidValue: (unbound, exc.DataError("s", {}, ServerError("NUL"))),
        errors.LedgerError: (exc.ArgumentError("a bug"), exc.DBAPIError("s", {}, ServerError("x"))),
    }
    for kind, causes in told.items():
        for cause in causes:
            assert type(faults.translated(cause, place="here")) is kind
