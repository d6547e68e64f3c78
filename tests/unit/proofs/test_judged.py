"""Step 14 of verification: a person's verdict counts as logged, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs import Outcome, salted_digest, sha256_digest
from proofs.tlog_proof import TlogProof
from proofs.verification import Material, verify_receipt
from tests.unit.proofs import examples, issued
from tests.unit.proofs.issued import POLICY, SIZE, material, revocation, trust
from tests.unit.proofs.signers import BEE, ORIGIN, OTHER
from tests.unit.proofs.verifying import (
    DATA,
    SIGNING,
    WITNESSES,
    allowing,
    expiring,
    fault,
    verify,
)

VERDICT = issued.CORRECTION
VERDICT_PROOF = issued.proof(SIZE, SIZE + 1)


def _judged(entry: bytes | None, proved: TlogProof | None) -> Material:
    return material(verdict=entry, verdict_proof=None if proved is None else proved.to_bytes())


ABOUT_ANOTHER = replace(VERDICT, receipt=issued.RECEIPTS[0].digest)
OTHER_HEAD = issued.checkpoint(issued.head(SIZE + 1), OTHER)
VERDICTS: list[tuple[Material, str]] = [
    (_judged(VERDICT.to_bytes(), None), "there is no proof of the verdict"),
    (_judged(None, VERDICT_PROOF), "there is no verdict"),
    (_judged(ABOUT_ANOTHER.to_bytes(), VERDICT_PROOF), "the verdict is about the receipt sha256:"),
    (_judged(DATA, VERDICT_PROOF), "what was given as a verdict is a receipt"),
    (_judged(b"[]", VERDICT_PROOF), "an entry is a JSON object"),
    (
        _judged(replace(VERDICT, output_hash="sha256:" + "cd" * 32).to_bytes(), VERDICT_PROOF),
        "the path leads from leaf 11 of 12 to the root ",
    ),
    (
        _judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, index=3)),
        "the inclusion path is too short: leaf 3 of 12 takes 4 hashes, not 3",
    ),
    (
        _judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, checkpoint=OTHER_HEAD)),
        f"the checkpoint of {ORIGIN} is not signed by any key of {BEE}",
    ),
    (_judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, checkpoint=b"x")), "this is no valid"),
]


@pytest.mark.parametrize(("given", "message"), VERDICTS)
def test_step_14_says_what_is_wrong_with_a_verdict(given: Material, message: str) -> None:
    """A verdict counts as logged, by the worker's own log, or not at all."""
    number, told = fault(given)

    assert (number, told.startswith(message)) == (14, True), told


def test_step_14_holds_a_verdict_to_revocations_and_witnesses() -> None:
    """As it does a receipt."""
    given = _judged(VERDICT.to_bytes(), VERDICT_PROOF)
    number, told = fault(given, trust(revoked=[revocation(SIZE)]))
    assert (number, "the leaves before 11 are left standing, not 11" in told) == (14, True)

    note = issued.checkpoint(issued.head(SIZE), cosigners=WITNESSES)
    seen = replace(given, proof=issued.proof(note=note).to_bytes())
    number, told = fault(seen, trust(policy=POLICY))
    assert (number, told.startswith("the policy needs witness w")) == (14, True)


def test_step_14_refuses_a_verdict_by_a_key_that_had_expired() -> None:
    """Its own time counts, not the receipt's."""
    given = _judged(VERDICT.to_bytes(), VERDICT_PROOF)

    number, told = fault(given, allowing(f"{SIGNING}\n{expiring('20260131212959Z')}"))

    assert (number, told.endswith("no longer valid when its leaf was written")) == (14, True)
    assert verify(given, allowing(f"{SIGNING}\n{expiring('20260131213000Z')}")).verified


CORRECTED = b"severe stenosis"


def _corrected(
    corrected: bytes, *, salt: bytes | None = None, report: bytes | None = None, **changes: str
) -> Material:
    """The receipt, and a logged verdict that corrects its answer."""
    digest = sha256_digest(CORRECTED) if salt is None else salted_digest(CORRECTED, salt)
    entry = replace(VERDICT, **{"output_hash": digest, **changes})
    leaves = (*issued.LEAVES[:SIZE], entry.leaf_hash)
    proved = TlogProof(
        index=SIZE,
        path=issued.merkle.inclusion_path(leaves, SIZE),
        checkpoint=issued.checkpoint(issued.head(SIZE + 1, leaves=leaves)),
    )
    return material(
        report=report,
        verdict=entry.to_bytes(),
        verdict_proof=proved.to_bytes(),
        corrected=corrected,
    )


def test_step_14_compares_the_corrected_answer() -> None:
    """With the digest in the verdict, which the log vouches for."""
    assert verify(_corrected(CORRECTED, report=examples.report())).verified

    other = CORRECTED + b"\n"
    number, told = fault(_corrected(other, report=examples.report()))
    assert (number, told) == (
        14,
        f"the verdict's output_hash is {sha256_digest(CORRECTED)}, but the corrected answer has"
        f" {sha256_digest(other)}",
    )


def test_step_14_compares_it_under_the_reports_salt() -> None:
    """And says what may be missing where there is no report."""
    salted = _corrected(CORRECTED, salt=examples.SALT, report=examples.report(salt=examples.SALT))
    assert verify_receipt(DATA, salted, trust()).steps[13].outcome is Outcome.PASSED

    number, told = fault(_corrected(CORRECTED, salt=examples.SALT))
    assert (number, told.endswith("the report, which holds the salt, is missing")) == (14, True)


def test_step_14_needs_a_verdict_that_corrects() -> None:
    """Nothing else says what the answer should have been."""
    rejected = replace(VERDICT, verdict="rejected", output_hash=None)
    given = _corrected(CORRECTED)
    number, told = fault(replace(given, verdict=None, verdict_proof=None))
    assert (number, told) == (14, "there is no verdict")

    leaves = (*issued.LEAVES[:SIZE], rejected.leaf_hash)
    proved = replace(
        VERDICT_PROOF,
        path=issued.merkle.inclusion_path(leaves, SIZE),
        checkpoint=issued.checkpoint(issued.head(SIZE + 1, leaves=leaves)),
    )
    given = replace(given, verdict=rejected.to_bytes(), verdict_proof=proved.to_bytes())
    number, told = fault(given)
    assert (number, told) == (
        14,
        "the answer was rejected by a person, so there is no corrected one",
    )
