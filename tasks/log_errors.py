"""What can be wrong with a log of receipts, or with who may write it. Part of `tasks.errors`.

HoneyflowError
└── LogError
    ├── LogInUse              another process signs for this worker
    ├── LogRolledBack         somebody holds more of the log than this ledger does
    ├── LogRenamed            the log was begun under another name of the worker
    ├── LogNotOpen            the log has ended, or its key is revoked
    ├── LogNotFound           no such log, or none of this worker
    ├── LogUnsound            what is stored of the log contradicts itself: nothing is signed
    └── PublishedDiffers      a file that was published has other bytes by now
"""

from __future__ import annotations

from tasks.errors import HoneyflowError


class LogError(HoneyflowError):
    """Something is wrong with a log of receipts."""

    code = "LOG_ERROR"
    http_status = 409
    suggested_action = "Run `honeyflow receipts audit`."


class LogInUse(LogError):
    """Another process signs for this worker."""

    code = "LOG_IN_USE"
    suggested_action = "Stop that process first."


class LogRolledBack(LogError):
    """Somebody holds more of the log than this ledger does."""

    code = "LOG_ROLLED_BACK"
    suggested_action = (
        "Jobs go on and receipts stay signed one by one. Bring the newest ledger back, or begin a "
        "new log with `honeyflow receipts succeed-log`."
    )


class LogRenamed(LogError):
    """The log was begun under another name of the worker."""

    code = "LOG_RENAMED"
    suggested_action = (
        "Set worker_ens back, or begin a new log with `honeyflow receipts succeed-log`."
    )


class LogNotOpen(LogError):
    """The log has ended, or its key is revoked."""

    code = "LOG_NOT_OPEN"
    suggested_action = "Begin a new log with `honeyflow receipts succeed-log`."


class LogNotFound(LogError):
    """No such log, or none of this worker."""

    code = "LOG_NOT_FOUND"
    http_status = 404
    suggested_action = "Look at `honeyflow receipts logs`."


class LogUnsound(LogError):
    """What is stored of the log contradicts itself."""

    code = "LOG_UNSOUND"
    suggested_action = "Nothing was signed. Run `honeyflow receipts audit` to see what is wrong."


class PublishedDiffers(LogError):
    """A file that was published has other bytes by now."""

    code = "PUBLISHED_DIFFERS"
    suggested_action = "Keep both files, and find out who changed the one that was published."
