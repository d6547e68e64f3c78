"""A real Redis server of our own, for a machine that has none: started, watched, stopped.

The program comes from the wheel of the extra `honeyflow[embedded]`, or else from PATH. It listens
on loopback or on a Unix socket of mode 700, writes an append-only file and evicts nothing. Its
files are described in `tasks/redis_directory.py`. Times are seconds.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tasks.redis_directory import RedisDirectory
from tasks.redis_errors import RedisAlreadyRunning, RedisStartFailed
from tasks.redis_process import RunningRedis, end, find_redis_server, find_running, launch
from tasks.settings import Settings

__all__ = [
    "RedisServer",
    "RunningRedis",
    "ensure",
    "find_redis_server",
    "running",
    "start_detached",
    "stop_detached",
]

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 20.0
SOCKET_NAME = "redis.sock"


class RedisServer:
    """A Redis server on a directory, living between `start` and `stop`.

    `port` is one of 127.0.0.1, 0 for any free one, None for no TCP; `unix_socket` is a path to
    listen on as well. With neither it is `redis.sock` in the directory, for this user alone.
    The server has a session of its own, so that Ctrl-C in a terminal stops the workers before it.
    If this process is killed the server stays; the next start finds it, `stop_detached` ends it.
    """

    def __init__(
        self,
        *,
        directory: Path,
        port: int | None = None,
        unix_socket: Path | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self._files = RedisDirectory(directory)
        self._port = port
        self._socket = _socket_of(directory, port=port, unix_socket=unix_socket)
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._running: RunningRedis | None = None

    @property
    def address(self) -> str:
        """The URL for Celery's broker and result settings.

        Raises:
            RedisStartFailed: if the server was not started.
        """
        if self._running is None:
            raise RedisStartFailed(
                "The Redis server has no address before it is started.",
                suggested_action="Call `start` first.",
                details={"directory": str(self._files.path)},
            )
        return self._running.url

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def start(self) -> RunningRedis:
        """Start the server and return once it answers.

        Raises:
            RedisNotInstalled, RedisAddressInvalid, RedisPortTaken, RedisAlreadyRunning,
            RedisDirectoryUnusable, RedisStartFailed.
        """
        self._running, self._process = launch(
            self._files,
            port=self._port,
            unix_socket=self._socket,
            daemonize=False,
            timeout_s=self._start_timeout_s,
        )
        return self._running

    def stop(self) -> None:
        """Make the server write everything and end; do nothing if it was not started.

        Raises:
            RedisStopFailed: if it outlives a polite word, SIGTERM and SIGKILL.
        """
        if self._process is None:
            return
        end(self._files, self._process, timeout_s=self._stop_timeout_s)
        self._process = None
        self._running = None


def start_detached(
    directory: Path,
    *,
    port: int | None = None,
    unix_socket: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> RunningRedis:
    """Start a server that outlives this process and return once it answers.

    Raises:
        RedisNotInstalled, RedisAddressInvalid, RedisPortTaken, RedisAlreadyRunning,
        RedisDirectoryUnusable, RedisStartFailed.
    """
    files = RedisDirectory(directory)
    started, _ = launch(
        files,
        port=port,
        unix_socket=_socket_of(directory, port=port, unix_socket=unix_socket),
        daemonize=True,
        timeout_s=timeout_s,
    )
    return started


def stop_detached(directory: Path, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the server of a directory, whoever started it; False if none was running.

    Raises:
        RedisStopFailed: if it outlives a polite word, SIGTERM and SIGKILL.
    """
    files = RedisDirectory(directory)
    if not files.is_locked():
        return False
    end(files, None, timeout_s=timeout_s)
    return True


def ensure(settings: Settings) -> bool:
    """Start the embedded server of these settings unless it runs; True if it was started here.

    Raises:
        RedisServerError: and its kinds.
    """
    directory, socket = settings.redis_dir, settings.redis_socket
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if running(directory) is not None:
        return False
    try:
        start_detached(directory, unix_socket=socket)
    except RedisAlreadyRunning:
        # Another worker of this machine was quicker.
        return False
    return True


def running(directory: Path) -> RunningRedis | None:
    """Return the server of a directory if one is running and answers."""
    return find_running(RedisDirectory(directory))


def _socket_of(directory: Path, *, port: int | None, unix_socket: Path | None) -> Path | None:
    return directory / SOCKET_NAME if port is None and unix_socket is None else unix_socket
