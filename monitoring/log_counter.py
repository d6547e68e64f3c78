"""How many lines of level error or worse a process has logged.

Workers tell it in their heartbeats. Beat, which sends none, counts it in the ledger, and the
exporter exports its own.
"""

from __future__ import annotations

import logging

BEAT, EXPORTER = "beat", "metrics"
"""What those two are called where others have a worker's name."""

BEAT_ERRORS = "beat.errors"
"""The bookmark whose position is the number of such lines of all beats there ever were."""


class ErrorCounter(logging.Handler):
    """A handler that writes nothing and counts; `count` never falls while the process lives."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.count = 0

    def emit(self, _record: logging.LogRecord) -> None:
        """Count a line; `handle` holds the lock."""
        self.count += 1

    def attach(self, logger: logging.Logger) -> None:
        """Count what this logger gets, once, however often it is asked for."""
        if self not in logger.handlers:
            logger.addHandler(self)
