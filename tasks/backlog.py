"""How much waits in the broker."""

from __future__ import annotations

from collections.abc import Iterable

import redis


def length(broker: redis.Redis, keys: Iterable[str]) -> int:
    """How many messages these lists hold together, asked in one round trip.

    Raises:
        redis.RedisError, OSError: the broker is away.
    """
    with broker.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.llen(key)
        return sum(pipe.execute())
