"""An empty ledger for each test, on each store, with a clock that stands still."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import Ledger, ManualClock
from ledger.tables import metadata
from tests.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the test's ledger."""
    return ManualClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    Ledger.open(f"sqlite:///{path}", migrate=True).close()
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> Iterator[tuple[str, sa.Engine]]:
    """A migrated database, and a way into it."""
    url = postgres_server.url(postgres_server.create_database())
    Ledger.open(url, migrate=True).close()
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    yield url, engine
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite ledger."""
    path = tmp_path / "ledger.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_database: tuple[str, sa.Engine]) -> str:
    """The PostgreSQL ledger, emptied."""
    url, engine = postgres_database
    filled = [table.name for table in metadata.sorted_tables if table.name != "ledger"]
    with engine.connect() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(filled)}")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A fresh ledger on either store."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def ledger(url: str, clock: ManualClock) -> Iterator[Ledger]:
    """The ledger under test."""
    opened = Ledger.open(url, clock=clock)
    yield opened
    opened.close()
