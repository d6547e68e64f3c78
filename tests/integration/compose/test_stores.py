"""Redis and PostgreSQL with our settings, as services of the Compose file."""

from __future__ import annotations

import signal

import pytest

from tests.contained import Containers
from tests.integration.compose.conftest import sql

REDIS = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli --no-auth-warning'


def redis(stores: Containers, words: str, *, user: str = "--user honeyflow") -> str:
    """What Redis answers."""
    return stores.run("redis", ["sh", "-c", f"{REDIS} {user} {words}"]).stdout.strip()


def test_redis_keeps_everything_and_evicts_nothing(stores: Containers) -> None:
    """Killed in the midst of its work it still knows what it was told a second before."""
    told = redis(stores, "info")
    assert {"aof_enabled:1", "maxmemory_policy:noeviction"} <= set(told.split())

    assert "OK" == redis(stores, "set kept yes")
    redis(stores, "wait 0 1100")
    stores.stop("redis", signal.SIGKILL)
    stores.start("redis")
    stores.wait_healthy("redis")

    assert "yes" == redis(stores, "get kept")
    assert "1" == redis(stores, "del kept")


@pytest.mark.parametrize(
    "words",
    [
        "config get save",
        "flushall",
        "keys x",
        "shutdown",
        "acl list",
        "debug sleep 0",
        "module list",
    ],
)
def test_what_could_spoil_redis_is_forbidden(stores: Containers, words: str) -> None:
    """Also to whoever has the password."""
    assert redis(stores, words).startswith("NOPERM")


def test_redis_lets_nobody_in_without_the_password(stores: Containers) -> None:
    """Nor the default user with it."""
    bare = stores.run("redis", ["redis-cli", "ping"])

    assert bare.stdout.startswith("NOAUTH")
    assert "PONG" not in redis(stores, "ping", user="")


def test_a_health_check_fails_while_redis_is_away(stores: Containers) -> None:
    """It says more than that a container is there."""
    assert 0 == stores.check("redis").returncode

    stores.started["redis"].send_signal(signal.SIGSTOP)
    stopped = stores.run("redis", ["timeout", "1", *stores.health_words("redis")])
    stores.started["redis"].send_signal(signal.SIGCONT)

    assert stopped.returncode != 0
    assert 0 == stores.check("redis").returncode


def test_postgres_has_our_settings(stores: Containers) -> None:
    """Those of the file, and none that would lose an accepted job."""
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "password_encryption": "scram-sha-256",
        "idle_in_transaction_session_timeout": "1min",
    }
    asked = "; ".join(f"show {name}" for name in wanted)
    told = stores.run("postgres", ["sh", "-c", sql(asked)])

    assert list(wanted.values()) == told.stdout.split(), told.stderr


def test_postgres_lets_nobody_in_without_the_password(stores: Containers) -> None:
    """Neither over the network nor over its socket."""
    words = ["psql", "-w", "-h", "postgres", "-U", "honeyflow", "-d", "honeyflow", "-c", "select 1"]
    told = stores.run("postgres", words)
    methods = stores.run("postgres", ["sh", "-c", "grep -v ^# $PGDATA/pg_hba.conf"]).stdout.split()

    assert told.returncode != 0
    assert "no password supplied" in told.stderr
    assert "scram-sha-256" in methods
    assert {"trust", "peer", "md5", "password"}.isdisjoint(methods)
