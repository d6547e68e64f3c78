"""Receipts as a worker issues them: signed, logged under a checkpoint, cosigned by witnesses."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from proofs import Receipt, merkle
from proofs.allowed_signers import AllowedSigners, allowed_line
from proofs.checkpoint import Checkpoint, cosign, sign, witness_vkey
from proofs.entry import EntryType, VerdictEntry
from proofs.keys import PrivateKey
from proofs.logged import Trust
from proofs.manifest import Manifest
from proofs.note import Note
from proofs.policy import Policy
from proofs.revocation import Revocation
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE
from proofs.sshsig import sign as sign_message
from proofs.tlog_proof import TlogProof
from proofs.verification import Material
from tests.unit.proofs import examples
from tests.unit.proofs.signers import BEE, KEY, ORIGIN, key_of

SIZE = 11
PLACE = 6
TIME = "2026-01-31T21:30:00Z"
WITNESS = key_of("a witness")
WITNESS_NAME = "witness.example"
POLICY = (f"witness w {witness_vkey(WITNESS_NAME, WITNESS.public_key).text}\nquorum w\n").encode()

_JOBS = [str(uuid.UUID(int=number)) for number in range(SIZE)]
_JOBS[PLACE] = examples.JOB_ID
RECEIPTS: tuple[Receipt, ...] = tuple(
    examples.receipt(worker_ens=BEE, job_id=job_id) for job_id in _JOBS
)
RECEIPT = RECEIPTS[PLACE]
CORRECTION = VerdictEntry(
    receipt=RECEIPT.digest, verdict="corrected", output_hash="sha256:" + "ab" * 32, timestamp=TIME
)
# The log's last leaf is what a person said of one of its receipts.
ENTRIES: tuple[bytes, ...] = (*(one.to_bytes() for one in RECEIPTS), CORRECTION.to_bytes())
LEAVES = tuple(merkle.leaf_hash(data) for data in ENTRIES)


def head(size: int, *, origin: str = ORIGIN, leaves: Sequence[bytes] = LEAVES) -> Checkpoint:
    """The log's head at a size."""
    return Checkpoint(origin=origin, size=size, root=merkle.root(leaves[:size]))


def checkpoint(
    of: Checkpoint, *keys: PrivateKey, cosigners: Mapping[str, PrivateKey] | None = None
) -> bytes:
    """A head as these keys sign it, the log's own key where none is named."""
    signed = [sign(of, key) for key in keys or (KEY,)]
    seen = [cosign(of, key, name=name, at=1_770_000_000) for name, key in (cosigners or {}).items()]
    return Note(text=of.body, signatures=(*signed, *seen)).to_bytes()


def proof(index: int = PLACE, size: int = SIZE, note: bytes | None = None) -> TlogProof:
    """The proof of a leaf against the log's head at a size."""
    path = merkle.inclusion_path(LEAVES[:size], index)
    return TlogProof(index=index, path=path, checkpoint=note or checkpoint(head(size)))


def signature(data: bytes, key: PrivateKey = KEY) -> bytes:
    """A receipt's own signature."""
    return sign_message(key, namespace=RECEIPT_NAMESPACE, message=data)


def material(**changes: bytes | None) -> Material:
    """What there is of the receipt, with some of it changed."""
    given: dict[str, bytes | None] = {
        "signature": signature(RECEIPT.to_bytes()),
        "proof": proof().to_bytes(),
        "report": examples.report(),
    }
    return Material(**{**given, **changes})


def signers_file(*keys: PrivateKey, name: str = BEE) -> bytes:
    """A file of allowed signers: the log's own key where none is named."""
    lines = [
        allowed_line(name, key.public_key, RECEIPT_NAMESPACE, BATCH_NAMESPACE)
        for key in keys or (KEY,)
    ]
    return ("\n".join(lines) + "\n").encode()


def trust(*keys: PrivateKey, revoked: Sequence[Revocation] = (), policy: bytes = b"") -> Trust:
    """Whom the tests believe: the log's own key where none is named."""
    return Trust(
        allowed=AllowedSigners.parse(signers_file(*keys)),
        policy=Policy.parse(policy) if policy else None,
        revocations=tuple(revoked),
    )


def revocation(size: int, key: PrivateKey = KEY, **changes: str) -> Revocation:
    """The revocation of a key from a size of the log on."""
    values = {
        "key": key.public_key.to_openssh(),
        "origin": ORIGIN,
        "root_hash": "sha256:" + merkle.root(LEAVES[:size]).hex(),
        "reason": "the key was copied",
        "timestamp": TIME,
    }
    return Revocation(tree_size=size, **{**values, **changes})


def manifest(first: int = 4, size: int = SIZE) -> Manifest:
    """The batch that ends at a size."""
    return Manifest(
        origin=ORIGIN,
        epoch=0,
        batch=1,
        first_index=first,
        count=size - first,
        batch_root=merkle.root(LEAVES[first:size]),
        tree_size=size,
        root_hash=merkle.root(LEAVES[:size]),
        prev_tree_size=first,
        prev_root_hash=merkle.root(LEAVES[:first]),
        consistency=merkle.consistency_proof(LEAVES[:size], first),
        leaves=LEAVES[first:size],
        types=(EntryType.RECEIPT,) * (size - first),
        engine="merkletools 1.0.3",
        cid_profile=examples.CidProfile.UNIXFS_V0_2015,
        sealed_at=TIME,
    )


def write_files(folder: Path) -> None:
    """Everything that a stranger is given, under the names of `docs/verify.md`."""
    batch = manifest().to_bytes()
    files = {
        "receipt.json": RECEIPT.to_bytes(),
        "receipt.json.sig": signature(RECEIPT.to_bytes()),
        "receipt.tlog-proof": proof().to_bytes(),
        "report.json": examples.report(),
        "result.txt": examples.ANSWER.encode("utf-8"),
        "batch.json": batch,
        "batch.json.sig": sign_message(KEY, namespace=BATCH_NAMESPACE, message=batch),
        "checkpoint": checkpoint(head(SIZE)),
        "allowed_signers": signers_file(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
