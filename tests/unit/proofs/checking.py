"""Checking the example's receipt against its material, and what a test says to that."""

from __future__ import annotations

from proofs import Outcome, Step, check_receipt, compute_cid, sha256_digest
from tests.unit.proofs.examples import ANSWER, receipt, report

REPORT = report()
RECEIPT = receipt().to_bytes()
OUTPUT = ANSWER.encode("utf-8")


def outcomes_of(steps: tuple[Step, ...]) -> dict[int, Outcome]:
    """Return how each step ended, by its number."""
    return {step.number: step.outcome for step in steps}


def issued_for(stored: bytes, **changes: object) -> bytes:
    """Return a receipt whose report hash and CID are right for `stored`."""
    return receipt(
        report_hash=sha256_digest(stored), ipfs_cid=compute_cid(stored), **changes
    ).to_bytes()


def sole_fault(
    data: bytes,
    *,
    stored: bytes | None = None,
    request: bytes | None = None,
    output: bytes | None = None,
) -> Step:
    """Return the one step that failed, when exactly one has."""
    steps = check_receipt(data, report=stored, request=request, output=output)
    (fault,) = [step for step in steps if step.outcome is Outcome.FAILED]
    return fault
