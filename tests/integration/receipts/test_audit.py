"""An audit finds every lie that a store can tell, and names the first."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import Ledger, batches, log_entries, receipt_checks, receipts
from proofs.checkpoint import Checkpoint, cosign, witness_vkey
from proofs.keys import PrivateKey
from tasks import publishing
from tasks.audit import AuditFailed, audit
from tasks.notary import Notary
from tests.integration.receipts.issuing import issue, seal, unguarded


def test_a_sound_log_is_found_sound(ledger: Ledger, notary: Notary, tmp_path: Path) -> None:
    """With what waits, and what was published."""
    issue(ledger, notary, 12)
    seal(ledger, notary, most=5)
    publishing.publish(ledger, notary.row(ledger), tmp_path)
    issue(ledger, notary, 1)
    found = audit(ledger, notary.row(ledger), published=tmp_path)
    assert (found.leaves, found.receipts, found.batches, found.waiting) == (12, 12, 3, 1)
    assert found.root == notary.row(ledger).sealed_root


def test_an_empty_log_is_sound(ledger: Ledger, notary: Notary) -> None:
    """It has nothing to hide."""
    assert audit(ledger, notary.row(ledger)).leaves == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE receipts SET canonical = :it WHERE leaf_index = 3", "leaf 3: its bytes"),
        ("UPDATE receipts SET leaf_index = 9 WHERE leaf_index = 2", "leaf 2: the row of job"),
        ("UPDATE receipts SET signature = :it WHERE leaf_index = 4", "leaf 4: the SSH signature"),
        ('DELETE FROM log_leaves WHERE "index" = 5', "leaf 5: it is not stored"),
        ('UPDATE log_leaves SET hash = :it WHERE "index" = 1', "leaf 1: its bytes have"),
        ("UPDATE log_leaves SET type = 'verdict' WHERE \"index\" = 0", "leaf 0: it is stored as"),
        ('UPDATE log_leaves SET job_id = NULL WHERE "index" = 0', "leaf 0: its bytes are not"),
        ("DELETE FROM log_nodes", "node 0 of level 1: it is not stored"),
        ("UPDATE log_nodes SET hash = :it", "node 0 of level 1: it is not the hash"),
        ("DELETE FROM batches WHERE number = 0", "batch 0: batch 1 is in its place"),
        ("DELETE FROM batches WHERE number = 1", "the log's row: it says"),
        ("UPDATE batches SET manifest = :it WHERE number = 1", "batch 1: a batch manifest"),
        ("UPDATE batches SET signature = :it WHERE number = 0", "batch 0: the SSH signature"),
        ("UPDATE batches SET checkpoint = :it WHERE number = 0", "the checkpoint of batch 0"),
        ("UPDATE logs SET sealed_root = :it", "the log's row: it has another root"),
        ("UPDATE logs SET sealed_size = 9", "the log's row: it says 9"),
        ("UPDATE receipts SET signature = NULL WHERE leaf_index IS NULL", "the receipt of job"),
        ("UPDATE receipts SET digest = 'x' WHERE leaf_index = 2", "leaf 2: the row's digest"),
        (
            "UPDATE receipts SET report_digest = 'x' WHERE leaf_index = 2",
            "leaf 2: the row's report",
        ),
        ("UPDATE receipts SET log = log + 7 WHERE leaf_index = 2", "leaf 2: the row of job"),
        ("UPDATE receipts SET log = NULL WHERE leaf_index = 2", "leaf 2: the row of job"),
        ("UPDATE receipts SET leaf_index = 3 WHERE leaf_index IS NULL", "names a leaf that is not"),
        ("UPDATE log_leaves SET entry = 'x' WHERE \"index\" = 2", "leaf 2: the entry beside it"),
        ("UPDATE batches SET sealed_at = 7 WHERE number = 1", "batch 1: the time in its manifest"),
    ],
)
def test_what_is_wrong_is_named(ledger: Ledger, notary: Notary, damage: str, told: str) -> None:
    """The first thing that does not hold."""
    issue(ledger, notary, 8)
    seal(ledger, notary, most=4)
    issue(ledger, notary, 1)
    unguarded(ledger, damage, {"it": b"x"} if ":it" in damage else {})
    with pytest.raises(AuditFailed) as raised:
        audit(ledger, notary.row(ledger))
    assert raised.value.message.startswith(f"{notary.origin}: ")
    assert told in raised.value.message


def test_a_batch_of_another_key_is_found(ledger: Ledger, notary: Notary) -> None:
    """Signed well, but by somebody else."""
    issue(ledger, notary, 2)
    seal(ledger, notary)
    other = PrivateKey.generate().public_key.to_openssh()
    unguarded(ledger, "UPDATE logs SET key = :it", {"it": other})
    with pytest.raises(AuditFailed, match="signed by no key of its worker"):
        audit(ledger, notary.row(ledger))


def test_two_batches_that_changed_places_are_found(ledger: Ledger, notary: Notary) -> None:
    """Each holds by itself, but not where it is."""
    issue(ledger, notary, 4)
    seal(ledger, notary, most=2)
    with ledger.read() as tx:
        first, second = batches.sealed(tx, notary.log)
    unguarded(
        ledger,
        "UPDATE batches SET manifest = :manifest, signature = :signature WHERE number = 0",
        {"manifest": second.manifest, "signature": second.signature},
    )
    with pytest.raises(AuditFailed, match="batch 0: the first index in its manifest"):
        audit(ledger, notary.row(ledger))
    assert first.manifest != second.manifest


def test_a_published_file_that_was_changed_is_named(
    ledger: Ledger, notary: Notary, tmp_path: Path
) -> None:
    """Or one that has gone."""
    issue(ledger, notary, 4)
    seal(ledger, notary, most=2)
    publishing.publish(ledger, notary.row(ledger), tmp_path)
    file = tmp_path / notary.log_id / "batches" / "batch_000000_000001.json"
    kept = file.read_bytes()
    file.write_bytes(kept + b"\n")
    with pytest.raises(AuditFailed, match=r"batch_000000_000001\.json: it has other bytes"):
        audit(ledger, notary.row(ledger), published=tmp_path)
    file.unlink()
    with pytest.raises(AuditFailed, match="it cannot be read"):
        audit(ledger, notary.row(ledger), published=tmp_path)


def test_receipts_that_changed_places_are_found(ledger: Ledger, notary: Notary) -> None:
    """Each row holds a good receipt, but another job's."""
    first, second = (job.id for job in issue(ledger, notary, 2))
    seal(ledger, notary)
    with ledger.read() as tx:
        kept = {job_id: receipts.get(tx, job_id) for job_id in (first, second)}
    for job_id, other in ((first, second), (second, first)):
        row = kept[other]
        assert row is not None
        change = "canonical = :canonical, digest = :digest, signature = :signature"
        unguarded(
            ledger,
            f"UPDATE receipts SET {change}, leaf_index = :leaf WHERE job_id = :job",
            {
                "canonical": row.canonical,
                "digest": f"{row.digest}{job_id}",
                "signature": row.signature,
                "leaf": row.leaf_index,
                "job": job_id,
            },
        )
        unguarded(
            ledger,
            'UPDATE log_leaves SET job_id = :job WHERE "index" = :leaf',
            {"job": job_id, "leaf": row.leaf_index},
        )
    with pytest.raises(AuditFailed, match="leaf 0: the row's job"):
        audit(ledger, notary.row(ledger))


def test_a_job_without_a_receipt_in_a_log_is_found(ledger: Ledger, notary: Notary) -> None:
    """Whether its row is gone, or names no log."""
    (job,) = issue(ledger, notary, 1)
    with ledger.read() as tx:
        assert receipt_checks.unproved(tx) is None
        assert 0 == receipt_checks.unsigned(tx)
    unguarded(ledger, "UPDATE receipts SET log = NULL")
    with ledger.read() as tx:
        assert receipt_checks.unproved(tx) == job.id
    unguarded(ledger, "UPDATE receipts SET signature = NULL")
    with ledger.read() as tx:
        assert receipt_checks.unproved(tx) is None
        assert 1 == receipt_checks.unsigned(tx)
    unguarded(ledger, "DELETE FROM receipts")
    with ledger.read() as tx:
        assert receipt_checks.unproved(tx) == job.id


def test_a_line_that_no_witness_wrote_is_found(ledger: Ledger, notary: Notary) -> None:
    """Its form where the witness is unknown, its signature where it is known."""
    issue(ledger, notary, 1)
    seal(ledger, notary)
    head = Checkpoint(origin=notary.origin, size=1, root=notary.row(ledger).sealed_root)
    key = PrivateKey.generate()
    other = Checkpoint(origin=notary.origin, size=1, root=b"\1" * 32)
    for told in (head, other):
        line = cosign(told, key, name="friend.example", at=1).line
        with ledger.write() as tx:
            tx.execute(sa.text("DELETE FROM cosignatures"))
            log_entries.add_cosignature(
                tx, log=notary.log, tree_size=1, witness="friend", key_id="0", line=line
            )
        assert audit(ledger, notary.row(ledger)).leaves == 1
        known = [witness_vkey("friend.example", key.public_key)]
        if told is head:
            assert audit(ledger, notary.row(ledger), witnesses=known).leaves == 1
            continue
        with pytest.raises(AuditFailed, match="cosignature of friend"):
            audit(ledger, notary.row(ledger), witnesses=known)
    unguarded(ledger, "UPDATE cosignatures SET line = 'x'")
    with pytest.raises(AuditFailed, match="the checkpoint of batch 0"):
        audit(ledger, notary.row(ledger))
