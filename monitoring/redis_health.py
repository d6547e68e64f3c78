"""Whether a Redis server is fit to carry jobs: persistent, never evicting, guarded, not full.

Who may use it shows in how it was reached. All else comes from INFO, which managed services answer
too, where CONFIG is forbidden. Sources: the Redis documentation of INFO, "Redis persistence" and
"Key eviction".
"""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import Any

import redis

from monitoring.checks import Check, readable_size
from monitoring.errors import (
    BrokerUnfit,
    RedisEvicts,
    RedisNoAof,
    RedisTooOld,
    RedisUnprotected,
    RedisUnreachable,
)

OLDEST = (6, 0)
"""The first with RESP3 and access lists, which the client speaks."""

_NEVER_EVICTS = "noeviction"
_FULL_RATIO = 0.95
_NEARLY_FULL_RATIO = 0.8
_CLOCK_SKEW_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """What a server says about itself, None where it says nothing; a memory limit of 0 is none."""

    version: str
    aof_enabled: bool | None
    aof_write_ok: bool | None
    eviction_policy: str | None
    memory_used_bytes: int | None
    memory_limit_bytes: int | None
    clock_s: float
    open_at: str | None = None
    """The address beyond this machine at which it serves whoever asks, without a password."""


def read_facts(client: redis.Redis) -> RedisFacts:
    """Ask the server about itself.

    Raises:
        redis.RedisError: if it does not answer, or not to this user.
    """
    told: dict[str, Any] = {}
    for section in ("server", "persistence", "memory"):
        told.update(client.info(section))
    seconds, microseconds = client.time()
    aof, written = told.get("aof_enabled"), told.get("aof_last_write_status")
    return RedisFacts(
        version=str(told.get("redis_version", "")),
        aof_enabled=None if aof is None else bool(aof),
        aof_write_ok=None if written is None else written == "ok",
        eviction_policy=told.get("maxmemory_policy"),
        memory_used_bytes=told.get("used_memory"),
        memory_limit_bytes=told.get("maxmemory"),
        clock_s=seconds + microseconds / 1e6,
        open_at=open_at(client),
    )


def redis_problems(client: redis.Redis) -> list[BrokerUnfit]:
    """Return why this server must not carry jobs, worst first; empty if it may.

    Raises:
        redis.RedisError: if it does not answer, or not to this user.
    """
    return problems_of(read_facts(client))


def problems_of(facts: RedisFacts) -> list[BrokerUnfit]:
    """Return why a server of which these are the facts must not carry jobs."""
    found = (_age(facts), _persistence(facts), _eviction(facts), _guard(facts))
    return [problem for problem in found if problem is not None]


def redis_checks(client: redis.Redis, *, address: str, now_s: float | None = None) -> list[Check]:
    """Return the findings about the server; one that does not answer is one finding.

    Args:
        client: how to reach it.
        address: its name for people, without a password.
        now_s: this machine's time in seconds since 1970; read from its clock if left out.
    """
    try:
        facts = read_facts(client)
    except (redis.RedisError, OSError) as error:
        return [_failed("redis", unreachable(address, error))]
    now = time.time() if now_s is None else now_s
    return [
        Check(
            name="redis",
            ok=True,
            message=f"Redis {facts.version} answers at {address}.",
            figures={"address": address, "version": facts.version},
        ),
        *([_failed("redis version", old)] if (old := _age(facts)) else []),
        _persistence_check(facts),
        _eviction_check(facts),
        _guard_check(facts),
        _memory_check(facts),
        clock_check(here_s=now, redis_s=facts.clock_s),
    ]


def unreachable(address: str, error: Exception) -> RedisUnreachable:
    """Return the error for a server that does not answer."""
    return RedisUnreachable(
        f"Redis at {address} does not answer: {str(error).rstrip('.')}.",
        suggested_action=(
            "Start it (`honeyflow redis start` starts one of your own), or set HONEYFLOW_REDIS_URL "
            "to the right address."
        ),
        details={"address": address},
    )


def clock_check(*, here_s: float, redis_s: float) -> Check:
    """Return whether this machine and the Redis server agree about the time."""
    skew = here_s - redis_s
    figures = {"skew_s": round(skew, 3), "limit_s": _CLOCK_SKEW_S}
    if abs(skew) <= _CLOCK_SKEW_S:
        message = f"The clock agrees with that of Redis ({skew:+.1f} s)."
        return Check(name="clock", ok=True, message=message, figures=figures)
    return Check(
        name="clock",
        ok=False,
        message=f"The clock differs from that of Redis by {skew:+.1f} s; deadlines would be wrong.",
        how_to_mend="Switch time synchronisation on, on both machines: `timedatectl set-ntp true`.",
        figures=figures,
    )


def _age(facts: RedisFacts) -> RedisTooOld | None:
    numbers = [int(part) for part in facts.version.split(".")[:2] if part.isdecimal()]
    if tuple(numbers) >= OLDEST:
        return None
    oldest = ".".join(map(str, OLDEST))
    return RedisTooOld(
        f"Redis is of version {facts.version or 'unknown'}; {oldest} is the oldest that will do.",
        suggested_action=f"Upgrade it to {oldest} or later.",
        details={"version": facts.version, "oldest": oldest},
    )


def _persistence(facts: RedisFacts) -> RedisNoAof | None:
    details = {"aof_enabled": facts.aof_enabled, "aof_write_ok": facts.aof_write_ok}
    if not facts.aof_enabled:
        return RedisNoAof(
            "Redis writes no append-only file: a restart would forget every message.",
            suggested_action=(
                "Set `appendonly yes` in redis.conf; on a running server `redis-cli config set "
                "appendonly yes`, then `redis-cli config rewrite`."
            ),
            details=details,
        )
    if facts.aof_write_ok is False:
        return RedisNoAof(
            "Redis cannot write its append-only file.",
            suggested_action="Make room on the disk of Redis, and look into its log.",
            details=details,
        )
    return None


def _eviction(facts: RedisFacts) -> RedisEvicts | None:
    if facts.eviction_policy == _NEVER_EVICTS:
        return None
    return RedisEvicts(
        f"Redis drops data when its memory is full (maxmemory-policy {facts.eviction_policy}).",
        suggested_action=(
            "Set `maxmemory-policy noeviction` in redis.conf; on a running server `redis-cli "
            "config set maxmemory-policy noeviction`, then `redis-cli config rewrite`."
        ),
        details={"maxmemory_policy": facts.eviction_policy},
    )


def open_at(client: redis.Redis) -> str | None:
    """Where a server that has just answered without a password can be reached by others."""
    reached: dict[str, Any] = client.get_connection_kwargs()
    host = reached.get("host")
    if host is None or reached.get("password") or reached.get("credential_provider"):
        return None
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return None
    return None if all(ipaddress.ip_address(one).is_loopback for one in found) else str(host)


def _guard(facts: RedisFacts) -> RedisUnprotected | None:
    if facts.open_at is None:
        return None
    return RedisUnprotected(
        f"Redis at {facts.open_at} serves whoever can reach it: it asks for no password.",
        suggested_action=(
            "Set `requirepass` in redis.conf and give the password in HONEYFLOW_REDIS_URL "
            "(redis://:password@host:6379/0)."
        ),
        details={"host": facts.open_at},
    )


def _persistence_check(facts: RedisFacts) -> Check:
    problem = _persistence(facts)
    if problem is not None:
        return _failed("redis persistence", problem)
    return Check(name="redis persistence", ok=True, message="Redis writes an append-only file.")


def _eviction_check(facts: RedisFacts) -> Check:
    problem = _eviction(facts)
    if problem is not None:
        return _failed("redis eviction", problem)
    return Check(name="redis eviction", ok=True, message="Redis never drops data (noeviction).")


def _guard_check(facts: RedisFacts) -> Check:
    problem = _guard(facts)
    if problem is not None:
        return _failed("redis password", problem)
    message = "Redis asks for a password, or is reached on this machine alone."
    return Check(name="redis password", ok=True, message=message)


def _memory_check(facts: RedisFacts) -> Check:
    used, limit = facts.memory_used_bytes, facts.memory_limit_bytes
    figures = {"used_bytes": used, "limit_bytes": limit}
    if used is None:
        message = "Redis does not say how much memory it uses."
        return Check(name="redis memory", ok=None, message=message, figures=figures)
    if not limit:
        message = f"Redis uses {readable_size(used)} of memory and has no limit of its own."
        return Check(name="redis memory", ok=True, message=message, figures=figures)
    ratio = used / limit
    room = ratio < _NEARLY_FULL_RATIO
    return Check(
        name="redis memory",
        ok=True if room else (False if ratio >= _FULL_RATIO else None),
        message=(
            f"Redis uses {readable_size(used)} of at most {readable_size(limit)} of memory "
            f"({ratio:.0%})."
        ),
        how_to_mend="" if room else "Raise `maxmemory`: a full Redis refuses every submission.",
        figures=figures,
    )


def _failed(name: str, problem: BrokerUnfit) -> Check:
    return Check(
        name=name,
        ok=False,
        message=problem.message,
        how_to_mend=problem.suggested_action,
        figures={"code": problem.code, **problem.details},
    )
