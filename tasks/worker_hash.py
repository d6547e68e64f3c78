"""What a worker last said of itself as a Redis hash, `worker:<name>`, for people and other tools.

A copy for whoever looks with `redis-cli`: honeyflow itself reads the ledger. A hash is gone a while
after its worker has fallen silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

SHORTEST_TTL_S = 120.0


def key(worker: str) -> str:
    """The name of a worker's hash."""
    return f"worker:{worker}"


def ttl_s(heartbeat_s: float) -> int:
    """How long a hash stays without a heartbeat, in whole seconds."""
    return round(max(4 * heartbeat_s, SHORTEST_TTL_S))


def write(broker: redis.Redis, worker: str, fields: Mapping[str, Any], *, ttl: int) -> None:
    """Replace a worker's hash by these fields, flattened.

    Raises:
        redis.RedisError: and OSError, as its client does.
    """
    flat: Any = flattened(fields)
    with broker.pipeline(transaction=True) as commands:
        commands.delete(key(worker))
        commands.hset(key(worker), mapping=flat)
        commands.expire(key(worker), ttl)
        commands.execute()


def forget(broker: redis.Redis, worker: str) -> None:
    """Remove a worker's hash.

    Raises:
        redis.RedisError: and OSError, as its client does.
    """
    broker.delete(key(worker))


def flattened(fields: Mapping[str, Any]) -> dict[str, str]:
    """One text for each value: `{"host": {"load": 1}}` is `host.load`, a list of texts one line."""
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": text for inner, text in flattened(value).items()}
        elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            flat |= flattened({f"{name}.{place}": part for place, part in enumerate(value)})
        elif isinstance(value, list):
            flat[name] = ",".join(map(str, value))
        elif isinstance(value, bool):
            flat[name] = "1" if value else "0"
        elif value is not None:
            flat[name] = str(value)
    return flat
