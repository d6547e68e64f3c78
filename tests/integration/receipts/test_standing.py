"""A worker does not go on with a log of which a witness has seen more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, LogState
from proofs.checkpoint import log_vkey
from tasks import standing
from tasks.cosigning import Collector
from tasks.log_errors import LogRolledBack
from tasks.notary import Notary
from tests.integration.receipts.issuing import issue, notary_of, seal
from tests.witness import LocalWitness


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """A ledger in a file; witnesses do not know which."""
    opened = Ledger.open(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def friend(notary: Notary, tmp_path: Path) -> Iterator[LocalWitness]:
    """A witness that knows the notary's log."""
    vkey = log_vkey(notary.origin, notary.signer.public_key)
    with LocalWitness(tmp_path / "friend", [vkey]) as one:
        yield one


def test_what_the_witness_has_seen_is_enough(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """It may also be behind, or know nothing yet."""
    standing.require_newest(ledger, notary, [friend.configured()])
    issue(ledger, notary, 2)
    seal(ledger, notary)
    standing.require_newest(ledger, notary, [friend.configured()])
    assert 1 == Collector(ledger, [friend.configured()]).collect()
    standing.require_newest(ledger, notary, [friend.configured()])


@pytest.mark.parametrize("left", [0, 3])
def test_a_witness_that_has_seen_more_stops_the_sealing(
    ledger: Ledger, notary: Notary, friend: LocalWitness, tmp_path: Path, left: int
) -> None:
    """Not for good: what it says of its size is not signed."""
    issue(ledger, notary, 5)
    seal(ledger, notary)
    Collector(ledger, [friend.configured()]).collect()
    signer = notary.signer
    notary.close()
    (tmp_path / "keys" / "worker-1" / "checkpoint").unlink()
    lost = Ledger.open(f"sqlite:///{tmp_path / 'lost.db'}", migrate=True)
    again = notary_of(lost, tmp_path / "keys", key=signer)  # type: ignore[arg-type]
    if left:
        issue(lost, again, left)
        seal(lost, again)
    with pytest.raises(LogRolledBack, match=f"holds 5 leaves of .*, this ledger {left}"):
        standing.require_newest(lost, again, [friend.configured()])
    assert again.row(lost).state == LogState.OPEN
    again.close()
    lost.close()


def test_a_witness_with_another_history_stops_the_sealing(
    ledger: Ledger, notary: Notary, friend: LocalWitness, tmp_path: Path
) -> None:
    """As many leaves, but others."""
    issue(ledger, notary, 2)
    seal(ledger, notary)
    Collector(ledger, [friend.configured()]).collect()
    signer = notary.signer
    notary.close()
    (tmp_path / "keys" / "worker-1" / "checkpoint").unlink()
    other = Ledger.open(f"sqlite:///{tmp_path / 'other.db'}", migrate=True)
    again = notary_of(other, tmp_path / "keys", key=signer)  # type: ignore[arg-type]
    issue(other, again, 2)
    seal(other, again)
    with pytest.raises(LogRolledBack, match="another history"):
        standing.require_newest(other, again, [friend.configured()])
    again.close()
    other.close()


def test_a_witness_that_is_away_is_not_waited_for(
    ledger: Ledger, notary: Notary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and sealing goes on."""
    with LocalWitness(tmp_path / "gone", []) as gone:
        witness = gone.configured()
    standing.require_newest(ledger, notary, [witness])
    assert "cannot be asked" in caplog.text
