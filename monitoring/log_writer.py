"""Writing what a process logs: many lines in one write, so that no job waits for a file.

Each write lets go of the interpreter's lock, and the thread that logged has to wait until it comes
round again: in a worker with several busy threads that takes longer than the line. So a line is
made where it is logged, with what is known there, and written by a thread a little later, with all
others since. A warning, or worse, is written at once, and whatever was waiting before it: nothing
that tells of trouble is lost with a process that is killed, and the order stays.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections import deque
from operator import itemgetter
from typing import Any, TypeAlias

WITHIN_S = 0.05
"""How long a line may wait, in seconds."""
MOST = 1_000
"""How many lines may wait; whoever logs one more writes them."""

_Target: TypeAlias = "logging.StreamHandler[Any]"


class _Bare(logging.Formatter):
    """Leaves a record as it is: its lines are made already."""

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg)


class LineWriter:
    """The lines of a process that wait to be written, in their order, and the thread for them."""

    def __init__(self) -> None:
        self._lines: deque[tuple[_Target, str]] = deque()
        self._begin()

    def add(self, target: _Target, line: str, *, at_once: bool) -> None:
        """Leave a line to the thread; `at_once` it is on its way when this returns."""
        self._lines.append((target, line))
        if at_once or len(self._lines) > MOST:
            self.flush()
        elif not self._some.is_set():
            self._some.set()
            self._start()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            for target, lines in itertools.groupby(waiting, key=itemgetter(0)):
                text = target.terminator.join(line for _, line in lines)
                target.handle(logging.makeLogRecord({"msg": text}))

    def forget(self) -> None:
        """In a child: what waits is the parent's to write, and so is its thread."""
        self._lines.clear()
        self._begin()

    def _begin(self) -> None:
        self._some = threading.Event()
        self._writing = threading.RLock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        never = threading.Event()
        while True:
            self._some.wait()
            never.wait(WITHIN_S)
            self._some.clear()
            # A handler tells its own errors; of others the next line may be written all the same.
            with contextlib.suppress(Exception):
                self.flush()


_writer = LineWriter()
os.register_at_fork(after_in_child=_writer.forget)


class TogetherHandler(logging.Handler):
    """Makes the lines of another handler, and has them written together."""

    def __init__(self, target: _Target) -> None:
        super().__init__(target.level)
        self.setFormatter(target.formatter)
        self.filters, target.filters = target.filters, []
        self.target = target
        target.setFormatter(_Bare())
        target.setLevel(logging.NOTSET)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """None is needed: whoever waited for it would wait for a write."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Make the line and leave it to the thread, unless it tells of trouble."""
        try:
            line = self.format(record)
            _writer.add(self.target, line, at_once=record.levelno >= logging.WARNING)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        _writer.flush()

    def close(self) -> None:
        """Write what waits and close the other handler."""
        _writer.flush()
        self.target.close()
        super().close()


def write_together(logger: logging.Logger) -> None:
    """Have the lines of a logger's handlers written together; of those that write to streams."""
    for place, handler in enumerate(logger.handlers):
        if isinstance(handler, logging.StreamHandler):
            logger.handlers[place] = TogetherHandler(handler)
