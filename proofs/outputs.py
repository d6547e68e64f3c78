"""What `python -m proofs` tells: lines that only show what is in them, whoever wrote it."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress


def prepare() -> None:
    """Let a terminal that has no such characters show their numbers instead."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Write a line to standard output.

    Raises:
        OSError: It is closed, full, or nobody reads it; also later, from `finish`.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.write(_plain(line) + "\n")


def finish() -> None:
    """Write what is still in memory, so that a fault is known before the exit status is."""
    if sys.stdout is not None:
        sys.stdout.flush()


def complain(text: str) -> None:
    """Write lines to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write("".join(_plain(line) + "\n" for line in text.split("\n")))


def discard() -> None:
    """Let nothing more fail at the end, when Python writes what is left."""
    with suppress(OSError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _plain(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
