"""The proxy harms what it says, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.broker import Redis
from tests.chaos.proxy import Proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis."""
    started = Redis(tmp_path_factory.mktemp("proxied") / "redis", appendonly="no")
    started.start()
    yield started
    started.kill()


@pytest.fixture
def proxy(server: Redis) -> Iterator[Proxy]:
    """A proxy in front of it."""
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    """A client behind the proxy, that has spoken already."""
    once = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(proxy.url, socket_timeout=0.3, retry=once) as made:
        made.ping()
        yield made


def test_what_is_left_alone_passes(proxy: Proxy, client: redis.Redis) -> None:
    """Large answers too."""
    client.set("big", b"x" * 1_000_000)

    assert 1_000_000 == len(client.get("big") or b"")
    assert 1 == proxy.connections


def test_a_delay_is_felt_each_way(proxy: Proxy, client: redis.Redis) -> None:
    """Once per piece and way."""
    proxy.delay(0.1)

    began = time.monotonic()
    client.ping()

    assert 0.2 <= time.monotonic() - began < 0.3


def test_what_is_held_comes_later(proxy: Proxy, client: redis.Redis, server: Redis) -> None:
    """As over a network that was mended: late, and whole."""
    proxy.hold("up")
    with pytest.raises(redis.TimeoutError):
        client.incr("held")
    with server.client() as direct:
        assert direct.get("held") is None

        proxy.heal()
        time.sleep(0.1)

        assert b"1" == direct.get("held")


def test_what_is_swallowed_on_the_way_back_was_done(
    proxy: Proxy, client: redis.Redis, server: Redis
) -> None:
    """The command is carried out; its caller never hears of it, on this connection or a new one."""
    proxy.swallow("down")
    for _ in range(2):
        with pytest.raises(redis.TimeoutError):
            client.incr("told")
    proxy.heal()

    assert client.ping()
    with server.client() as direct:
        # The second try could not even greet the server.
        assert b"1" == direct.get("told")


def test_a_peer_that_vanished_says_nothing(
    proxy: Proxy, client: redis.Redis, server: Redis
) -> None:
    """No RST and no end: Redis goes on to hold the connection, healed or not."""
    with server.client() as direct:
        before = direct.info("clients")["connected_clients"]
        proxy.swallow()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        client.close()
        proxy.heal()
        time.sleep(0.1)

        assert before == direct.info("clients")["connected_clients"]


def test_reset_and_refusal_are_told_at_once(proxy: Proxy, client: redis.Redis) -> None:
    """Both are connection errors; afterwards it works again."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as plain:
        plain.sendall(b"PING\r\n")
        assert b"+PONG\r\n" == plain.recv(100)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            plain.recv(100)

    proxy.refuse()
    proxy.reset()
    with pytest.raises(redis.ConnectionError, match="refused"):
        client.ping()

    proxy.heal()
    assert client.ping()


def test_a_socket_can_be_its_target(tmp_path: Path) -> None:
    """For a Redis, or a PostgreSQL, that listens nowhere else."""
    server = Redis(tmp_path / "redis", unix_socket=tmp_path / "redis.sock", appendonly="no")
    server.start()
    assert server.unix_socket is not None
    proxy = Proxy(server.unix_socket)
    try:
        with redis.Redis.from_url(proxy.url) as client:
            assert client.ping()
    finally:
        proxy.close()
        server.kill()
