"""Files that hold a secret: who may reach them, looked at on what was opened.

A file that holds a key must be a regular file of this very user's, reached through no symbolic
link. What others could read or write is refused, with the command that mends it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from proofs.keys import MAX_PASSPHRASE_BYTES
from tasks import regular_files
from tasks.errors import KeyUnusable

OTHERS = 0o077
OTHERS_WRITE = 0o022

_GROUP_READS = 0o040
_ROOT = 0


def read_passphrase(file: Path) -> bytes:
    """Read a passphrase; a final newline is not part of it.

    The file may be a link, as where secrets are mounted, and may be root's, as systemd hands them
    out; nobody else may be able to read it.

    Raises:
        KeyUnusable: it cannot be read, is open to others, is empty or too long.
    """
    try:
        with file.open("rb") as stream:
            found = os.fstat(stream.fileno())
            data = stream.read(MAX_PASSPHRASE_BYTES + 2)
    except OSError as error:
        raise _unreadable(file, error) from error
    if found.st_uid not in (os.geteuid(), _ROOT):
        _refuse_owner(file, found.st_uid)
    # Of root's files the group may read: that is how systemd lets one service do so.
    forbidden = OTHERS if found.st_uid != _ROOT else OTHERS & ~_GROUP_READS
    if stat.S_IMODE(found.st_mode) & forbidden:
        _refuse_mode(file, found.st_mode)
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(passphrase) <= MAX_PASSPHRASE_BYTES:
        size = "is empty" if not passphrase else f"has more than {MAX_PASSPHRASE_BYTES} bytes"
        raise unusable(file, size, action="Put the passphrase into it, alone.")
    return passphrase


def read_own(file: Path, *, forbidden: int, most: int) -> bytes:
    """The bytes of a regular file of this user's, and at most one byte more than `most`.

    Raises:
        KeyUnusable: it is a link, no regular file, another user's, or has a forbidden mode bit.
    """
    try:
        with regular_files.opened(file) as stream:
            found = os.fstat(stream.fileno())
            if found.st_uid != os.geteuid():
                _refuse_owner(file, found.st_uid)
            if stat.S_IMODE(found.st_mode) & forbidden:
                _refuse_mode(file, found.st_mode)
            return stream.read(most + 1)
    except regular_files.NotRegular as error:
        told = "Put the key's file there."
        raise unusable(file, "is not a regular file", action=told) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise unusable(
                file,
                "is a symbolic link",
                action="Put the key itself there: a link can be turned to another key.",
            ) from error
        raise _unreadable(file, error) from error


def require_safe_folder(folder: Path) -> None:
    """Refuse a folder that others can write: they could put another key in place of this one.

    Raises:
        KeyUnusable: they can, or it is another user's, or not there.
    """
    try:
        found = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    if found.st_uid != os.geteuid():
        _refuse_owner(folder, found.st_uid)
    if stat.S_IMODE(found.st_mode) & OTHERS_WRITE:
        raise unusable(
            folder,
            f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})",
            action=f"chmod 700 {folder}",
        )


def _refuse_owner(file: Path, owner: int) -> NoReturn:
    raise unusable(
        file,
        f"belongs to user {owner}, and this process runs as {os.geteuid()}",
        action=f"chown {os.geteuid()} {file}, or run as its owner.",
    )


def _refuse_mode(file: Path, mode: int) -> NoReturn:
    raise unusable(
        file,
        f"is open to others (mode {stat.S_IMODE(mode):04o})",
        action=f"chmod 600 {file}, and make a new key if somebody may have read it.",
    )


def _unreadable(file: Path, error: OSError) -> KeyUnusable:
    return unusable(
        file,
        f"cannot be read: {error.strerror}",
        action="Check that it is there and that this user may read it.",
    )


def unusable(file: Path, reason: str, *, action: str) -> KeyUnusable:
    """The error for a file, with what to do about it."""
    return KeyUnusable(f"{file} {reason}.", suggested_action=action, details={"path": str(file)})
