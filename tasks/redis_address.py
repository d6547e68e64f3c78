"""Where an embedded Redis server listens: a port of 127.0.0.1, a Unix socket, or both."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tasks.redis_errors import RedisAddressInvalid, RedisPortTaken

LOOPBACK = "127.0.0.1"
_HIGHEST_PORT = 65535
# sun_path has room for 108 bytes, the closing zero included.
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A port, a socket, or both; never neither."""

    port: int | None
    unix_socket: Path | None

    @property
    def url(self) -> str:
        """The address for Celery's broker and result settings; the port if there is one."""
        if self.port is not None:
            return f"redis://{LOOPBACK}:{self.port}/0"
        return f"redis+socket://{quote(str(self.unix_socket))}"

    @property
    def client_url(self) -> str:
        """The same address as `redis.Redis.from_url` reads it."""
        return self.url.replace("redis+socket://", "unix://", 1)


def choose_address(*, port: int | None, unix_socket: Path | None) -> RedisAddress:
    """Return an address that a server can listen at now; port 0 becomes a free one.

    Raises:
        RedisAddressInvalid: if it could never listen there.
        RedisPortTaken: if somebody else does.
    """
    if unix_socket is not None:
        unix_socket = unix_socket.absolute()
        _require_usable_socket(unix_socket)
    return RedisAddress(port=None if port is None else _usable_port(port), unix_socket=unix_socket)


def _usable_port(port: int) -> int:
    if not 0 <= port <= _HIGHEST_PORT:
        raise RedisAddressInvalid(
            f"{port} is not a port.",
            suggested_action=f"Use 1 to {_HIGHEST_PORT}, or 0 for any free one.",
            details={"port": port},
        )
    with socket.socket() as probe:
        # As Redis does itself, so that connections that are only just closed are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            found: int = probe.getsockname()[1]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise RedisAddressInvalid(
                    f"This user cannot listen on port {port}: {error.strerror}.",
                    suggested_action="Use a port above 1023, or 0 for any free one.",
                    details={"port": port, "errno": error.errno},
                ) from error
            raise RedisPortTaken(
                f"Port {port} of {LOOPBACK} is in use.",
                suggested_action="Choose another port, or 0 for any free one.",
                details={"port": port},
            ) from error
    return found


def _require_usable_socket(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_BYTES:
        raise RedisAddressInvalid(
            f"{path} is too long for a Unix socket: {length} bytes, at most {_SOCKET_PATH_BYTES}.",
            suggested_action="Choose a directory with a shorter path, or a port.",
            details={"path": str(path), "bytes": length, "most_bytes": _SOCKET_PATH_BYTES},
        )
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise RedisAddressInvalid(
            f"There can be no Unix socket at {path}: {error.strerror}.",
            suggested_action="Choose a path in a directory of this user.",
            details={"path": str(path), "errno": error.errno},
        ) from error
    # Redis removes whatever is there before it listens: neither a file nor a living server may be.
    if not stat.S_ISSOCK(mode):
        raise RedisAddressInvalid(
            f"{path} is a file, not a Unix socket.",
            suggested_action="Choose another path, or move that file away.",
            details={"path": str(path)},
        )
    if _is_listening(path):
        raise RedisPortTaken(
            f"Another program listens at {path}.",
            suggested_action="Choose another path, or stop that program.",
            details={"path": str(path)},
        )


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Not ours to open, or too busy to answer: either way it is not ours to remove.
            return True
    return True
