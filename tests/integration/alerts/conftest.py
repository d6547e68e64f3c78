"""People at fake servers, and a ledger of the test's own with a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, ManualClock
from tests.fake_channels import FakeDiscord, FakeTelegram
from tests.integration.alerts.paper import Paper


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    """A webhook."""
    with FakeDiscord() as serving:
        yield serving


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    """A bot and its chat."""
    with FakeTelegram() as serving:
        yield serving


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the test's ledger."""
    return ManualClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    """A ledger of the test's own."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True, clock=clock) as opened:
        yield opened


@pytest.fixture
def paper() -> Paper:
    """A channel."""
    return Paper()
