"""The folder that a worker's key lies in, with what belongs to it: its log's id, its newest head.

    <keys_dir>/<worker>/bee_key, bee_key.pub   the key (`tasks.bee_key`)
                        next/                  the key that follows it, while it is handed over
                        log.json               the log that the key signs, made once
                        checkpoint             the newest signed head of that log
                        lock                   held by the one process that may sign

The head is kept here as well as in the ledger: a ledger that was restored from a backup is known by
it. No process can sign twice for one log on one machine, whatever ledger it uses.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psutil

from proofs import ProofError
from proofs.entry import LogCloseEntry
from proofs.origin import make_origin, require_origin
from tasks import durable_files, keeper
from tasks.errors import KeyUnusable
from tasks.log_errors import LogInUse

LOCK_FILE = "lock"
LOG_FILE = "log.json"
CHECKPOINT_FILE = "checkpoint"
NEXT = "next"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogName:
    """A log's id and its origin; `closes` is the entry with which it takes another log's place."""

    log_id: str
    origin: str
    closes: LogCloseEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The last known head of a log whose place another one takes, and why."""

    origin: str
    size: int
    root: bytes
    reason: str
    timestamp: str

    def entry(self, *, successor: str) -> LogCloseEntry:
        """The entry that says so."""
        return LogCloseEntry(
            origin=self.origin,
            tree_size=self.size,
            root_hash="sha256:" + self.root.hex(),
            successor=successor,
            reason=self.reason,
            timestamp=self.timestamp,
        )


class KeyFolder:
    """A worker's key folder; `lock` is held until `close`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def open(cls, keys_dir: Path, worker: str, *, ledger: str = "") -> Self:
        """Take a worker's folder, made where there is none.

        `ledger` is given by a process that has the worker's session in the ledger of that UUID: it
        may take the folder from one that has lost it there and stands still, stopped.

        Raises:
            LogInUse: another process has it.
            KeyUnusable: it cannot be made or written.
        """
        path = path_of(keys_dir, worker)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _locked(path / LOCK_FILE)
            if lock is None and ledger and _is_stopped(path / LOCK_FILE, ledger):
                (path / LOCK_FILE).unlink()
                lock = _locked(path / LOCK_FILE)
            if lock is not None:
                os.ftruncate(lock, 0)
                os.write(lock, json.dumps(_holder(ledger)).encode())
        except OSError as error:
            raise KeyUnusable(
                f"The key folder {path} cannot be used: {error.strerror}.",
                suggested_action="Make room there or let this user own it, or name another with "
                "keys_dir.",
                details={"path": str(path)},
            ) from error
        if lock is None:
            raise LogInUse(
                f"Another process signs for {worker}: it holds {path / LOCK_FILE}.",
                suggested_action=f"Stop the worker {worker} first, or give this one another name.",
                details={"worker": worker, "path": str(path)},
            )
        durable_files.sweep(path)
        return cls(path, lock)

    def close(self) -> None:
        """Let go of it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, worker_name: str, closes: Closing | None = None) -> LogName:
        """The log that this key signs; it gets its id the first time that it is asked for.

        `closes` is only for a log that is named now.

        Raises:
            KeyUnusable: the file that names it is damaged.
        """
        return read_log(self.path) or self.begin_log(worker_name, closes)

    def begin_log(self, worker_name: str, closes: Closing | None = None) -> LogName:
        """Name a new log, in place of the one before, which is closed if `closes` says where."""
        log_id = str(uuid.uuid4())
        origin = make_origin(worker_name, log_id)
        entry = None if closes is None else closes.entry(successor=origin)
        name = LogName(log_id=log_id, origin=origin, closes=entry)
        told = {
            "log_id": log_id,
            "origin": origin,
            "closes": None if entry is None else entry.to_bytes().decode(),
        }
        durable_files.replace(self.path / LOG_FILE, json.dumps(told, indent=2).encode() + b"\n")
        return name

    def checkpoint(self) -> bytes | None:
        """The newest head that was signed here."""
        try:
            return (self.path / CHECKPOINT_FILE).read_bytes()
        except FileNotFoundError:
            return None

    def keep_checkpoint(self, data: bytes) -> None:
        """Put down the newest head."""
        durable_files.replace(self.path / CHECKPOINT_FILE, data)


def _holder(ledger: str) -> dict[str, Any]:
    """Who holds a folder: a process, told from others of its number, and its ledger."""
    return {
        "ledger": ledger,
        "pid": os.getpid(),
        "started": keeper.started(os.getpid()),
        "boot": keeper.boot_id(),
        "namespace": keeper.pid_namespace(),
    }


def _is_stopped(file: Path, ledger: str) -> bool:
    """Whether the holder is a process of this ledger that was stopped, and runs nothing."""
    try:
        told = json.loads(file.read_bytes())
        pid = int(told["pid"])
        same = told == {**_holder(ledger), "pid": pid, "started": keeper.started(pid)}
        return same and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False


def _locked(file: Path) -> int | None:
    """The file, open and locked; None if somebody else has locked it."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def path_of(keys_dir: Path, worker: str) -> Path:
    """A worker's key folder; no name of a worker leads out of `keys_dir`."""
    name = quote(worker, safe="@")
    return keys_dir / (name if name.strip(".") else quote(name).replace(".", "%2E"))


def read_log(path: Path) -> LogName | None:
    """The log that a key folder names, if it names one.

    Raises:
        KeyUnusable: the file is damaged.
    """
    file = path / LOG_FILE
    try:
        told: Any = json.loads(file.read_bytes())
        closes = told.get("closes")
        name = LogName(
            log_id=str(told["log_id"]),
            origin=require_origin(told["origin"]),
            closes=None if closes is None else LogCloseEntry.from_bytes(closes.encode()),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ProofError) as error:
        raise KeyUnusable(
            f"{file} does not name a log: {error}.",
            suggested_action="Restore it from a backup; or take the folder away: the worker then "
            "makes a new key and log, and `honeyflow receipts adopt` closes the old one.",
            details={"path": str(file)},
        ) from error
    return name
