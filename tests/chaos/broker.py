"""A Redis of a test's own, with the options a fault needs, killed and started again at will."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.redis_server import find_redis_server

START_S = 15.0
_OPTIONS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    # A title is written over the environment, and with it over the mark of the home.
    "set-proc-title": "no",
}


class Redis:
    """One server on a directory; it keeps its address over kills and restarts.

    `options` are those of redis.conf with underscores (`appendonly="no"`, `maxmemory="20mb"`);
    `unix_socket` is where it listens instead of on a port of 127.0.0.1; `inside` is a command that
    runs it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        unix_socket: Path | None = None,
        inside: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **options: str,
    ) -> None:
        self.directory = directory
        self.unix_socket = unix_socket
        self.port = 0 if unix_socket is not None else free_port()
        self.options = {**_OPTIONS, **_named(options)}
        self._inside = list(inside)
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for honeyflow.toml."""
        if self.unix_socket is not None:
            return f"redis+socket://{self.unix_socket}"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def client(self, *, timeout_s: float = 5.0) -> redis.Redis:
        """A client of its own, past every proxy."""
        return redis.Redis.from_url(
            self.url.replace("redis+socket://", "unix://"),
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def start(self, **options: str) -> None:
        """Start it and wait until it answers; `options` are changed for good."""
        assert not self.alive, "it runs already"
        self.options.update(_named(options))
        self.directory.mkdir(parents=True, exist_ok=True)
        words = [word for name, value in self.options.items() for word in (f"--{name}", value)]
        if self.unix_socket is not None:
            words += ["--unixsocket", str(self.unix_socket), "--unixsocketperm", "700"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._inside, str(find_redis_server()), "--port", str(self.port), *words],
                env=self._env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_for_answer()

    def kill(self) -> None:
        """SIGKILL: what it has not written is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=20)

    def _wait_for_answer(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_S
        with self.client() as client:
            while time.monotonic() < until and self._process.poll() is None:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.02)
        self.kill()
        raise AssertionError(f"Redis does not start: {self._log.read_text()[-2000:]}")

    @property
    def _log(self) -> Path:
        return self.directory.with_name("redis.log")


def free_port() -> int:
    """A port of 127.0.0.1 below those that the system gives to outgoing connections.

    One of those could be taken, also by a client that tries to reach it, while the server is away.
    """
    told = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    highest = min(int(told[0]), 32_768)
    for _ in range(100):
        port = random.randrange(10_240, highest)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def _named(options: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in options.items()}
