"""Auditing a whole log: everything that is stored of it is made again, and the first lie is named.

`audit` takes these steps; the same numbers stand in the code.

1. The leaves lie without a gap, each is the hash of its bytes, and those are an entry of its type.
2. A receipt's row says of it what it says itself, names this leaf, and its own signature is by a
   key that its worker had. No other row names a leaf that is not its own.
3. Every stored node is the hash of the two below it.
4. The batches follow each other without a gap, and the log's row says where they end.
5. A batch's manifest holds by itself, is signed by the log's key, lists exactly its leaves, and
   names the roots that the leaves give; merkletools builds the same tree.
6. A batch's checkpoint names the same head, and the log's key has signed it; where a key hands
   over, the old one and the new one have.
7. What was published of a batch has the same bytes.
8. Receipts that wait for a place are signed by the log's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ledger import (
    BatchRow,
    LeafRow,
    Ledger,
    LogRow,
    Transaction,
    batches,
    log_entries,
    logs,
    receipt_checks,
    receipts,
    trees,
)
from proofs import batch_tree, checkpoint, sshsig, stored_tree, timestamp
from proofs.checkpoint import Checkpoint
from proofs.entry import KeyHandoverEntry, parse_entry, type_of
from proofs.errors import ProofError
from proofs.keys import PublicKey
from proofs.manifest import Manifest
from proofs.merkle import EMPTY_ROOT, leaf_hash, node_hash
from proofs.note import Note, NoteSignature, VerifierKey
from proofs.origin import principal_of
from proofs.receipt import Receipt
from proofs.stored_tree import Node
from tasks import audit_rows, log_keys, publishing
from tasks.log_errors import LogError

CHUNK = 1000
T = TypeVar("T")


class AuditFailed(LogError):
    """Something in a log is not what it says."""

    code = "AUDIT_FAILED"
    suggested_action = "Keep the ledger as it is, and compare it with a backup and the witnesses."


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was looked at, and found to hold: how many of each, and the head they give."""

    origin: str
    leaves: int
    receipts: int
    batches: int
    waiting: int
    root: bytes


def audit(
    ledger: Ledger,
    log: LogRow,
    *,
    published: Path | None = None,
    witnesses: Sequence[VerifierKey] = (),
) -> Audited:
    """Look at everything that the ledger holds of a log, and at its published files.

    Lines of `witnesses` are verified, those of others only read.

    Raises:
        AuditFailed: names the first thing that is wrong.
    """
    return _Auditor(ledger, log, published, witnesses).run()


class _Auditor:
    """One look at one log."""

    def __init__(
        self,
        ledger: Ledger,
        log: LogRow,
        published: Path | None,
        witnesses: Sequence[VerifierKey],
    ) -> None:
        self._witnesses = witnesses
        self._cosignatures: dict[int, list[str]] = {}
        self._ledger = ledger
        self._log = log
        self._published = None if published is None else published / log.log_id
        self._hashes: list[bytes] = []
        self._handovers: dict[int, KeyHandoverEntry] = {}
        self._signed: list[tuple[int, str]] = []
        self._receipts = 0

    def run(self) -> Audited:
        with self._ledger.read() as tx:
            # As this transaction sees it: its worker may be sealing.
            self._log = logs.get(tx, self._log.number) or self._log
            for leaf in self._leaves(tx):
                self._leaf(tx, leaf)  # (1)
            keys = set(log_keys.of_name(tx, principal_of(self._log.origin)))
            for index, key in self._signed:  # (2)
                if key not in keys:
                    raise self._wrong(
                        f"leaf {index}", "its receipt is signed by no key of its worker"
                    )
            if (stray := receipt_checks.stray(tx, self._log.number)) is not None:
                raise self._wrong(f"the receipt of job {stray}", "it names a leaf that is not its")
            levels = self._nodes(tx)  # (3)
            self._cosignatures = log_entries.cosignatures_from(tx, self._log.number, 0)
            count = self._batches(tx, levels)  # (4)
            waiting = self._waiting(tx, keys)  # (8)
        return Audited(
            origin=self._log.origin,
            leaves=len(self._hashes),
            receipts=self._receipts,
            batches=count,
            waiting=waiting,
            root=self._log.sealed_root,
        )

    def _leaves(self, tx: Transaction) -> Iterator[LeafRow]:
        for start in range(0, self._log.size, CHUNK):
            beyond = min(start + CHUNK, self._log.size)
            rows = trees.leaves(tx, self._log.number, start, beyond)
            for index, row in zip(range(start, beyond), rows, strict=False):
                if row.index != index:
                    raise self._wrong(f"leaf {index}", "it is not stored")
                yield row
            if len(rows) != beyond - start:
                raise self._wrong(f"leaf {start + len(rows)}", "it is not stored")

    def _leaf(self, tx: Transaction, leaf: LeafRow) -> None:
        what = f"leaf {leaf.index}"
        if leaf.data is None:
            raise self._wrong(what, "its bytes are not stored")
        made = self._checked(what, partial(leaf_hash, leaf.data))
        if made != leaf.hash:
            raise self._wrong(what, f"its bytes have the hash {made.hex()}")
        entry = self._checked(what, partial(parse_entry, leaf.data))
        if type_of(entry) != leaf.type:
            raise self._wrong(what, f"it is stored as {leaf.type}, but is a {type_of(entry)}")
        if isinstance(entry, KeyHandoverEntry):
            self._handovers[leaf.index] = entry
        if isinstance(entry, Receipt):
            self._receipts += 1
            self._receipt(tx, leaf, entry)
        elif leaf.job_id is not None:
            raise self._wrong(what, "it is no receipt, but names a job")
        self._hashes.append(leaf.hash)

    def _receipt(self, tx: Transaction, leaf: LeafRow, receipt: Receipt) -> None:
        what = f"leaf {leaf.index}"
        row = None if leaf.job_id is None else receipts.get(tx, leaf.job_id)
        if row is None:
            raise self._wrong(what, "no row holds its receipt")
        if (reason := audit_rows.difference(tx, row, receipt, leaf)) is not None:
            raise self._wrong(what, reason)
        self._signed.append((leaf.index, self._signer(what, row.signature, row.canonical)))

    def _signer(self, what: str, signature: bytes | None, receipt: bytes) -> str:
        key = self._checked(
            what,
            lambda: sshsig.verify(
                signature or b"", namespace=sshsig.RECEIPT_NAMESPACE, message=receipt
            ),
        )
        return key.to_openssh()

    def _nodes(self, tx: Transaction) -> list[list[bytes]]:
        levels = [self._hashes]
        while len(levels[-1]) > 1:
            below, level = levels[-1], len(levels)
            made = [node_hash(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)]
            for start in range(0, len(made), CHUNK):
                wanted = [(level, index) for index in range(start, min(start + CHUNK, len(made)))]
                stored = trees.nodes(tx, self._log.number, wanted)
                for node in wanted:
                    if stored.get(node) != made[node[1]]:
                        raise self._wrong(
                            f"node {node[1]} of level {level}",
                            "it is not the hash of the two below it"
                            if node in stored
                            else "it is not stored",
                        )
            levels.append(made)
        return levels

    def _batches(self, tx: Transaction, levels: Sequence[Sequence[bytes]]) -> int:
        def read(nodes: Sequence[Node]) -> Mapping[Node, bytes]:
            return {(level, index): levels[level][index] for level, index in nodes}

        key = self._first_key()
        number, size, root = 0, 0, EMPTY_ROOT
        while found := batches.sealed(tx, self._log.number, after=number - 1):
            for batch in found:
                if (batch.number, batch.first_index) != (number, size):
                    raise self._wrong(f"batch {number}", f"batch {batch.number} is in its place")
                size += batch.count
                made = self._checked(f"batch {number}", partial(stored_tree.root_at, size, read))
                key = self._batch(batch, key=key, before=root, after=made)
                number, root = number + 1, made
        if (size, root) != (self._log.sealed_size, self._log.sealed_root):
            raise self._wrong(
                "the log's row",
                f"it says {self._log.sealed_size} leaves are sealed, the batches have {size}"
                if size != self._log.sealed_size
                else "it has another root than the batches",
            )
        return number

    def _first_key(self) -> PublicKey:
        first = self._handovers[min(self._handovers)].old_key if self._handovers else self._log.key
        return PublicKey.from_openssh(first)

    def _batch(self, batch: BatchRow, *, key: PublicKey, before: bytes, after: bytes) -> PublicKey:
        """Look at one batch; gives the key that signs the next one."""
        what = f"batch {batch.number}"
        data = batch.manifest or b""
        manifest = self._checked(what, lambda: Manifest.from_bytes(data))  # (5)
        used = self._checked(
            what,
            lambda: sshsig.verify(
                batch.signature or b"", namespace=sshsig.BATCH_NAMESPACE, message=data
            ),
        )
        beyond = batch.tree_size
        hashes = tuple(self._hashes[batch.first_index : beyond])
        tree = self._checked(what, lambda: batch_tree.build(hashes))
        for told, true, name in (
            (used, key, "the key that signed its manifest"),
            (manifest.origin, self._log.origin, "the origin in its manifest"),
            (manifest.first_index, batch.first_index, "the first index in its manifest"),
            (manifest.leaves, hashes, "the list of leaves in its manifest"),
            (manifest.batch_root, tree.root, "the root of its leaves in its manifest"),
            (manifest.prev_root_hash, before, "the root before it in its manifest"),
            (manifest.root_hash, after, "the root in its manifest"),
            (manifest.sealed_at, timestamp(batch.sealed_at), "the time in its manifest"),
        ):
            if told != true:
                raise self._wrong(what, f"{name} is not what the log has")
        handed = [
            self._handovers[index]
            for index in range(batch.first_index, beyond)
            if index in self._handovers
        ]
        successors = [PublicKey.from_openssh(entry.new_key) for entry in handed]
        self._head(
            batch,
            [key, *successors],
            Checkpoint(  # (6)
                origin=self._log.origin, size=beyond, root=after
            ),
        )
        self._files(batch)  # (7)
        return successors[-1] if successors else key

    def _head(self, batch: BatchRow, keys: Sequence[PublicKey], head: Checkpoint) -> None:
        what = f"the checkpoint of batch {batch.number}"
        note = self._checked(what, lambda: Note.parse(batch.checkpoint or b""))
        if self._checked(what, lambda: Checkpoint.from_note(note)) != head:
            raise self._wrong(what, "it names another head than its leaves give")
        for line in self._cosignatures.get(head.size, ()):
            self._checked(what, partial(self._cosigned, note, line))
        for key in keys:
            if not self._checked(what, partial(checkpoint.is_signed_by, note, key)):
                raise self._wrong(what, f"the key {key.fingerprint} has not signed it")

    def _cosigned(self, note: Note, line: str) -> None:
        """Look at a witness's line; its signature too, where the witness is known here."""
        signature = NoteSignature.parse(line)
        for witness in self._witnesses:
            if (witness.name, witness.key_id) == (signature.name, signature.key_id):
                signed = Note(text=note.text, signatures=(signature,))
                checkpoint.verify_cosignature(signed, witness)

    def _files(self, batch: BatchRow) -> None:
        if self._published is None or batch.published_at is None:
            return
        for name, data in publishing.names(batch).items():
            try:
                found = (self._published / name).read_bytes()
            except OSError as error:
                raise self._wrong(
                    f"the published file {name}", f"it cannot be read: {error.strerror}"
                ) from error
            if found != data:
                raise self._wrong(f"the published file {name}", "it has other bytes")

    def _waiting(self, tx: Transaction, keys: set[str]) -> int:
        rows = receipts.unlogged(tx, self._log.number, 1_000_000)
        for row in rows:
            what = f"the receipt of job {row.job_id}"
            if self._signer(what, row.signature, row.canonical) not in keys:
                raise self._wrong(what, "it is signed by no key of its worker")
        return len(rows)

    def _checked(self, what: str, check: Callable[[], T]) -> T:
        try:
            return check()
        except ProofError as error:
            raise self._wrong(what, error.message) from error
        except (AttributeError, TypeError) as error:
            # SQLite keeps a text in a column of bytes, if somebody writes one there.
            raise self._wrong(what, "it is not stored as bytes") from error

    def _wrong(self, what: str, reason: str) -> AuditFailed:
        return AuditFailed(
            f"{self._log.origin}: {what}: {reason}.",
            details={"origin": self._log.origin, "what": what},
        )
