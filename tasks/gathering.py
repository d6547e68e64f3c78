"""Taking from a queue what waits there, so that one thread does it together."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def gather(
    waiting: queue.SimpleQueue[T], most: int, *, due: Callable[[T], float] | None = None
) -> list[T]:
    """Wait for something, and take all that waits, `most` at most; None, the end, is the last.

    `due` tells until when, on the monotonic clock, something can wait for more to be taken with it;
    without it nothing waits.
    """
    group = [waiting.get()]
    until = math.inf
    while (newest := group[-1]) is not None and len(group) < most:
        until = min(until, due(newest)) if due is not None else 0.0
        try:
            group.append(waiting.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            break
    return group
