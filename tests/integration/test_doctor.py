"""The doctor's look at a real Redis server and a real ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger import Ledger
from monitoring import redis_checks, redis_problems
from monitoring.checks import Check
from monitoring.doctor import examine
from tasks.redis_server import RedisServer


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """A client of an embedded server."""
    server = RedisServer(directory=tmp_path / "redis")
    started = server.start()
    with contextlib.closing(redis.Redis.from_url(started.address.client_url)) as client:
        yield client
    server.stop()


def by_name(checks: list[Check]) -> dict[str, Check]:
    """The findings by what they are about."""
    return {check.name: check for check in checks}


def test_the_embedded_server_is_fit(client: redis.Redis) -> None:
    """The default set-up passes its own check."""
    assert redis_problems(client) == []
    assert {check.ok for check in redis_checks(client, address="here")} == {True}


def test_persistence_switched_off_is_refused(client: redis.Redis) -> None:
    """On a running server, as it is there and not as its file says."""
    client.config_set("appendonly", "no")
    assert [problem.code for problem in redis_problems(client)] == ["REDIS_NO_AOF"]
    assert by_name(redis_checks(client, address="here"))["redis persistence"].ok is False


def test_an_evicting_policy_is_refused(client: redis.Redis) -> None:
    """With the policy and the command that mends it."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    (problem,) = redis_problems(client)
    assert problem.code == "REDIS_EVICTS"
    assert problem.details == {"maxmemory_policy": "allkeys-lru"}
    check = by_name(redis_checks(client, address="here"))["redis eviction"]
    assert check.ok is False
    assert "config set maxmemory-policy noeviction" in check.how_to_mend


def test_a_server_that_forbids_config_can_be_judged(client: redis.Redis) -> None:
    """Managed services answer INFO and refuse CONFIG."""
    client.acl_setuser(
        "guest", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"]
    )
    client.execute_command("AUTH", "guest", "x")
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.config_get("appendonly")
    assert redis_problems(client) == []


@pytest.mark.parametrize(("ratio", "ok"), [(1.02, False), (1.15, None), (4.0, True)])
def test_memory_near_its_limit_is_told(client: redis.Redis, ratio: float, ok: bool | None) -> None:
    """A full server refuses every submission, so it is told before."""
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used * ratio))
    assert by_name(redis_checks(client, address="here"))["redis memory"].ok is ok


def test_a_server_that_does_not_answer_is_one_finding(tmp_path: Path) -> None:
    """With its address and how to start one."""
    absent = redis.Redis(
        unix_socket_path=str(tmp_path / "absent.sock"), retry=Retry(NoBackoff(), 0)
    )
    (check,) = redis_checks(absent, address="redis+socket:///absent.sock")
    assert check.ok is False
    assert check.figures["code"] == "REDIS_UNREACHABLE"
    assert "redis+socket:///absent.sock" in check.message


def test_a_machine_is_examined_from_broker_to_key(client: redis.Redis, tmp_path: Path) -> None:
    """Every part has a finding, in the order in which it would have to be mended."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url, migrate=True).close()
    found = examine(redis_client=client, redis_address="here", ledger_url=url, data_dir=tmp_path)
    assert [check.name for check in found] == [
        "redis",
        "redis persistence",
        "redis eviction",
        "redis password",
        "redis memory",
        "clock",
        "ledger",
        "disk",
        "memory",
        "engine",
        "gpu",
        "key",
    ]
    checks = by_name(found)
    assert checks["ledger"].ok is True
    assert checks["key"].ok is None
    assert all(check.message for check in found)
    assert all(check.how_to_mend for check in found if check.ok is False)


def test_without_redis_everything_else_is_still_examined(tmp_path: Path) -> None:
    """One thing that is wrong hides no other."""
    absent = redis.Redis(
        unix_socket_path=str(tmp_path / "absent.sock"), retry=Retry(NoBackoff(), 0)
    )
    found = examine(
        redis_client=absent,
        redis_address="here",
        ledger_url=f"sqlite:///{tmp_path}/ledger.db",
        data_dir=tmp_path,
    )
    assert found[0].ok is False
    assert "gpu" in by_name(found)
