"""The store's clocks: one tells the time, the other measures leases.

PostgreSQL serves many machines, so both are its `clock_timestamp()`. SQLite serves one machine, so
leases run on the clock that counts from its boot and that nobody can set (`CLOCK_BOOTTIME`), and
the boot's id tells whether a lease is from an earlier boot.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

_CLOCK_TIMESTAMP = sa.select(sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Double))
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One reading: `now` in seconds since the epoch, `lease_now` in the lease clock's seconds."""

    now: float
    lease_now: float


class Clock(Protocol):
    """Where a transaction takes its time from; read at most once per transaction."""

    def read(self, connection: sa.Connection, /) -> Moment:
        """Both clocks, now."""

    def boot_id(self) -> str | None:
        """The boot that leases belong to, or None where they outlive boots."""


class SqliteClock:
    """The clocks of this machine."""

    def read(self, _connection: sa.Connection, /) -> Moment:
        """The wall clock, and the seconds since boot including sleep."""
        return Moment(now=time.time(), lease_now=time.clock_gettime(time.CLOCK_BOOTTIME))

    def boot_id(self) -> str | None:
        """The kernel's id of this boot."""
        return _boot_id()


class PostgresClock:
    """The clock of the server."""

    def read(self, connection: sa.Connection, /) -> Moment:
        """`clock_timestamp()`, for both."""
        now = float(connection.execute(_CLOCK_TIMESTAMP).scalar_one())
        return Moment(now=now, lease_now=now)

    def boot_id(self) -> str | None:
        """None: the server's clock goes on over boots."""
        return None


class ManualClock:
    """The in-memory twin: stands still until told to move, and can pretend a reboot."""

    def __init__(self, *, now: float = 1_700_000_000.0, boot_id: str | None = "boot-1") -> None:
        self.now = now
        self.lease_now = now
        self.boot = boot_id

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now += seconds
        self.lease_now += seconds

    def read(self, _connection: sa.Connection, /) -> Moment:
        """Where it stands."""
        return Moment(now=self.now, lease_now=self.lease_now)

    def boot_id(self) -> str | None:
        """The boot that was set."""
        return self.boot


@functools.cache
def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
