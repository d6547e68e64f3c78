"""Errors that nobody caught, as lines of the log: of threads, of the interpreter, of the process.

Python writes them past every logger, with their texts, and such texts quote what they choked on. As
lines they hold what others do (see `monitoring.log_words`), and are counted with them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)


def install() -> None:
    """From now on they are logged; for a process whose log is set up, as often as one likes."""
    sys.excepthook = _of_process
    sys.unraisablehook = _of_interpreter
    threading.excepthook = _of_thread


def _of_process(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        # Somebody pressed Ctrl-C: no failure, and no text of anybody's.
        sys.__excepthook__(kind, error, traceback)
        return
    _log(logging.CRITICAL, "%s ends %s: nobody caught it", kind, "the process", error)


def _of_thread(told: threading.ExceptHookArgs) -> None:
    if issubclass(told.exc_type, SystemExit):
        # So a thread may end, says Python.
        return
    name = "a thread" if told.thread is None else f"the thread {told.thread.name}"
    _log(logging.ERROR, "%s ended %s: nobody caught it", told.exc_type, name, told.exc_value)


def _of_interpreter(told: Any) -> None:
    # By its type: what an object says of itself may be anything.
    name = getattr(told.object, "__qualname__", type(told.object).__qualname__)
    _log(logging.ERROR, "%s in %s: nobody can catch it", told.exc_type, name, told.exc_value)


def _log(
    level: int, words: str, kind: type[BaseException], where: str, error: BaseException | None
) -> None:
    """Log an error; if that fails too, say at least which it was."""
    name = kind.__qualname__
    try:
        raised = None if error is None else (kind, error, error.__traceback__)
        logger.log(level, words, name, where, exc_info=raised)
    except Exception:
        with contextlib.suppress(Exception):
            sys.__stderr__.write(f"{words % (name, where)}\n")  # type: ignore[union-attr]
