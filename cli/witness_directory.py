"""The directory of one witness: its key, its name, and what it has cosigned.

    lock            held (flock) by the process that runs
    witness_key     the private key, in OpenSSH's form, for its owner alone
    vkey            the public key with the witness's name, in one line
    logs/HASH       the newest checkpoint cosigned of the log whose origin has this SHA-256
    forks/HASH.*    the first two checkpoints with which a log contradicted itself

A checkpoint is written beside, fsynced and renamed, so that a file holds the old one or the new.
Whoever deletes a file in `logs` lets that log show another history; a file that cannot be read is
therefore refused, never taken for none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from proofs.checkpoint import Checkpoint, witness_vkey
from proofs.errors import ProofError
from proofs.keys import MAX_KEY_FILE_BYTES, PrivateKey
from proofs.note import Note, VerifierKey
from proofs.witness import Accept
from tasks import durable_files
from tasks.errors import HoneyflowError
from tasks.secret_files import OTHERS, read_own

PRIVATE = 0o600
MAX_STATE_BYTES = 256 * 1024


class WitnessUnusable(HoneyflowError):
    """The witness cannot run like this."""

    code = "WITNESS_UNUSABLE"
    suggested_action = "Correct what is named, and start the witness again."


class WitnessDirectory:
    """The files of one witness, held by this process from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._logs = self.path / "logs"
        self._forks = self.path / "forks"
        self._key = self.path / "witness_key"
        self._vkey = self.path / "vkey"
        self._lock: int | None = None

    def open(self) -> None:
        """Create the directory where there is none, and take its lock.

        Raises:
            WitnessUnusable: It cannot be written, or a witness runs on it.
        """
        try:
            for path in (self.path, self._logs, self._forks):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise WitnessUnusable(
                f"A witness runs on {self.path} already.",
                code="WITNESS_RUNNING",
                suggested_action="Stop it first, or give this one a --dir of its own.",
                details={"directory": str(self.path)},
            ) from error
        self._lock = descriptor
        for path in (self.path, self._logs, self._forks):
            durable_files.sweep(path)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def identity(
        self, name: str | None, *, default_name: Callable[[], str]
    ) -> tuple[PrivateKey, VerifierKey]:
        """Read the witness's key and name; make both if it has neither yet.

        Raises:
            WitnessUnusable: A file is missing or damaged, or the name is another one.
            KeyUnusable: Others may reach the key, or it is not this user's.
        """
        if not self._key.exists() and self._vkey.exists():
            raise self._damaged(self._key, "it is missing, while the witness has a name")
        if not self._key.exists():
            self._make(self._key, PrivateKey.generate().to_openssh())
        key = self._read_key()
        if not self._vkey.exists():
            made = _named(key, name or default_name())
            self._make(self._vkey, f"{made.text}\n".encode())
        told = self._read_vkey()
        if told.public_key != key.public_key.raw or told.text != _named(key, told.name).text:
            raise self._damaged(self._vkey, "it is not the public key of witness_key")
        if name is not None and name != told.name:
            raise WitnessUnusable(
                f"This witness is called {told.name}, not {name}.",
                code="WITNESS_NAME_TAKEN",
                suggested_action="Leave --name out, or make another witness in another --dir.",
                details={"directory": str(self.path), "name": told.name},
            )
        return key, told

    def newest(self, origin: str) -> tuple[Checkpoint, Note] | None:
        """Return the checkpoint of a log that was cosigned last, with the log's signatures.

        Raises:
            WitnessUnusable: Its file cannot be read, or is of another log.
        """
        path = self._logs / _file_name(origin)
        data = self._read(path)
        if data is None:
            return None
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.from_note(note)
        except ProofError as error:
            raise self._damaged(path, error.message) from error
        if checkpoint.origin != origin:
            raise self._damaged(path, f"it is of the log {checkpoint.origin}, not of {origin}")
        return checkpoint, note

    def store(self, accepted: Accept) -> None:
        """Make a checkpoint the newest of its log, for good, before this returns.

        Raises:
            OSError: It is not known to be on the disk; it must not be cosigned.
        """
        file = self._logs / _file_name(accepted.checkpoint.origin)
        durable_files.replace(file, accepted.note.to_bytes(), mode=PRIVATE)

    def keep_fork(self, origin: str, *, held: Note, shown: Note) -> Path:
        """Keep the first two checkpoints with which a log contradicts itself; gives their place.

        Raises:
            OSError: They could not be written.
        """
        name = _file_name(origin)
        path = self._forks / f"{name}.shown"
        if not path.exists():
            for file, note in ((path.with_suffix(".held"), held), (path, shown)):
                durable_files.replace(file, note.to_bytes(), mode=PRIVATE)
        return path

    def _read_key(self) -> PrivateKey:
        data = read_own(self._key, forbidden=OTHERS, most=MAX_KEY_FILE_BYTES)
        try:
            return PrivateKey.from_openssh(data)
        except ProofError as error:
            raise self._damaged(self._key, error.message) from error

    def _read_vkey(self) -> VerifierKey:
        try:
            return VerifierKey.parse((self._read(self._vkey) or b"").decode("utf-8").strip())
        except (ProofError, UnicodeDecodeError) as error:
            raise self._damaged(self._vkey, str(error)) from error

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(MAX_STATE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._damaged(path, error.strerror or str(error)) from error

    def _make(self, path: Path, data: bytes) -> None:
        try:
            durable_files.replace(path, data, mode=PRIVATE)
        except OSError as error:
            raise self._unwritable(error) from error

    def _damaged(self, path: Path, reason: str) -> WitnessUnusable:
        return WitnessUnusable(
            f"{path} cannot be used: {reason}.",
            code="WITNESS_STATE_DAMAGED",
            suggested_action="Put the file back as it was; without it the witness must not go on.",
            details={"file": str(path)},
        )

    def _unwritable(self, error: OSError) -> WitnessUnusable:
        return WitnessUnusable(
            f"{self.path} cannot hold a witness's files: {error.strerror or error}.",
            suggested_action="Choose a directory on a local disk that this user can write.",
            details={"directory": str(self.path), "errno": error.errno},
        )


def _named(key: PrivateKey, name: str) -> VerifierKey:
    try:
        return witness_vkey(name, key.public_key)
    except ProofError as error:
        raise WitnessUnusable(
            f"{name!r:.80} cannot be a witness's name: {error.message}.",
            code="WITNESS_NAME_INVALID",
            suggested_action="Name it like a URL without scheme: --name friend.example/witness.",
        ) from error


def _file_name(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()
