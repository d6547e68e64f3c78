"""Refuse a Redis that would lose or evict jobs, at a worker's start."""

from __future__ import annotations

import redis

from monitoring import redis_problems
from tasks import ledger_id
from tasks.errors import BrokerUnsafe
from tasks.settings import Settings


def require_safe(settings: Settings) -> None:
    """Check persistence and eviction policy.

    Raises:
        BrokerUnavailable: Redis does not answer.
        BrokerUnsafe: a setting would lose jobs, unless `unsafe_redis` says that this is meant.
    """
    with ledger_id.connect(settings) as client:
        try:
            problems = redis_problems(client)
        except (redis.RedisError, OSError) as error:
            raise ledger_id.away(settings, error) from error
    if problems and not settings.unsafe_redis:
        first = problems[0]
        raise BrokerUnsafe(first.message, code=first.code, suggested_action=first.suggested_action)
