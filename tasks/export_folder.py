"""The files of an export in a folder: texts for their owner alone, and nothing written over.

A file that is there with the same bytes is as good as written, so that an export can be repeated or
completed. One with other bytes is somebody's, and then nothing is written at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from tasks import regular_files
from tasks.errors import HoneyflowError

PUBLIC, PRIVATE = 0o644, 0o600

_NO_FILE = (errno.ELOOP, errno.ENXIO)


def write(files: Mapping[str, bytes], folder: Path, *, private: Collection[str]) -> list[Path]:
    """Write files into a folder, which is made if need be; those in `private` with mode 0600.

    Raises:
        HoneyflowError: `EXPORT_EXISTS` if a file is there with other bytes, `EXPORT_UNWRITABLE` if
            the folder or a file cannot be written, with the system's reason.
    """
    places = {name: folder / name for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {name for name, file in places.items() if os.path.lexists(file)}
        others = [str(places[name]) for name in there if _differs(places[name], files[name])]
        if others:
            raise HoneyflowError(
                f"There with other bytes: {', '.join(sorted(others))}.",
                code="EXPORT_EXISTS",
                suggested_action="Name another folder, or move those files away.",
                details={"files": sorted(others)},
            )
        for name, data in files.items():
            mode = PRIVATE if name in private else PUBLIC
            if name not in there:
                _create(places[name], data, mode)
            elif mode == PRIVATE:
                # Where it is another's, it is that one's to close.
                with contextlib.suppress(PermissionError):
                    places[name].chmod(PRIVATE)
    except OSError as error:
        raise HoneyflowError(
            f"The files cannot be written to {folder}: {error.strerror}.",
            code="EXPORT_UNWRITABLE",
            suggested_action="Name a folder where there is room and that may be written to.",
            details={"folder": str(folder)},
        ) from error
    return list(places.values())


def _differs(file: Path, data: bytes) -> bool:
    """Whether what is there is not just these bytes; a link to them is not either."""
    try:
        with regular_files.opened(file) as stream:
            return stream.read(len(data) + 1) != data
    except regular_files.NotRegular:
        return True
    except OSError as error:
        if error.errno in _NO_FILE:
            return True
        raise


def _create(file: Path, data: bytes, mode: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
