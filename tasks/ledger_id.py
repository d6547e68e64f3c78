"""Which ledger a cluster uses: its UUID, published in Redis by the first worker, checked by all."""

from __future__ import annotations

import json
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger import Ledger
from tasks.errors import BrokerUnavailable, LedgerMismatch
from tasks.settings import Settings

KEY = "honeyflow:ledger"
ANSWER_S = 1.0
"""How long a client that submits for the first time waits for Redis."""


def connect(settings: Settings, *, timeout_s: float = 5.0) -> redis.Redis:
    """A Redis client for the broker's address; it tries each command once.

    Connecting costs more than many commands: whoever asks again and again keeps one.
    """
    url = settings.redis_url.replace("redis+socket://", "unix://")
    once = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(url, socket_timeout=timeout_s, retry=once)


def publish(settings: Settings, ledger: Ledger) -> None:
    """Say which ledger this cluster uses, or refuse to be a second one.

    Raises:
        BrokerUnavailable: Redis does not answer.
        LedgerMismatch: the cluster already uses another ledger.
    """
    with connect(settings) as broker:
        publish_over(broker, settings, ledger)


def publish_over(broker: redis.Redis, settings: Settings, ledger: Ledger) -> None:
    """The same over a connection that is there already."""
    told = json.dumps({"uuid": ledger.uuid, "place": ledger.place})
    try:
        broker.set(KEY, told, nx=True)
        raw: Any = broker.get(KEY)
    except (redis.RedisError, OSError) as error:
        raise away(settings, error) from error
    _compare(raw, ledger)


def check(settings: Settings, ledger: Ledger) -> None:
    """Refuse a ledger that is not the cluster's.

    Raises:
        BrokerUnavailable: Redis does not answer.
        LedgerMismatch: the workers use another ledger; both places are named.
    """
    with connect(settings, timeout_s=ANSWER_S) as broker:
        try:
            raw: Any = broker.get(KEY)
        except (redis.RedisError, OSError) as error:
            raise away(settings, error) from error
    _compare(raw, ledger)


def _compare(raw: bytes | None, ledger: Ledger) -> None:
    if raw is None:
        return
    theirs = json.loads(raw)
    if theirs.get("uuid") != ledger.uuid:
        raise LedgerMismatch(
            f"The workers' ledger is {theirs.get('place')}, this process's is {ledger.place}.",
            details={"workers": theirs.get("place"), "here": ledger.place},
        )


def away(settings: Settings, error: Exception) -> BrokerUnavailable:
    """The error to raise when Redis does not answer; what it says may end with a full stop."""
    return BrokerUnavailable(
        f"Redis at {address(settings)} does not answer: {str(error).rstrip('.')}.",
        details={"address": address(settings)},
    )


def address(settings: Settings) -> str:
    """The broker's address without its password."""
    return shown(settings.redis_url)


def shown(url: str) -> str:
    """An address of Redis without its user and password, wherever they stand in it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.rpartition("@")[2]
    if "socket" in scheme:
        # A path may hold an @ of its own.
        host, slash, path = rest.partition("/")
        rest = f"{host.rpartition('@')[2]}{slash}{path}"
    else:
        # Everything before the last @: a password may hold a slash that nobody has quoted.
        rest = rest.rpartition("@")[2]
    place, _, query = rest.partition("?")
    kept = [part for part in query.split("&") if part and "password" not in part.partition("=")[0]]
    return f"{scheme}{mark}{place}" + (f"?{'&'.join(kept)}" if kept else "")
