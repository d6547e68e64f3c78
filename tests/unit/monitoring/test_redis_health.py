"""What makes a Redis server unfit to carry jobs, from what it says about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from monitoring import RedisEvicts, RedisNoAof, RedisTooOld, RedisUnprotected
from monitoring.redis_health import RedisFacts, clock_check, open_at, problems_of, unreachable

FIT = RedisFacts(
    version="7.4.2",
    aof_enabled=True,
    aof_write_ok=True,
    eviction_policy="noeviction",
    memory_used_bytes=1_000_000,
    memory_limit_bytes=0,
    clock_s=1_700_000_000.0,
)


def test_a_persistent_server_that_never_evicts_is_fit() -> None:
    """There is nothing to refuse."""
    assert problems_of(FIT) == []


@pytest.mark.parametrize("version", ["6.0.16", "6.2.14", "7.0", "8.2.1", "10.0.0"])
def test_a_version_that_the_client_can_speak_to_is_fit(version: str) -> None:
    """Versions are compared as numbers: ten is newer than six."""
    assert problems_of(replace(FIT, version=version)) == []


@pytest.mark.parametrize("version", ["5.0.14", "2.8", "", "unstable"])
def test_an_old_or_unknown_version_is_refused(version: str) -> None:
    """With the oldest that will do."""
    (problem,) = problems_of(replace(FIT, version=version))
    assert isinstance(problem, RedisTooOld)
    assert "6.0" in problem.suggested_action


@pytest.mark.parametrize("enabled", [False, None])
def test_a_server_without_an_append_only_file_is_refused(enabled: bool | None) -> None:
    """Also one that does not say whether it has one."""
    (problem,) = problems_of(replace(FIT, aof_enabled=enabled))
    assert isinstance(problem, RedisNoAof)
    assert problem.code == "REDIS_NO_AOF"
    assert "appendonly yes" in problem.suggested_action


def test_a_server_that_cannot_write_its_file_is_refused() -> None:
    """A full disk makes the file worthless although it is switched on."""
    (problem,) = problems_of(replace(FIT, aof_write_ok=False))
    assert problem.code == "REDIS_NO_AOF"
    assert "room" in problem.suggested_action


def test_a_server_that_serves_whoever_asks_is_refused() -> None:
    """With where, and how to mend it."""
    (problem,) = problems_of(replace(FIT, open_at="10.0.0.7"))
    assert isinstance(problem, RedisUnprotected)
    assert "10.0.0.7" in problem.message
    assert "requirepass" in problem.suggested_action


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://127.0.0.1:6379/0", None),
        ("redis://[::1]:6379/0", None),
        ("redis://localhost:6379/0", None),
        ("unix:///run/redis.sock", None),
        ("redis://:secret@192.0.2.7:6379/0", None),
        ("redis://user:secret@192.0.2.7:6379/0", None),
        ("redis://192.0.2.7:6379/0", "192.0.2.7"),
        ("rediss://192.0.2.7:6379/0", "192.0.2.7"),
        ("redis://0.0.0.0:6379/0", "0.0.0.0"),
    ],
)
def test_a_password_is_wanted_where_others_can_reach_it(url: str, where: str | None) -> None:
    """On this machine alone, or behind a password, nobody else can."""
    assert where == open_at(redis.Redis.from_url(url))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", None])
def test_a_server_that_evicts_is_refused(policy: str | None) -> None:
    """Whatever it evicts by."""
    (problem,) = problems_of(replace(FIT, eviction_policy=policy))
    assert isinstance(problem, RedisEvicts)
    assert problem.code == "REDIS_EVICTS"
    assert str(policy) in problem.message


def test_every_problem_is_told() -> None:
    """Mending one must not be the way to learn of the next."""
    worst = replace(FIT, version="4.0", aof_enabled=False, eviction_policy="allkeys-random")
    assert [problem.code for problem in problems_of(worst)] == [
        "REDIS_TOO_OLD",
        "REDIS_NO_AOF",
        "REDIS_EVICTS",
    ]


@pytest.mark.parametrize(
    ("skew", "ok"), [(0.0, True), (-2.0, True), (2.5, False), (-3600.0, False)]
)
def test_a_clock_that_differs_is_a_finding(skew: float, ok: bool) -> None:
    """In either direction, with the difference in seconds."""
    check = clock_check(here_s=1_000.0 + skew, redis_s=1_000.0)
    assert check.ok is ok
    assert check.figures["skew_s"] == skew


def test_a_server_that_does_not_answer_is_named() -> None:
    """With the reason, and the way to start one."""
    error = unreachable("redis://127.0.0.1:1/0", ConnectionError("refused."))
    assert error.message == "Redis at redis://127.0.0.1:1/0 does not answer: refused."
    assert error.retriable
    assert "honeyflow redis start" in error.suggested_action
