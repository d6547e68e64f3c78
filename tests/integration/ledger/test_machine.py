"""Any order of operations keeps the promises: a model in plain Python beside the real ledger."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from ledger import Ledger
from ledger.tables import metadata
from tests.chaos.scale import scaled
from tests.integration.ledger.machine import LedgerMachine

EVERYTHING = ", ".join(table.name for table in metadata.sorted_tables if table.name != "ledger")


class SqliteMachine(LedgerMachine):
    """A file for each run."""

    template: Path

    def open_ledger(self) -> Ledger:
        self.folder = Path(tempfile.mkdtemp(prefix="honeyflow-machine-"))
        shutil.copy(self.template, self.folder / "ledger.db")
        return Ledger.open(f"sqlite:///{self.folder}/ledger.db", clock=self.clock)

    def teardown(self) -> None:
        super().teardown()
        self.ledger.close()
        shutil.rmtree(self.folder)


class PostgresMachine(LedgerMachine):
    """One database, emptied before each run."""

    url: str
    engine: sa.Engine

    def open_ledger(self) -> Ledger:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"TRUNCATE {EVERYTHING}")
        return Ledger.open(self.url, clock=self.clock)

    def teardown(self) -> None:
        super().teardown()
        self.ledger.close()


class TestLedgerMachine(SqliteMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine on SQLite: 50 times by default, a thousand times in a thorough run."""

    settings = settings(
        max_examples=scaled(settings().max_examples, 1000),
        stateful_step_count=scaled(40, 50),
    )

    @pytest.fixture(autouse=True)
    def _template(self, sqlite_template: Path) -> None:
        SqliteMachine.template = sqlite_template


class TestLedgerMachineOnPostgres(PostgresMachine.TestCase):  # type: ignore[misc, valid-type]
    """Runs it on PostgreSQL: 10 times by default, a hundred times in a thorough run."""

    settings = settings(
        max_examples=scaled(10, 100),
        stateful_step_count=scaled(30, 50),
    )

    @pytest.fixture(autouse=True)
    def _database(self, postgres_database: tuple[str, sa.Engine]) -> None:
        PostgresMachine.url, PostgresMachine.engine = postgres_database
