"""The logs of workers that are gone are closed by the operator's key, once and as a whole."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ledger import Ledger, LogState, log_entries, receipts, uploads
from proofs.entry import EntryType, KeyHandoverEntry, LogCloseEntry
from proofs.keys import PrivateKey
from tasks import (
    bee_key,
    carrying,
    rotation,
    sealing,
    succession,
)
from tasks.audit import audit
from tasks.log_errors import LogInUse, LogNotFound
from tasks.notary import Notary
from tasks.settings import Settings
from tests.integration.ledger.support import begin
from tests.integration.receipts.issuing import WORKER, issue, seal
from tests.integration.receipts.taking_over import (
    begin_batch,
    end,
    ledger,
    lose,
    notary,
    rows,
    settings,
    summary,
)

__all__ = ["ledger", "notary", "settings"]


def test_an_adopted_batch_may_be_as_large_as_one_can_be(
    settings: Settings, ledger: Ledger, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing log has it in two."""
    monkeypatch.setattr(carrying, "MAX_LEAVES", 3)
    begun = issue(ledger, notary, 3)
    begin_batch(ledger, notary)
    lose(settings, notary)
    end(ledger)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x")
    assert adopted.leaves == 4
    assert all(f"of {adopted.origin}" in summary(ledger, job) for job in begun)
    assert [log.batches for log in rows(ledger)] == [1, 2]


def test_an_adoption_that_was_stopped_is_gone_on_with(
    settings: Settings, ledger: Ledger, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same closing log, also where the operator's key was lost in between."""
    found = issue(ledger, notary, 2)
    begin_batch(ledger, notary)
    found += issue(ledger, notary, 2)
    lose(settings, notary)
    end(ledger)

    def stop(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(sealing, "seal_next", stop)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            succession.adopt(settings, ledger, WORKER, reason="x")
        assert len(rows(ledger)) == 2
    shutil.rmtree(settings.keys_dir)
    with pytest.raises(TimeoutError):
        succession.adopt(settings, ledger, WORKER, reason="x")
    monkeypatch.undo()
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x")
    assert all(f"of {adopted.origin}" in summary(ledger, job) for job in found)
    assert {log.state for log in rows(ledger)} == {LogState.CLOSED}
    assert succession.adopt(settings, ledger, WORKER, reason="again") == []


def test_receipts_of_every_key_of_a_log_are_adopted(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """The key before a handover, the one after it, and those of the name's other logs."""
    issue(ledger, notary)
    old = notary.signer
    bee_key.create(notary.folder.path / "next")
    assert rotation.go_on(ledger, notary, settings, holder="test")
    late, (new,) = issue(ledger, _signing(notary, old), 1), issue(ledger, notary)
    other = Notary.open(settings, ledger, "worker-2")
    late += issue(ledger, _signing(notary, other.signer), 1)
    other.close()
    lose(settings, notary)
    end(ledger)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x")
    assert all(f"of {adopted.origin}" in summary(ledger, job) for job in (*late, new))


def _signing(notary: Notary, signer: object) -> Notary:
    other = object.__new__(Notary)
    other.__dict__.update({**notary.__dict__, "signer": signer})
    return other


def test_a_queued_handover_stays_with_its_log(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """In another log it would say that that one's key changes."""
    (job,) = issue(ledger, notary)
    rotation._queue(ledger, notary, PrivateKey.generate().public_key.to_openssh())
    lose(settings, notary)
    end(ledger)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x")
    assert f"of {adopted.origin}" in summary(ledger, job)
    with ledger.read() as tx:
        (entry,) = log_entries.of_type(tx, notary.log, EntryType.KEY_HANDOVER)
    assert KeyHandoverEntry.from_bytes(entry.data).origin == notary.origin
    assert len(rows(ledger)) == 2
    assert succession.adopt(settings, ledger, WORKER, reason="again") == []


def test_what_was_adopted_is_published_and_uploaded(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """And what the worker had sealed and not published."""
    settings = replace(settings, ipfs_api_url="http://127.0.0.1:1")
    issue(ledger, notary)
    seal(ledger, notary)
    issue(ledger, notary)
    lose(settings, notary)
    end(ledger)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x")
    old, new = rows(ledger)
    for log in (old, new):
        audit(ledger, log, published=settings.receipts_dir)
        assert (settings.receipts_dir / log.log_id / "checkpoint").exists()
    with ledger.read() as tx:
        assert len(uploads.list(tx)) == new.batches == 2
    assert new.origin == adopted.origin


def test_a_worker_that_lost_its_key_folder_keeps_its_new_log(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """Only the old one is closed, and that while the worker runs."""
    old = issue(ledger, notary, 2)
    lose(settings, notary)
    again = Notary.open(settings, ledger, WORKER)
    begin(ledger, WORKER)
    with pytest.raises(LogInUse, match="alive"):
        succession.adopt(settings, ledger, WORKER, reason="x", log=again.origin)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="its folder was lost")
    assert adopted.predecessor == notary.origin
    new = issue(ledger, again, 1)
    seal(ledger, again)
    assert all("logged as leaf" in summary(ledger, job) for job in (*old, *new))
    assert again.row(ledger).state == LogState.OPEN
    again.close()


def test_a_stopped_worker_loses_its_log_only_if_it_is_named(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """It would go on with it; and no other process may hold its key."""
    (job,) = issue(ledger, notary)
    end(ledger)
    with pytest.raises(LogInUse, match="is stopped") as raised:
        succession.adopt(settings, ledger, WORKER, reason="x")
    assert f"--log {notary.origin}" in str(raised.value)
    with pytest.raises(LogInUse, match="Another process signs"):
        succession.adopt(settings, ledger, WORKER, reason="x", log=notary.log_id)
    notary.close()
    with pytest.raises(LogNotFound):
        succession.adopt(settings, ledger, WORKER, reason="x", log="another")
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="x", log=notary.log_id)
    assert f"of {adopted.origin}" in summary(ledger, job)


def test_a_closing_log_is_the_operators_and_names_what_it_closes(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """Nobody asks the gone worker to seal it."""
    issue(ledger, notary)
    seal(ledger, notary)
    lose(settings, notary)
    end(ledger)
    succession.adopt(settings, ledger, WORKER, reason="its disk burnt")
    new = rows(ledger)[1]
    assert (new.worker, new.predecessor) == (carrying.OPERATOR, notary.origin)
    with ledger.read() as tx:
        (row,) = log_entries.of_type(tx, new.number, EntryType.LOG_CLOSE)
        assert receipts.waiting(tx, new.number) == 0
    entry = LogCloseEntry.from_bytes(row.data)
    assert (entry.tree_size, entry.reason) == (1, "its disk burnt")
    with pytest.raises(LogNotFound):
        succession.adopt(settings, ledger, carrying.OPERATOR, reason="x")
