"""Logs that nobody goes on with: those of workers that are gone, or have lost their key folder."""

from __future__ import annotations

from collections.abc import Sequence

from ledger import LogRow, LogState, Transaction, log_entries, logs, receipts, sessions
from ledger.log_entries import OF_ONE_LOG
from proofs.origin import principal_of
from tasks.carrying import OPERATOR
from tasks.errors import KeyUnusable
from tasks.key_folder import path_of, read_log
from tasks.log_errors import LogInUse, LogNotFound
from tasks.settings import Settings


def left(tx: Transaction, settings: Settings, worker: str, *, named: str | None) -> list[LogRow]:
    """The logs of a worker that are to be closed for it, oldest first; of one `named`, that one.

    Not among them is a log that its worker goes on with: the one that its key folder names, unless
    that is `named` and the worker does not run.

    Raises:
        LogNotFound: the worker has no log, or not that one.
        LogInUse: it goes on with all that is left.
    """
    every = logs.list(tx)
    own = [log for log in every if log.worker == worker != OPERATOR]
    if not own:
        raise LogNotFound(f"{worker} has no log.", details={"worker": worker})
    wanted = [log for log in own if named in (None, log.origin, log.log_id)]
    if not wanted:
        raise LogNotFound(f"{worker} has no log {named!r}.", details={"worker": worker})
    alive = any(session.worker == worker for session in sessions.live(tx))
    current = in_folder(settings, worker) or (own[-1].log_id if alive else None)
    found = [log for log in wanted if _is_left(tx, log, every)]
    if named is not None and not alive:
        return found
    others = [log for log in found if log.log_id != current]
    if found and not others:
        raise _in_use(found[-1], alive=alive)
    return others


def in_folder(settings: Settings, worker: str) -> str | None:
    """The id of the log that a worker's key folder names, if it names one."""
    try:
        name = read_log(path_of(settings.keys_dir, worker))
    except KeyUnusable:
        return None
    return None if name is None else name.log_id


def half_closed(log: LogRow, every: Sequence[LogRow]) -> bool:
    """Whether somebody has begun to close a log for its worker, and was stopped."""
    return any(
        other.worker == OPERATOR and other.state == LogState.OPEN
        for other in _successors(log, every)
    )


def _is_left(tx: Transaction, log: LogRow, every: Sequence[LogRow]) -> bool:
    if any(other.worker != OPERATOR for other in _successors(log, every)):
        return False
    if half_closed(log, every) or (log.state != LogState.CLOSED and not _successors(log, every)):
        return True
    # Closed before, and signed for since.
    waiting = [row for row in log_entries.unlogged(tx, log.number) if row.type != OF_ONE_LOG]
    begun = receipts.orphans(tx, log, 1) or log_entries.orphans(tx, log, 1)
    return bool(waiting or begun or receipts.waiting(tx, log.number))


def _successors(log: LogRow, every: Sequence[LogRow]) -> list[LogRow]:
    """The logs that go on with its receipts, which only one of the same name does."""
    name = principal_of(log.origin)
    return [
        other
        for other in every
        if other.predecessor == log.origin and principal_of(other.origin) == name
    ]


def _in_use(log: LogRow, *, alive: bool) -> LogInUse:
    details = {"worker": log.worker, "origin": log.origin}
    if alive:
        return LogInUse(f"{log.worker} is alive, and goes on with {log.origin}.", details=details)
    return LogInUse(
        f"{log.worker} is stopped, and its key folder names {log.origin}: it goes on with that log "
        "when it starts.",
        suggested_action="Start it. If it never will, close that log with "
        f"`honeyflow receipts adopt {log.worker} --log {log.origin}`.",
        details=details,
    )
