"""Files that are there as a whole or not at all, and on the disk when the call returns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".tmp"


def replace(file: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put a file in place of the one before: whoever reads sees one of the two."""
    with _written(file, data, mode) as temporary:
        temporary.replace(file)


def write_once(file: Path, data: bytes, *, mode: int = 0o644) -> bool:
    """Put a file where there is none; false, and nothing changed, if one is there with other bytes.

    A file that is there with the same bytes is as good as written.
    """
    with _written(file, data, mode) as temporary:
        try:
            # Unlike a rename, a link never takes the place of a file that is there.
            file.hardlink_to(temporary)
        except FileExistsError:
            return file.read_bytes() == data
    return True


def sweep(folder: Path) -> None:
    """Delete what a process that died has left half written."""
    for left in folder.glob(f"*{SUFFIX}"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def _written(file: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A file beside `file` with the bytes on the disk; what becomes of it is there afterwards."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}{SUFFIX}")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
