"""The cable between two network namespaces can be cut and mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.chaos import network
from tests.chaos.broker import Redis

PING = """
import sys, redis
from redis.backoff import NoBackoff
from redis.retry import Retry
client = redis.Redis.from_url(
    sys.argv[1], socket_timeout=0.3, socket_connect_timeout=0.3, retry=Retry(NoBackoff(), 0)
)
try:
    print(client.ping())
except redis.RedisError as error:
    print(type(error).__name__)
"""


def test_a_cut_cable_lets_nothing_arrive(tmp_path: Path) -> None:
    """Nobody is told, either way; mended, it works again."""
    with network.cable() as cable:
        options: Any = cable.redis_options
        server = Redis(
            tmp_path / "redis",
            unix_socket=tmp_path / "redis.sock",
            inside=cable.hub,
            **options,
        )
        server.start()

        def ping() -> str:
            command = [*cable.shore, sys.executable, "-c", PING, cable.url]
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()

        try:
            assert "True" == ping()
            cable.cut()
            assert "TimeoutError" == ping()
            cable.mend()
            cable.cut("down")
            assert "TimeoutError" == ping()
            cable.mend()
            assert "True" == ping()
        finally:
            server.kill()
