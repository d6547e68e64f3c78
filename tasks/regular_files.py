"""Reading a file that may have been replaced by something that is none."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class NotRegular(Exception):
    """It is a pipe, a folder or a device."""


@contextlib.contextmanager
def opened(file: Path, *, follow_links: bool = False) -> Iterator[BinaryIO]:
    """A regular file, open for reading.

    Raises:
        NotRegular: it is something else; nothing was read.
        OSError: it cannot be opened; ELOOP for a link that is not to be followed.
    """
    # Without O_NONBLOCK a pipe in the file's place would be waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(file, flags if follow_links else flags | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotRegular(str(file))
    with os.fdopen(handle, "rb") as stream:
        yield stream
