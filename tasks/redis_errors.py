"""What can go wrong with the embedded Redis server.

HoneyflowError
└── RedisServerError           the embedded Redis
    ├── RedisNotInstalled      no server program; names the extra that brings one
    ├── RedisAddressInvalid    no usable port or socket path was given
    ├── RedisPortTaken         somebody else listens there
    ├── RedisAlreadyRunning    this directory has a server; carries its address
    ├── RedisDirectoryUnusable the directory cannot be written
    ├── RedisStartFailed       the server ended or stayed silent; carries the end of its log
    └── RedisStopFailed        the server outlived every request to end
"""

from __future__ import annotations

from tasks.errors import HoneyflowError


class RedisServerError(HoneyflowError):
    """The embedded Redis server could not be started or stopped."""

    code = "REDIS_SERVER_ERROR"


class RedisNotInstalled(RedisServerError):
    """There is no Redis server program on this machine."""

    code = "REDIS_NOT_INSTALLED"


class RedisAddressInvalid(RedisServerError):
    """The server was given no usable port or socket."""

    code = "REDIS_ADDRESS_INVALID"


class RedisPortTaken(RedisServerError):
    """Another program listens on the port or the socket."""

    code = "REDIS_PORT_TAKEN"


class RedisAlreadyRunning(RedisServerError):
    """A server runs on this directory already; `details["url"]` is its address."""

    code = "REDIS_ALREADY_RUNNING"


class RedisDirectoryUnusable(RedisServerError):
    """The directory cannot hold the server's files."""

    code = "REDIS_DIRECTORY_UNUSABLE"


class RedisStartFailed(RedisServerError):
    """The server ended while starting, or never answered."""

    code = "REDIS_START_FAILED"


class RedisStopFailed(RedisServerError):
    """The server is still running although it was told to end."""

    code = "REDIS_STOP_FAILED"
