"""The directory of one embedded Redis server: its configuration, lock, address, log.

No process is started or ended here. The lock is an advisory one (flock) on `redis.lock`, and the
server itself inherits it: it is held exactly as long as a server lives, whatever became of the
process that started it.

    redis.conf    written anew at each start
    redis.lock    held by the server
    redis.json    the port and the socket it was told to listen on
    redis.pid     written by the server
    redis.log     written by the server
    appendonly.*  the data, with dump.rdb
"""

from __future__ import annotations

import fcntl
import json
import os
import string
from pathlib import Path

from tasks.redis_address import LOOPBACK, RedisAddress
from tasks.redis_errors import RedisDirectoryUnusable

_LOG_TAIL_BYTES = 4096
_LOG_TAIL_LINES = 6


class RedisDirectory:
    """The files of one server."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.conf = self.path / "redis.conf"
        self.log = self.path / "redis.log"
        self._lock = self.path / "redis.lock"
        self._address = self.path / "redis.json"
        self._pid = self.path / "redis.pid"

    def prepare(self) -> None:
        """Create the directory, for this user alone.

        Raises:
            RedisDirectoryUnusable: if it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.touch(mode=0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def take_lock(self) -> int | None:
        """Return a descriptor that holds the lock, or None while a server has it."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        return descriptor

    def is_locked(self) -> bool:
        """Whether a server lives on this directory, or is being started."""
        if not self._lock.exists():
            return False
        descriptor = self.take_lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def write(self, address: RedisAddress, *, daemonize: bool = False) -> None:
        """Write the configuration and the address of the server about to be started.

        Raises:
            RedisDirectoryUnusable: if the files cannot be written.
        """
        socket = None if address.unix_socket is None else str(address.unix_socket)
        try:
            self._pid.unlink(missing_ok=True)
            self._write(self.conf, configuration(address, daemonize=daemonize))
            self._write(self._address, json.dumps({"port": address.port, "unix_socket": socket}))
        except OSError as error:
            raise self._unusable(error) from error

    def address(self) -> RedisAddress | None:
        """Return where the last server was told to listen, or None if that is not known."""
        try:
            read = json.loads(self._address.read_text(encoding="utf-8"))
            socket = read["unix_socket"]
            return RedisAddress(
                port=read["port"], unix_socket=None if socket is None else Path(socket)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def pid(self) -> int | None:
        """Return the process id that the server wrote, or None."""
        try:
            return int(self._pid.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def forget(self) -> None:
        """Remove what a server that has ended left behind; its data and log stay."""
        for path in (self._address, self._pid):
            path.unlink(missing_ok=True)

    def log_size(self) -> int:
        """Return the length of the log in bytes, to read from later."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, *, since: int = 0) -> str:
        """Return the last few lines that were written to the log after an offset in bytes."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(since, self.log_size() - _LOG_TAIL_BYTES))
                lines = log.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(line for line in lines if line.strip()).rsplit("\n", _LOG_TAIL_LINES)[-1]

    def _write(self, path: Path, text: str) -> None:
        fresh = path.with_name(f"{path.name}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)

    def _unusable(self, error: OSError) -> RedisDirectoryUnusable:
        return RedisDirectoryUnusable(
            f"{self.path} cannot hold the Redis server's files: {error.strerror or error}.",
            suggested_action="Choose a directory on a local disk that this user can write.",
            details={"directory": str(self.path), "errno": error.errno},
        )


def configuration(address: RedisAddress, *, daemonize: bool = False) -> str:
    """Return the text of `redis.conf`: loopback only, everything on disk, nothing ever evicted."""
    lines = [
        "# Written at each start; changes made here are lost.",
        f"bind {LOOPBACK}",
        "protected-mode yes",
        f"port {address.port or 0}",
        f"daemonize {'yes' if daemonize else 'no'}",
        "dir .",
        "logfile redis.log",
        "pidfile redis.pid",
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        # The append-only file holds everything; snapshots on a timer would only cost a fork.
        'save ""',
    ]
    if address.unix_socket is not None:
        lines += [f"unixsocket {_quoted(address.unix_socket)}", "unixsocketperm 700"]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    plain = (string.ascii_letters + string.digits + "/._-+=@%,:").encode("ascii")
    letters = [chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)]
    return f'"{"".join(letters)}"'
