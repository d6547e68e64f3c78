"""What can go wrong between a caller and the ledger.

LedgerError
├── LedgerUnavailable          the store does not answer, or the outcome is unknown; try again
│   └── LedgerBusy             another writer holds what this one needs; try again
├── LedgerFull                 the disk under the ledger is full
├── LedgerRefused              the store knows us and says no: password, role, database
├── LedgerDamaged              the file is torn, or is no database at all
├── LedgerGone                 the file was removed or replaced while it was open
├── LedgerReadOnly             the file cannot be written, or a snapshot was asked to write
├── LedgerNotMigrated          no schema, or an older one, and this process may not change it
├── LedgerTooNew               the schema is newer than this program
├── LedgerForeign              the database belongs to another program
├── LedgerOnNetworkFilesystem  SQLite on a network file system
├── LedgerUrlInvalid           not the address of a ledger
├── LedgerDriverMissing        the driver or server is missing or too old
├── InvalidValue               a value that no ledger can hold
├── BodyMissing                the bytes are not, or no longer, stored
├── BodyMismatch               the bytes are not those that their digest names
├── JobConflict                the id is taken by another request
├── IdempotencyConflict        the idempotency key is taken by another request
├── JobInUse                   the job has not ended, or somebody still waits for its answer
├── WorkerIdTaken              another live session has this worker id
├── WorkerAlive                the worker is alive, and so cannot be forgotten
├── IllegalTransition          a move that the published table does not have
└── TransactionTooLarge        more changes in one transaction than can be numbered
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LedgerError(Exception):
    """Something the ledger could not do; `code` is stable, the message is for people."""

    code: ClassVar[str] = "LEDGER_ERROR"
    retriable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        suggested_action: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggested_action = suggested_action
        self.details = dict(details or {})


class LedgerUnavailable(LedgerError):
    """The store does not answer.

    When it happens while a transaction is being committed, whether it was is unknown; every write
    of this package can be done again.
    """

    code = "LEDGER_UNAVAILABLE"
    retriable = True
    http_status = 503


class LedgerBusy(LedgerUnavailable):
    """Another writer holds the lock; nothing of this transaction was written."""

    code = "LEDGER_BUSY"


class LedgerFull(LedgerError):
    """The disk under the ledger is full; nothing of this transaction was written."""

    code = "LEDGER_FULL"
    retriable = True
    http_status = 507


class LedgerRefused(LedgerError):
    """The store refused the login, or lacks the database or the right that was asked for."""

    code = "LEDGER_REFUSED"
    http_status = 503


class LedgerDamaged(LedgerError):
    """The ledger's file is torn, or is not a database."""

    code = "LEDGER_DAMAGED"


class LedgerGone(LedgerError):
    """The ledger's file was removed or replaced while this process had it open."""

    code = "LEDGER_GONE"
    http_status = 503


class LedgerReadOnly(LedgerError):
    """The ledger cannot be written here."""

    code = "LEDGER_READ_ONLY"


class LedgerNotMigrated(LedgerError):
    """There is no schema, or an older one; workers and `honeyflow up` migrate, clients never do."""

    code = "LEDGER_NOT_MIGRATED"
    http_status = 503


class LedgerTooNew(LedgerError):
    """The schema was made by a newer version of this program."""

    code = "LEDGER_TOO_NEW"
    http_status = 503


class LedgerForeign(LedgerError):
    """The database belongs to another program."""

    code = "LEDGER_FOREIGN"


class LedgerOnNetworkFilesystem(LedgerError):
    """SQLite cannot keep its promises on a network file system."""

    code = "LEDGER_ON_NETWORK_FILESYSTEM"


class LedgerUrlInvalid(LedgerError):
    """The address is not that of a ledger."""

    code = "LEDGER_URL_INVALID"


class LedgerDriverMissing(LedgerError):
    """The driver or the server's version cannot carry a ledger."""

    code = "LEDGER_DRIVER_MISSING"


class InvalidValue(LedgerError):
    """A value that no ledger can hold; nothing was written."""

    code = "INVALID_VALUE"
    http_status = 400


class BodyMissing(LedgerError):
    """The bytes are not, or no longer, stored."""

    code = "BODY_MISSING"
    http_status = 404


class BodyMismatch(LedgerError):
    """The bytes are not those that their digest names."""

    code = "BODY_MISMATCH"


class JobConflict(LedgerError):
    """The job id is taken by another request."""

    code = "JOB_CONFLICT"
    http_status = 409


class IdempotencyConflict(LedgerError):
    """The idempotency key is taken by another request."""

    code = "IDEMPOTENCY_CONFLICT"
    http_status = 409


class JobInUse(LedgerError):
    """The job has not ended, or somebody still waits for its answer; nothing was erased."""

    code = "JOB_IN_USE"
    http_status = 409


class WorkerIdTaken(LedgerError):
    """Another live session has this worker id.

    `details` names its session, node, pid, pid_started, pid_namespace, boot_id and the seconds its
    lease still has, so that a worker on the same node can tell whether that process is dead.
    """

    code = "WORKER_ID_TAKEN"
    http_status = 409


class WorkerAlive(LedgerError):
    """A worker that is alive cannot be forgotten."""

    code = "WORKER_ALIVE"
    http_status = 409


class IllegalTransition(LedgerError):
    """A move between two states that the published table does not have."""

    code = "ILLEGAL_TRANSITION"


class TransactionTooLarge(LedgerError):
    """More changes in one transaction than can be numbered."""

    code = "TRANSACTION_TOO_LARGE"
