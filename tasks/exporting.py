"""What a stranger needs to verify a job's receipt, as files, and what they hold true."""

from __future__ import annotations

from ledger import Job, Transaction, bodies, log_entries, logs
from ledger import receipts as receipt_rows
from proofs.allowed_signers import AllowedSigners, allowed_line
from proofs.keys import PublicKey
from proofs.logged import Trust
from proofs.origin import principal_of
from proofs.policy import Policy
from proofs.revocation import parse_revocations
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE
from proofs.verification import Material, Verification, verify_receipt
from tasks import log_keys, receipts
from tasks.errors import JobUnanswered

RECEIPT = "receipt.json"
SIGNATURE = "receipt.json.sig"
PROOF = "receipt.tlog-proof"
REPORT = "report.json"
OUTPUT = "result.txt"
BATCH = "batch.json"
CORRECTED = "corrected.txt"
VERDICT = "verdict.json"
VERDICT_PROOF = "verdict.tlog-proof"
SIGNERS = "allowed_signers"
REVOCATIONS = "revocations.jsonl"


def files(tx: Transaction, job: Job, *, report: bool) -> dict[str, bytes]:
    """The files by their names; those of what is not there are left out.

    `report` adds the job's report and answer, and what a person corrected it to.

    Raises:
        JobUnanswered: the job has no receipt.
    """
    row = receipt_rows.get(tx, job.id)
    if row is None:
        raise JobUnanswered(f"Job {job.id} is {job.state} and has no receipt.")
    found = {
        RECEIPT: row.canonical,
        SIGNATURE: row.signature,
        PROOF: receipts.proof(tx, job.id),
        SIGNERS: allowed_signers(tx),
        REVOCATIONS: b"".join(data + b"\n" for data in log_entries.revocations(tx)) or None,
    }
    if report:
        found[REPORT] = _body(tx, job.report_digest)
        found[OUTPUT] = _body(tx, job.output_digest)
    # The newest that can be proved: one that waits for its place refutes nothing.
    for decided in receipts.verdicts(tx, job.id):
        if (proof := receipts.entry_proof(tx, decided)) is not None:
            found[VERDICT], found[VERDICT_PROOF] = decided.data, proof
            if report:
                found[CORRECTED] = _body(tx, decided.body_digest)
    return {name: data for name, data in found.items() if data is not None}


def batch_files(tx: Transaction, job_id: str) -> dict[str, bytes]:
    """The manifest of the batch that a job's receipt is in, and its signature.

    Raises:
        JobUnanswered: the receipt is not logged yet.
    """
    place = receipts.place(tx, job_id)
    if place is None or place.batch.manifest is None or place.batch.signature is None:
        raise JobUnanswered(f"The receipt of job {job_id} is signed, and not logged yet.")
    return {BATCH: place.batch.manifest, f"{BATCH}.sig": place.batch.signature}


def _body(tx: Transaction, digest: str | None) -> bytes | None:
    return None if digest is None else bodies.get(tx, digest)


def allowed_signers(tx: Transaction) -> bytes:
    """The keys that this ledger's logs are or were signed with, as OpenSSH's file."""
    lines: dict[str, None] = {}
    for log in logs.list(tx):
        for key in log_keys.of(tx, log):
            public = PublicKey.from_openssh(key)
            name = principal_of(log.origin)
            lines[allowed_line(name, public, RECEIPT_NAMESPACE, BATCH_NAMESPACE)] = None
    return "".join(f"{line}\n" for line in lines).encode()


def verify(
    given: dict[str, bytes], *, signers: bytes | None = None, policy: bytes | None = None
) -> Verification:
    """Verify a job's files; `signers` are the keys to believe, instead of those among the files."""
    trust = Trust(
        allowed=AllowedSigners.parse(signers if signers is not None else given[SIGNERS]),
        policy=None if policy is None else Policy.parse(policy),
        revocations=parse_revocations(given.get(REVOCATIONS, b"")),
    )
    material = Material(
        signature=given.get(SIGNATURE),
        proof=given.get(PROOF),
        report=given.get(REPORT),
        output=given.get(OUTPUT),
        verdict=given.get(VERDICT),
        verdict_proof=given.get(VERDICT_PROOF),
    )
    return verify_receipt(given[RECEIPT], material, trust)
