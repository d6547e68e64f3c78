"""Checking salted hashes, and reports that were published under a cipher."""

from __future__ import annotations

import json

import pytest

from proofs import Outcome, canonicalize, check_receipt, compute_cid, salted_digest, sha256_digest
from tests.unit.proofs.checking import OUTPUT, RECEIPT, REPORT, issued_for, outcomes_of, sole_fault
from tests.unit.proofs.examples import REQUEST, SALT, companion, receipt, report

SENSITIVE = {**REQUEST, "sensitive": True}
SALTED_REPORT = report(request=SENSITIVE, salt=SALT)
SPELLED = json.dumps(REQUEST, indent=4).encode("utf-8")
CIPHERTEXT = b"age-encryption.org/v1 and so on"
ENCRYPTED = report(companion=companion(report_encryption="age"))


def _salted_receipt(**changes: object) -> bytes:
    hashes = {
        "input_hash": salted_digest(canonicalize(SENSITIVE), SALT),
        "output_hash": salted_digest(OUTPUT, SALT),
        **changes,
    }
    return issued_for(SALTED_REPORT, **hashes)


def test_salted_hashes_pass_with_the_salt_in_the_report() -> None:
    """Both steps compare under it, the caller's own files too, and say so."""
    steps = check_receipt(
        _salted_receipt(),
        report=SALTED_REPORT,
        request=json.dumps({"sensitive": True, **REQUEST}).encode("utf-8"),
        output=OUTPUT,
    )

    assert set(outcomes_of(steps).values()) == {Outcome.PASSED}
    assert all(step.message.endswith(", salted") for step in steps[4:6])


@pytest.mark.parametrize(("field", "number"), [("input_hash", 5), ("output_hash", 6)])
def test_a_plain_hash_is_no_salted_one(field: str, number: int) -> None:
    """Where the report has a salt, nothing else than the digest under it counts."""
    plain = {"input_hash": canonicalize(SENSITIVE), "output_hash": OUTPUT}
    changed = _salted_receipt(**{field: sha256_digest(plain[field])})
    fault = sole_fault(changed, stored=SALTED_REPORT)

    assert fault.number == number
    assert fault.message.startswith(f"{field} is ")


def test_another_salt_refutes_both_hashes() -> None:
    """The salt is as much part of what was promised as the text."""
    stored = report(request=SENSITIVE, salt=SALT[::-1])
    hashes = json.loads(_salted_receipt())
    data = issued_for(stored, **{name: hashes[name] for name in ("input_hash", "output_hash")})
    outcomes = outcomes_of(check_receipt(data, report=stored))

    assert [number for number, end in outcomes.items() if end is Outcome.FAILED] == [5, 6]


def test_without_the_salt_a_sensitive_job_is_not_refuted() -> None:
    """Its request says that the hashes are salted, so there is nothing to compare with."""
    request = canonicalize(SENSITIVE)
    steps = check_receipt(_salted_receipt(), request=request, output=OUTPUT)

    assert [step.outcome for step in steps[4:6]] == [Outcome.SKIPPED] * 2
    assert all("no report with its salt was given" in step.message for step in steps[4:6])


def test_without_report_and_request_an_answer_may_be_salted() -> None:
    """Nothing tells it from another one, so that both are named; with a plain request, one is."""
    perhaps = (
        "; or the receipt's hashes are salted and the report, which holds the salt, is missing"
    )

    fault = sole_fault(_salted_receipt(), output=OUTPUT)
    assert (fault.number, fault.message.endswith(perhaps)) == (6, True)
    assert fault.message.startswith("output_hash is sha256:")
    fault = sole_fault(RECEIPT, output=OUTPUT + b"\n", request=SPELLED)
    assert (fault.number, "salted" in fault.message) == (6, False)


def _published(stored: bytes, ciphertext: bytes) -> bytes:
    return receipt(report_hash=sha256_digest(stored), ipfs_cid=compute_cid(ciphertext)).to_bytes()


def test_step_3_takes_the_ciphertext_of_an_encrypted_report() -> None:
    """The hash is the report's, the CID its ciphertext's."""
    data = _published(ENCRYPTED, CIPHERTEXT)
    steps = check_receipt(data, report=ENCRYPTED, ciphertext=CIPHERTEXT)
    alone = check_receipt(data, ciphertext=CIPHERTEXT)

    assert [step.outcome for step in steps[1:4]] == [Outcome.PASSED] * 3
    assert alone[2].outcome is Outcome.PASSED
    assert alone[2].message.endswith(", of the ciphertext")


def test_step_3_is_skipped_without_the_ciphertext() -> None:
    """The plain report has another CID, and that refutes nothing."""
    steps = check_receipt(_published(ENCRYPTED, CIPHERTEXT), report=ENCRYPTED)

    assert steps[2].outcome is Outcome.SKIPPED
    assert steps[2].message == "the report is published under age, but no ciphertext was given"


def test_step_3_finds_another_ciphertext() -> None:
    """One byte more."""
    steps = check_receipt(
        _published(ENCRYPTED, CIPHERTEXT), report=ENCRYPTED, ciphertext=CIPHERTEXT + b"\n"
    )

    assert steps[2].outcome is Outcome.FAILED
    assert "the ciphertext's bytes have" in steps[2].message


def test_step_3_finds_a_ciphertext_of_a_report_that_has_none() -> None:
    """Whoever hands in both has to know which the CID is of."""
    steps = check_receipt(_published(REPORT, CIPHERTEXT), report=REPORT, ciphertext=CIPHERTEXT)

    assert steps[2].outcome is Outcome.FAILED
    assert "does not say it is encrypted" in steps[2].message


def test_step_3_finds_an_unknown_encryption() -> None:
    """What the CID is of cannot be told then."""
    document = json.loads(ENCRYPTED)
    document["companion"]["report_encryption"] = "rot13"
    stored = json.dumps(document).encode("utf-8")

    assert sole_fault(_published(stored, CIPHERTEXT), stored=stored).number == 3
