"""Whether Celery's loop stands still because it waits for the broker, and for nothing else.

kombu asks Redis in the loop itself, where a broker that is cut off costs a timeout per question,
one after the other. Whoever waits so has not hung: each wait has its end, and what runs in the
engine needs no broker. The stack of the main thread tells it, wherever the question came from.
"""

from __future__ import annotations

import sys
import threading


def main_thread_waits() -> bool:
    """Whether the main thread is inside the Redis client now."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("redis."):
            return True
        frame = frame.f_back
    return False
