"""Keys that change, logs that end, and what takes their place; on SQLite, with files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import Ledger, LogState, jobs, log_entries, logs, sessions
from proofs.entry import EntryType
from proofs.keys import PrivateKey
from tasks import bee_key, key_folder, revoking, rotation, succession, verdicts
from tasks.audit import audit
from tasks.errors import KeyUnusable
from tasks.log_errors import LogInUse, LogNotOpen, LogRenamed, LogRolledBack, LogUnsound
from tasks.notary import Notary
from tasks.settings import Settings
from tests.integration.ledger.support import begin
from tests.integration.receipts.issuing import NAME, WORKER, issue, seal, unguarded
from tests.integration.receipts.taking_over import notary, settings, summary

__all__ = ["notary", "settings"]


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """A ledger in a file, with the real clock."""
    opened = Ledger.open(sqlite_url)
    yield opened
    opened.close()


def test_a_worker_makes_its_key_and_keeps_its_log(settings: Settings, ledger: Ledger) -> None:
    """From its first start on; the log goes on after a restart."""
    first = Notary.open(settings, ledger, WORKER)
    (job,) = issue(ledger, first)
    assert "signed, not yet logged" in summary(ledger, job)
    seal(ledger, first)
    first.close()
    second = Notary.open(settings, ledger, WORKER)
    issue(ledger, second)
    seal(ledger, second)
    assert (second.origin, second.row(ledger).sealed_size) == (first.origin, 2)
    assert "logged as leaf 0" in summary(ledger, job)
    second.close()


def test_only_one_process_signs_for_a_log(settings: Settings, ledger: Ledger) -> None:
    """The second refuses to start, whatever ledger it uses."""
    notary = Notary.open(settings, ledger, WORKER)
    with pytest.raises(LogInUse, match="Another process signs"):
        Notary.open(settings, ledger, WORKER)
    notary.close()
    Notary.open(settings, ledger, WORKER).close()


def test_a_key_that_others_may_read_is_refused(settings: Settings, ledger: Ledger) -> None:
    """The worker does not start."""
    Notary.open(settings, ledger, WORKER).close()
    (key_folder.path_of(settings.keys_dir, WORKER) / "bee_key").chmod(0o644)
    with pytest.raises(KeyUnusable):
        Notary.open(settings, ledger, WORKER)


def test_a_log_keeps_the_name_it_was_begun_under(settings: Settings, ledger: Ledger) -> None:
    """A name that is set before anything is logged is taken; later it needs a new log."""
    Notary.open(settings, ledger, WORKER).close()
    renamed = replace(settings, worker_ens="bee2.example.eth")
    notary = Notary.open(renamed, ledger, WORKER)
    assert notary.origin.startswith("bee2.example.eth/")
    issue(ledger, notary)
    seal(ledger, notary)
    notary.close()
    with pytest.raises(LogRenamed):
        Notary.open(settings, ledger, WORKER)
    row = succession.succeed(settings, ledger, WORKER, reason="a new name")
    assert row.origin.startswith(NAME)


def test_a_key_hands_over_in_the_log(settings: Settings, ledger: Ledger, notary: Notary) -> None:
    """What was signed before and after both verify, and the audit follows."""
    old = notary.signer.public_key
    before = issue(ledger, notary, 3)
    following = bee_key.create(notary.folder.path / "next")
    assert rotation.go_on(ledger, notary, settings, holder="test")
    assert notary.signer.public_key == following != old
    after = issue(ledger, notary, 2)
    seal(ledger, notary)
    for job in (*before, *after):
        assert "logged as leaf" in summary(ledger, job)
    with ledger.read() as tx:
        (entry,) = log_entries.of_type(tx, notary.log, EntryType.KEY_HANDOVER)
    assert entry.leaf_index == 3
    assert audit(ledger, notary.row(ledger)).receipts == 5
    notary.close()
    again = Notary.open(settings, ledger, WORKER)
    assert again.signer.public_key == following
    assert not rotation.go_on(ledger, again, settings, holder="test")
    again.close()


@pytest.mark.parametrize("stopped", ["before it is queued", "queued", "sealed"])
def test_a_handover_goes_on_from_where_it_was_stopped(
    settings: Settings,
    ledger: Ledger,
    notary: Notary,
    stopped: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By whoever opens the key next."""
    issue(ledger, notary, 2)
    following = bee_key.create(notary.folder.path / "next")

    def stop(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    at = {
        "before it is queued": "_queue",
        "queued": "seal",
        "sealed": "_swap",
    }[stopped]
    if stopped == "queued":
        rotation._queue(ledger, notary, following.to_openssh())
    monkeypatch.setattr(rotation, at, stop)
    with pytest.raises(RuntimeError):
        rotation.go_on(ledger, notary, settings, holder="test")
    monkeypatch.undo()
    notary.close()
    again = Notary.open(settings, ledger, WORKER)
    assert rotation.go_on(ledger, again, settings, holder="test")
    with ledger.read() as tx:
        assert len(log_entries.of_type(tx, again.log, EntryType.KEY_HANDOVER)) == 1
    assert again.signer.public_key == following
    assert audit(ledger, again.row(ledger)).receipts == 2
    again.close()


def test_a_restored_ledger_is_noticed_and_succeeded(
    settings: Settings, ledger: Ledger, notary: Notary, tmp_path: Path
) -> None:
    """Jobs go on, receipts stay signed, and a new log names the last head of the old one."""
    issue(ledger, notary, 2)
    seal(ledger, notary)
    backup = tmp_path / "backup.db"
    with sqlite3.connect(tmp_path / "ledger.db") as live, sqlite3.connect(backup) as copy:
        live.backup(copy)
    issue(ledger, notary, 3)
    seal(ledger, notary)
    notary.close()
    restored = Ledger.open(f"sqlite:///{backup}")
    later = Notary.open(settings, restored, WORKER)
    assert later.row(restored).state == LogState.ROLLED_BACK
    (job,) = issue(restored, later)
    assert "signed, not yet logged" in summary(restored, job)
    with pytest.raises(LogRolledBack, match="5 leaves"):
        seal(restored, later)
    with pytest.raises(LogInUse):
        succession.succeed(settings, restored, WORKER, reason="restored")
    later.close()
    row = succession.succeed(settings, restored, WORKER, reason="restored from a backup")
    assert row.predecessor == notary.origin
    last = Notary.open(settings, restored, WORKER)
    assert last.origin == row.origin
    seal(restored, last)
    with restored.read() as tx:
        (entry,) = log_entries.of_type(tx, last.log, EntryType.LOG_CLOSE)
    assert b'"tree_size":5' in entry.data
    assert entry.leaf_index == 0
    assert "logged as leaf 1" in summary(restored, job)
    assert audit(restored, last.row(restored)).leaves == 2
    last.close()
    restored.close()


def test_the_receipts_of_a_worker_that_is_gone_are_adopted(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """Those that waited, and those whose batch was begun and never signed."""
    sealed = issue(ledger, notary, 2)
    seal(ledger, notary)
    begun = issue(ledger, notary, 2)

    class Gone:
        public_key = notary.signer.public_key

        def sign(self, message: bytes) -> bytes:
            raise RuntimeError(f"killed before {len(message)} bytes were signed")

    good, notary.signer = notary.signer, Gone()
    with pytest.raises(RuntimeError):
        seal(ledger, notary)
    notary.signer = good
    waiting = issue(ledger, notary, 3)
    notary.close()
    session = begin(ledger, WORKER)
    with pytest.raises(LogInUse, match="alive"):
        succession.adopt(settings, ledger, WORKER, reason="its disk burnt")
    with ledger.write() as tx:
        sessions.close(tx, session, crashed=True, reason="burnt")
    shutil.rmtree(settings.keys_dir)
    (adopted,) = succession.adopt(settings, ledger, WORKER, reason="its disk burnt")
    assert (adopted.predecessor, adopted.leaves) == (notary.origin, 6)
    for job in (*sealed, *begun, *waiting):
        assert "logged as leaf" in summary(ledger, job)
    with ledger.read() as tx:
        rows = logs.list(tx)
    assert [row.state for row in rows] == [LogState.CLOSED, LogState.CLOSED]
    assert audit(ledger, rows[1]).receipts == 5
    assert succession.adopt(settings, ledger, WORKER, reason="again") == []


def test_a_forged_receipt_is_not_adopted(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """Only what the log's key has signed."""
    issue(ledger, notary)
    notary.close()
    other = PrivateKey.generate().public_key.to_openssh()
    unguarded(ledger, "UPDATE logs SET key = :it", {"it": other})
    with pytest.raises(LogUnsound, match="not by the log's"):
        succession.adopt(settings, ledger, WORKER, reason="gone", log=notary.origin)


def test_a_revoked_key_counts_up_to_a_size(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """What is within it verifies against that head; what is not is refused, logged or not."""
    early = issue(ledger, notary, 2)
    seal(ledger, notary)
    honoured = notary.row(ledger).sealed_size
    late = issue(ledger, notary, 2)
    seal(ledger, notary)
    unlogged = issue(ledger, notary, 1)
    notary.close()
    revocation = revoking.revoke(ledger, WORKER, size=honoured, reason="the key was copied")
    assert revocation.tree_size == 2
    for job in early:
        assert "logged as leaf" in summary(ledger, job)
    for job in (*late, *unlogged):
        assert "revoked" in summary(ledger, job)
    with pytest.raises(LogNotOpen, match="is revoked: the key was copied"):
        Notary.open(settings, ledger, WORKER)
    succession.succeed(settings, ledger, WORKER, reason="a new key")
    again = Notary.open(settings, ledger, WORKER)
    assert again.signer.public_key.to_openssh() != revocation.key
    (fresh,) = issue(ledger, again)
    seal(ledger, again)
    assert "logged as leaf" in summary(ledger, fresh)
    again.close()


def test_a_size_without_a_signed_head_cannot_be_honoured(ledger: Ledger, notary: Notary) -> None:
    """The next one that can is named."""
    issue(ledger, notary, 5)
    seal(ledger, notary, most=3)
    with pytest.raises(Exception, match="no signed head of 4 leaves") as raised:
        revoking.revoke(ledger, WORKER, size=4, reason="x")
    assert "Take 5" in str(raised.value)


def test_a_corrected_answer_says_so(ledger: Ledger, notary: Notary) -> None:
    """The verdict stands in the log as well."""
    (job,) = issue(ledger, notary)
    with ledger.write() as tx:
        found = jobs.get(tx, job.id)
        assert found is not None
        with pytest.raises(Exception, match="correction needs"):
            verdicts.decide(tx, found, verdict=verdicts.Verdict.CORRECTED)
        verdicts.decide(tx, found, verdict=verdicts.Verdict.REJECTED)
    seal(ledger, notary)
    assert "person" in summary(ledger, job)
