"""An empty ledger on each store, and a notary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from tasks.notary import Notary
from tests.integration.ledger.conftest import (
    clock,
    ledger,
    postgres_database,
    postgres_url,
    sqlite_template,
    sqlite_url,
    url,
)
from tests.integration.receipts.issuing import notary_of
from tests.postgres import postgres_server

__all__ = [
    "clock",
    "ledger",
    "postgres_database",
    "postgres_server",
    "postgres_url",
    "sqlite_template",
    "sqlite_url",
    "url",
]


@pytest.fixture
def notary(ledger: Ledger, tmp_path: Path) -> Iterator[Notary]:
    """A worker's key and log."""
    made = notary_of(ledger, tmp_path / "keys")
    yield made
    made.close()
