"""What takes a log's place takes over all that waited there, also when it was stopped half way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from cli import receipts as command
from ledger import Ledger, LogState, log_entries, logs
from proofs.entry import EntryType
from tasks import (
    carrying,
    key_folder,
    publishing,
    revoking,
    succession,
    wiring,
)
from tasks.log_errors import LogError, LogNotFound, LogNotOpen
from tasks.notary import Notary
from tasks.settings import Settings
from tests.integration.receipts.issuing import NAME, WORKER, issue, seal, unguarded
from tests.integration.receipts.taking_over import (
    begin_batch,
    decide,
    end,
    ledger,
    lose,
    notary,
    rows,
    settings,
    summary,
)

__all__ = ["ledger", "notary", "settings"]


def test_a_batch_that_nobody_signed_is_logged_by_the_successor(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """With a person's verdict in it; the entry that names the old log is the new one's first."""
    issue(ledger, notary, 2)
    seal(ledger, notary)
    begun = issue(ledger, notary, 2)
    decide(ledger, begun[0])
    begin_batch(ledger, notary)
    waiting = issue(ledger, notary, 1)
    decide(ledger, waiting[0])
    notary.close()
    row = succession.succeed(settings, ledger, WORKER, reason="x")
    again = Notary.open(settings, ledger, WORKER)
    seal(ledger, again)
    assert again.origin == row.origin
    assert again.row(ledger).sealed_size == 1 + 3 + 2
    for job in (*begun, *waiting):
        assert f"of {row.origin}" in summary(ledger, job)
    for job in (begun[0], waiting[0]):
        assert "rejected by a person" in summary(ledger, job)
    with ledger.read() as tx:
        (closes,) = log_entries.of_type(tx, again.log, EntryType.LOG_CLOSE)
    assert closes.leaf_index == 0
    assert [log.state for log in rows(ledger)] == [LogState.CLOSED, LogState.OPEN]
    again.close()


def test_what_one_batch_cannot_hold_goes_into_the_next(
    settings: Settings, ledger: Ledger, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that was as large as one may be leaves no room for the entry before it."""
    monkeypatch.setattr(carrying, "MAX_LEAVES", 3)
    begun = issue(ledger, notary, 7)
    begin_batch(ledger, notary)
    notary.close()
    row = succession.succeed(settings, ledger, WORKER, reason="x")
    again = Notary.open(settings, ledger, WORKER)
    seal(ledger, again)
    again.close()
    assert all(f"of {row.origin}" in summary(ledger, job) for job in begun)
    assert [log.sealed_size for log in rows(ledger)] == [0, 8]


def test_what_the_old_log_had_not_published_is_published(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """By whoever begins the next one: its worker looks after that alone."""
    issue(ledger, notary)
    seal(ledger, notary)
    notary.close()
    succession.succeed(settings, ledger, WORKER, reason="x")
    assert (settings.receipts_dir / notary.log_id / "checkpoint").exists()


def test_a_larger_head_that_was_published_stays(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """A ledger that was restored publishes what it has, and is not the newest."""
    issue(ledger, notary, 2)
    seal(ledger, notary, most=1)
    publishing.publish(ledger, notary.row(ledger), settings.receipts_dir)
    newest = (settings.receipts_dir / notary.log_id / "checkpoint").read_bytes()
    unguarded(ledger, "UPDATE batches SET published_at = NULL WHERE number = 0")
    publishing.publish(ledger, notary.row(ledger), settings.receipts_dir)
    assert (settings.receipts_dir / notary.log_id / "checkpoint").read_bytes() == newest


def test_a_mistyped_worker_gets_no_folder(settings: Settings, ledger: Ledger) -> None:
    """It is looked for first."""
    with pytest.raises(LogNotFound, match="nobody has no log"):
        succession.succeed(settings, ledger, "nobody", reason="x")
    assert not settings.keys_dir.exists()


def test_a_succession_that_nothing_is_signed_of_is_not_done_again(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """It is the same log the second time, whether the ledger knows of it or not."""
    (job,) = issue(ledger, notary)
    notary.close()
    folder = key_folder.KeyFolder.open(settings.keys_dir, WORKER)
    closing = key_folder.Closing(
        origin=notary.origin,
        size=0,
        root=notary.row(ledger).sealed_root,
        reason="x",
        timestamp="2026-01-01T00:00:00Z",
    )
    name = folder.begin_log(NAME, closing)
    folder.close()
    for _ in range(2):
        row = succession.succeed(settings, ledger, WORKER, reason="x")
        assert row.origin == name.origin
    again = Notary.open(settings, ledger, WORKER)
    seal(ledger, again)
    assert f"of {row.origin}" in summary(ledger, job)
    again.close()
    assert len(rows(ledger)) == 2


def test_receipts_do_not_go_on_under_another_name(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """They count in a log of their own name alone; the operator closes it."""
    (job,) = issue(ledger, notary)
    begin_batch(ledger, notary)
    end(ledger)
    notary.close()
    renamed = replace(settings, worker_ens="bee2.example.eth")
    succession.succeed(renamed, ledger, WORKER, reason="a new name")
    (adopted,) = succession.adopt(renamed, ledger, WORKER, reason="x")
    assert f"of {adopted.origin}" in summary(ledger, job)


def test_a_verdict_waits_for_the_log_that_takes_the_place(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """Of one that was rolled back."""
    (job,) = issue(ledger, notary)
    seal(ledger, notary)
    with ledger.write() as tx:
        logs.stop(tx, notary.log, state=LogState.ROLLED_BACK, reason="somebody has more")
    notary.close()
    assert decide(ledger, job) == notary.origin
    succession.succeed(settings, ledger, WORKER, reason="x")
    again = Notary.open(settings, ledger, WORKER)
    seal(ledger, again)
    assert "rejected by a person" in summary(ledger, job)
    again.close()


def test_a_verdict_on_an_adopted_answer_goes_to_another_log_of_the_name(
    settings: Settings, ledger: Ledger, notary: Notary
) -> None:
    """A closed log is not opened again; where none of the name grows, that is said."""
    (job,) = issue(ledger, notary)
    lose(settings, notary)
    end(ledger)
    succession.adopt(settings, ledger, WORKER, reason="x")
    with pytest.raises(LogNotOpen, match=f"no log of {NAME} grows"):
        decide(ledger, job)
    other = Notary.open(settings, ledger, "worker-2")
    assert decide(ledger, job) == other.origin
    seal(ledger, other)
    assert "rejected by a person" in summary(ledger, job)
    other.close()


def test_a_receipt_of_an_earlier_version_is_not_called_signed(
    ledger: Ledger,
    notary: Notary,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It never will be, and waits for no log."""
    (job,) = issue(ledger, notary)
    client = SimpleNamespace(ledger=ledger, job=lambda _: job)
    monkeypatch.setattr(wiring, "client", lambda: client)
    command.show(job.id)
    assert "signed, not yet logged" in capsys.readouterr().out
    unguarded(ledger, "UPDATE receipts SET signature = NULL, log = NULL")
    command.show(job.id)
    assert "not signed: issued by an earlier version" in capsys.readouterr().out


def test_nothing_is_honoured_of_a_log_only_if_somebody_says_so(
    ledger: Ledger, notary: Notary
) -> None:
    """Before its first seal, all of its receipts would be refused."""
    issue(ledger, notary, 2)
    begin_batch(ledger, notary)
    issue(ledger, notary, 1)
    with pytest.raises(LogError, match="all of its 3 receipts") as raised:
        revoking.revoke(ledger, WORKER, size=None, reason="x")
    assert "--size 0" in str(raised.value)
    assert revoking.revoke(ledger, WORKER, size=0, reason="x").tree_size == 0
