"""A real PostgreSQL server for the tests: its own data directory, a Unix socket, nothing shared.

Import the fixture into a `conftest.py` to use it: `from tests.postgres import postgres_server`.
Where PostgreSQL is not installed its tests are skipped, except in CI, where that is an error.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SUPERUSER = "honeyflow"
_START_S = 30.0
_QUICK = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


class PostgresServer:
    """A running server; it refuses to run as root, so root lends it an unprivileged user."""

    def __init__(self, binaries: Path, home: Path) -> None:
        self.home = home
        self._binaries = binaries
        self._numbers = itertools.count(1)
        self._account = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make a cluster and wait until it answers."""
        if self._account is not None:
            os.chown(self.home, self._account.pw_uid, self._account.pw_gid)
        data = self.home / "data"
        initdb = ["initdb", "-D", str(data), "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8"]
        self._run([*initdb, "--no-sync", "--locale=C"])
        self.launch()

    def launch(self) -> None:
        """Start the server on the cluster that is there."""
        settings = [f"-c{name}={value}" for name, value in _QUICK.items()]
        command = [str(self._binaries / "postgres"), "-D", str(self.home / "data")]
        log = (self.home / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*command, "-k", str(self.home), *settings],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.home,
                start_new_session=True,
                **self._identity(),
            )
        patience = time.monotonic() + _START_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > patience:
                self.stop()
                raise RuntimeError((self.home / "server.log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once; clients are cut off."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=20)
        self._process = None

    def url(self, database: str) -> str:
        """The address of one database, for the ledger."""
        return f"postgresql+psycopg://{_SUPERUSER}@/{database}?host={self.home}"

    def create_database(self, *, template: str = "template0") -> str:
        """Make a new database, as a copy of another one; gives its name."""
        name = f"test_{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING UTF8')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and cut off whoever uses it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement by psql; gives what it prints."""
        psql = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.home)]
        return self._run([*psql, "-U", _SUPERUSER, "-d", database, "-c", statement])

    def _ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self.home)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, command: list[str]) -> str:
        program, *rest = command
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(self._binaries / program), *rest],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.home,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {
            "user": self._account.pw_uid,
            "group": self._account.pw_gid,
            "extra_groups": [],
        }


def find_binaries() -> Path | None:
    """Where PostgreSQL's programs are: on the path, or where Debian puts them, the newest first."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    return None if newest is None else newest.parent


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom root lends to the server; None for anybody else, who runs it as himself."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole test run."""
    binaries = find_binaries()
    if binaries is None:
        message = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    # Not below pytest's own folder, which other users cannot enter; and a socket's path is short.
    home = Path(tempfile.mkdtemp(prefix="honeyflow-pg-"))
    server = PostgresServer(binaries, home)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
