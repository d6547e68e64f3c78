"""How many tokens a worker writes in a second, and when it last wrote some, as samples end."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenMeter:
    """Counts on the engine's loop, is read from other threads; `clock` gives monotonic seconds.

    `added_at` is when a sample last ended, in seconds since the epoch; None before the first.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._marked = (clock(), 0)
        self.added_at: float | None = None

    def add(self, tokens: int) -> None:
        """Count the tokens of a sample that has ended."""
        self._total += tokens
        self.added_at = time.time()

    def rate(self) -> float:
        """Tokens per second since the mark."""
        since, before = self._marked
        seconds = self._clock() - since
        return round((self._total - before) / seconds, 1) if seconds > 0 else 0.0

    def mark(self) -> None:
        """Begin to count anew."""
        self._marked = (self._clock(), self._total)
