"""Batches: receipts get their places, and what is signed of them holds by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import Ledger, LedgerError, LogState, batches, leases, log_entries, logs, trees
from ledger import receipts as receipt_rows
from proofs import checkpoint, merkle, sshsig
from proofs.checkpoint import Checkpoint
from proofs.entry import EntryType, VerdictEntry
from proofs.manifest import Manifest
from proofs.note import Note
from proofs.tlog_proof import TlogProof
from tasks import publishing, receipts
from tasks.log_errors import LogNotOpen, LogRolledBack, LogUnsound, PublishedDiffers
from tasks.notary import Notary
from tests.integration.receipts.issuing import issue, seal, unguarded


def test_every_receipt_is_proved_under_a_signed_head(ledger: Ledger, notary: Notary) -> None:
    """Batch after batch, each head consistent with the one before."""
    jobs = issue(ledger, notary, 23)
    sealed = seal(ledger, notary, most=10)
    assert [(one.count, one.tree_size) for one in sealed] == [(10, 10), (10, 20), (3, 23)]
    with ledger.read() as tx:
        for job in jobs:
            row = receipt_rows.get(tx, job.id)
            assert row is not None
            proof = receipts.proof(tx, job.id)
            assert proof is not None
            found = TlogProof.parse(proof)
            note = Note.parse(found.checkpoint)
            head = Checkpoint.from_note(note)
            assert checkpoint.is_signed_by(note, notary.signer.public_key)
            assert (head.origin, found.index) == (notary.origin, row.leaf_index)
            merkle.verify_inclusion(
                leaf=merkle.leaf_hash(row.canonical),
                index=found.index,
                size=head.size,
                path=found.path,
                root=head.root,
            )
            assert receipts.signature(tx, job.id) == row.signature
            key = sshsig.verify(
                row.signature or b"", namespace="swarm-receipt", message=row.canonical
            )
            assert key == notary.signer.public_key


def test_a_manifest_lists_leaves_and_no_jobs(ledger: Ledger, notary: Notary) -> None:
    """It is signed by the same key, and merkletools built its tree."""
    jobs = issue(ledger, notary, 3)
    seal(ledger, notary)
    with ledger.read() as tx:
        (batch,) = batches.sealed(tx, notary.log)
        rows = [receipt_rows.get(tx, job.id) for job in jobs]
    assert batch.manifest is not None
    assert batch.signature is not None
    manifest = Manifest.from_bytes(batch.manifest)
    assert {merkle.leaf_hash(row.canonical) for row in rows if row} == set(manifest.leaves)
    assert manifest.engine == "merkletools 1.0.3"
    assert (manifest.batch, manifest.first_index, manifest.count) == (0, 0, 3)
    assert not any(job.id.encode() in batch.manifest for job in jobs)
    key = sshsig.verify(batch.signature, namespace="swarm-merkle", message=batch.manifest)
    assert key == notary.signer.public_key


def test_less_than_a_batch_waits_unless_all_is_asked_for(ledger: Ledger, notary: Notary) -> None:
    """Every so many receipts, or when the oldest has waited long enough."""
    issue(ledger, notary, 5)
    assert seal(ledger, notary, most=4, partial=False)[0].count == 4
    assert seal(ledger, notary, most=4, partial=False) == []
    with ledger.read() as tx:
        (waiting,) = logs.unlogged(tx)
    assert (waiting.log, waiting.count) == (notary.log, 1)
    assert seal(ledger, notary, most=4)[0].count == 1
    with ledger.read() as tx:
        assert logs.unlogged(tx) == []


def test_a_batch_that_was_begun_is_sealed_by_the_next_call(
    ledger: Ledger, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same leaves and the same time, whatever stopped it."""
    issue(ledger, notary, 3)

    def broken(_message: bytes) -> bytes:
        raise RuntimeError("the agent is away")

    class Broken:
        public_key = notary.signer.public_key
        sign = staticmethod(broken)

    good, notary.signer = notary.signer, Broken()
    with pytest.raises(RuntimeError):
        seal(ledger, notary)
    notary.signer = good
    issue(ledger, notary, 2)
    assert [one.count for one in seal(ledger, notary)] == [3, 2]
    with ledger.read() as tx:
        first, second = batches.sealed(tx, notary.log)
    assert (first.number, second.number, second.first_index) == (0, 1, 3)


def test_nobody_seals_under_another_ones_lease(ledger: Ledger, notary: Notary) -> None:
    """A writer lease per log, besides the compare-and-set on its size."""
    issue(ledger, notary, 3)
    with ledger.write() as tx:
        assert leases.take(tx, f"log:{notary.log}", "somebody", 60)
    assert seal(ledger, notary) == []
    with ledger.write() as tx:
        leases.release(tx, f"log:{notary.log}", "somebody")
    assert len(seal(ledger, notary)) == 1


def test_a_place_is_given_only_at_the_size_that_was_seen(ledger: Ledger, notary: Notary) -> None:
    """Who saw another size writes nothing."""
    issue(ledger, notary, 1)
    seal(ledger, notary)
    with ledger.write() as tx:
        given = batches.assign(tx, log=notary.log, size=0, leaves=[], nodes={}, sealed_at=tx.now)
    assert given is None


@pytest.mark.parametrize("what", ["leaf", "node", "receipt", "root"])
def test_nothing_is_signed_over_a_store_that_contradicts_itself(
    ledger: Ledger, notary: Notary, what: str
) -> None:
    """A flipped bit between hashing and signing is noticed, and the log stays as it was."""
    issue(ledger, notary, 4)
    seal(ledger, notary)
    issue(ledger, notary, 2)
    damage = {
        "leaf": 'UPDATE log_leaves SET hash = :it WHERE "index" = 4',
        "node": "UPDATE log_nodes SET hash = :it",
        "receipt": "UPDATE receipts SET canonical = :it",
        "root": "UPDATE logs SET sealed_root = :it",
    }[what]

    class Late:
        """Signs only after somebody has damaged the store: never, that is."""

        public_key = notary.signer.public_key

        def sign(self, message: bytes) -> bytes:
            raise AssertionError(f"{len(message)} bytes were signed")

    good, notary.signer = notary.signer, Late()
    with pytest.raises(AssertionError):
        seal(ledger, notary)  # the places are given
    unguarded(ledger, damage, {"it": b"\1" * 32})
    with pytest.raises(LogUnsound):
        seal(ledger, notary)
    notary.signer = good
    with ledger.read() as tx:
        log = logs.get(tx, notary.log)
    assert log is not None
    assert (log.size, log.sealed_size) == (6, 4)


def test_what_is_logged_cannot_be_changed(ledger: Ledger, notary: Notary) -> None:
    """Not even by hand."""
    issue(ledger, notary, 2)
    seal(ledger, notary)
    for change in (
        "UPDATE log_leaves SET hash = 'x'",
        "DELETE FROM log_leaves",
        "DELETE FROM log_nodes",
        "UPDATE batches SET manifest = 'x'",
        "UPDATE batches SET checkpoint = NULL",
        "DELETE FROM batches",
        "UPDATE logs SET size = 1",
        "DELETE FROM logs",
    ):
        with pytest.raises(LedgerError, match=r"never"), ledger.write() as tx:
            tx.execute(sa.text(change))


def test_a_head_that_was_signed_before_is_never_contradicted(
    ledger: Ledger, notary: Notary
) -> None:
    """A ledger that lost what was sealed seals nothing more."""
    issue(ledger, notary, 2)
    head = Checkpoint(origin=notary.origin, size=9, root=b"\1" * 32)
    note = Note(text=head.body, signatures=(checkpoint.sign(head, notary.signer),))
    notary.folder.keep_checkpoint(note.to_bytes())
    with pytest.raises(LogRolledBack, match="9 leaves"):
        seal(ledger, notary)
    assert not notary.compare(ledger, note.to_bytes(), where="a friend")
    with ledger.read() as tx:
        log = logs.get(tx, notary.log)
    assert log is not None
    assert log.state == LogState.ROLLED_BACK
    assert "a friend holds a head of 9 leaves" in (log.reason or "")
    with pytest.raises(LogRolledBack):
        seal(ledger, notary)


def test_a_closed_log_grows_no_more(ledger: Ledger, notary: Notary) -> None:
    """And its state does not change again."""
    issue(ledger, notary, 1)
    with ledger.write() as tx:
        assert logs.stop(tx, notary.log, state=LogState.CLOSED, reason="moved")
        assert not logs.stop(tx, notary.log, state=LogState.REVOKED, reason="again")
    with pytest.raises(LogNotOpen, match="closed: moved"):
        seal(ledger, notary)


def test_a_verdict_is_a_leaf_of_its_own(ledger: Ledger, notary: Notary) -> None:
    """It is proved like a receipt."""
    (job,) = issue(ledger, notary, 1)
    seal(ledger, notary)
    with ledger.write() as tx:
        row = receipt_rows.get(tx, job.id)
        assert row is not None
        entry = VerdictEntry(
            receipt=row.digest,
            verdict="corrected",
            output_hash=row.report_digest,
            timestamp="2026-11-21T12:00:00Z",
        )
        kind, data = entry.entry_type, entry.to_bytes()
        log_entries.add(tx, log=notary.log, kind=kind, data=data, job_id=job.id)
        assert [one.data for one in receipts.verdicts(tx, job.id)] == [data]
    seal(ledger, notary)
    with ledger.read() as tx:
        (entry_row,) = receipts.verdicts(tx, job.id)
        (leaf,) = trees.leaves(tx, notary.log, 1, 2)
        proof = receipts.entry_proof(tx, entry_row)
    assert (leaf.type, leaf.data, leaf.hash) == (EntryType.VERDICT, data, merkle.leaf_hash(data))
    assert proof is not None
    assert TlogProof.parse(proof).index == 1


def test_what_is_published_is_written_once(ledger: Ledger, notary: Notary, tmp_path: Path) -> None:
    """Copies of the ledger's bytes; one that was changed is left alone, and said."""
    issue(ledger, notary, 3)
    seal(ledger, notary, most=2)
    folder = tmp_path / "receipts"
    assert publishing.publish(ledger, notary.row(ledger), folder) == 2
    assert publishing.publish(ledger, notary.row(ledger), folder) == 0
    place = folder / notary.log_id
    with ledger.read() as tx:
        first, second = batches.sealed(tx, notary.log)
    assert (place / "checkpoint").read_bytes() == second.checkpoint
    assert (place / "checkpoints/000000000002").read_bytes() == first.checkpoint
    assert (place / "batches/batch_000000_000001.json").read_bytes() == second.manifest
    assert (place / "batches/batch_000000_000001.json.sig").read_bytes() == second.signature
    assert sorted(path.name for path in (place / "batches").iterdir()) == [
        f"batch_000000_00000{number}.json{end}" for number in (0, 1) for end in ("", ".sig")
    ]
    (place / "batches/batch_000000_000002.json").write_bytes(b"forged")
    issue(ledger, notary, 1)
    seal(ledger, notary)
    with pytest.raises(PublishedDiffers, match="batch_000000_000002"):
        publishing.publish(ledger, notary.row(ledger), folder)
    assert (place / "batches/batch_000000_000002.json").read_bytes() == b"forged"
