"""Checking takes numbered steps; each fault is found by the step that is for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import (
    CidProfile,
    Outcome,
    Step,
    canonicalize,
    check_receipt,
    compute_cid,
    salted_digest,
    sha256_digest,
)
from tests.unit.proofs.examples import (
    ANSWER,
    REQUEST,
    SALT,
    UNHURRIED,
    companion,
    receipt,
    report,
)

REPORT = report()
RECEIPT = receipt().to_bytes()
OUTPUT = ANSWER.encode("utf-8")
SENSITIVE = {**REQUEST, "sensitive": True}
SALTED_REPORT = report(request=SENSITIVE, salt=SALT)
CIPHERTEXT = b"age-encryption.org/v1 and so on"
SPELLED = json.dumps(REQUEST, indent=4).encode("utf-8")


def _outcomes(steps: tuple[Step, ...]) -> dict[int, Outcome]:
    return {step.number: step.outcome for step in steps}


def _issued(stored: bytes, **changes: object) -> bytes:
    """Return a receipt whose report hash and CID are right for `stored`."""
    return receipt(
        report_hash=sha256_digest(stored), ipfs_cid=compute_cid(stored), **changes
    ).to_bytes()


def _edited(change: Callable[[dict[str, object]], None]) -> bytes:
    document = json.loads(REPORT)
    change(document)
    return json.dumps(document, ensure_ascii=False).encode("utf-8")


def test_everything_that_matches_passes_in_order() -> None:
    """Seven steps, each with its own name, none refuted."""
    steps = check_receipt(RECEIPT, report=REPORT, request=SPELLED, output=OUTPUT)

    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [step.name for step in steps] == [
        "form",
        "report_hash",
        "ipfs_cid",
        "report",
        "input_hash",
        "output_hash",
        "samples",
    ]
    assert set(_outcomes(steps).values()) == {Outcome.PASSED}


def test_a_receipt_alone_is_checked_for_its_form_only() -> None:
    """What was not handed in is skipped, and the step says what was missing."""
    steps = check_receipt(RECEIPT)

    assert [step.outcome for step in steps] == [Outcome.PASSED] + [Outcome.SKIPPED] * 6
    assert all(" given" in step.message for step in steps[1:])


def test_step_1_refuses_a_receipt_out_of_form() -> None:
    """Nothing can be compared with what is not a receipt."""
    (step,) = check_receipt(RECEIPT + b"\n", report=REPORT)

    assert (step.number, step.outcome) == (1, Outcome.FAILED)
    assert "not in its canonical form" in step.message


def _sole_fault(
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


def test_step_2_finds_a_report_with_another_hash() -> None:
    """The CID is right, the hash is not."""
    fault = _sole_fault(receipt(report_hash="sha256:" + "00" * 32).to_bytes(), stored=REPORT)

    assert fault.number == 2
    assert fault.message.startswith("report_hash is sha256:0000")
    assert sha256_digest(REPORT) in fault.message


@pytest.mark.parametrize("profile", CidProfile)
def test_step_3_finds_a_report_with_another_cid(profile: CidProfile) -> None:
    """The hash is right, the CID is not, whichever profile it is of."""
    fault = _sole_fault(receipt(ipfs_cid=compute_cid(b"other", profile)).to_bytes(), stored=REPORT)

    assert fault.number == 3
    assert compute_cid(REPORT, profile) in fault.message


def test_step_3_accepts_the_cid_of_either_profile() -> None:
    """The profile follows from the CID."""
    modern = receipt(ipfs_cid=compute_cid(REPORT, CidProfile.UNIXFS_V1_2025)).to_bytes()

    assert _outcomes(check_receipt(modern, report=REPORT))[3] is Outcome.PASSED


def test_step_4_finds_a_report_of_another_job() -> None:
    """Right hashes do not help a report that is about something else."""
    stored = _edited(lambda document: document.update(job_id="another"))
    fault = _sole_fault(_issued(stored), stored=stored)

    assert fault.number == 4
    assert "the report is of another one" in fault.message


def test_step_4_finds_another_confidence() -> None:
    """The score in the receipt must follow from the report."""
    fault = _sole_fault(_issued(REPORT, confidence_score=99), stored=REPORT)

    assert fault.number == 4
    assert fault.message == "confidence_score is 99, but the report's confidence gives 60"


@pytest.mark.parametrize("confidence", [None, True, "0.6", 7])
def test_step_4_finds_a_report_without_a_confidence(confidence: object) -> None:
    """A report from elsewhere is not trusted to have our types."""
    document = json.loads(REPORT)
    document["companion"]["confidence"] = confidence
    stored = json.dumps(document).encode("utf-8")

    assert _sole_fault(_issued(stored), stored=stored).number == 4


@pytest.mark.parametrize("counted", [1, 4, 6])
def test_step_4_finds_another_number_of_samples(counted: int) -> None:
    """The receipt's figure is that of the samples which the companion holds."""
    fault = _sole_fault(_issued(REPORT, k_samples=counted), stored=REPORT)

    assert fault.number == 4
    assert fault.message.endswith(" but the report's companion has 5")


def test_step_4_finds_a_companion_without_samples() -> None:
    """There is nothing then that the receipt's figure could be of; step 7 lacks them too."""
    document = json.loads(REPORT)
    del document["companion"]["samples"]
    stored = json.dumps(document).encode("utf-8")
    outcomes = _outcomes(check_receipt(_issued(stored), report=stored))

    assert [number for number, end in outcomes.items() if end is Outcome.FAILED] == [4, 7]


@pytest.mark.parametrize(
    ("model", "told"), [("ot\x1bher", "names 'ot\\x1bher'"), (7, "names none by a text")]
)
def test_step_4_finds_another_model_in_the_reports_request(model: object, told: str) -> None:
    """Hashes that fit both do not make them agree."""
    request = {**REQUEST, "model": model}
    stored = _edited(lambda document: document.update(request=request))
    data = _issued(stored, input_hash=sha256_digest(canonicalize(request)))
    fault = _sole_fault(data, stored=stored)

    assert fault.number == 4
    assert fault.message == f"model is queenbee-spine, but the report's request {told}"


def test_step_4_asks_for_no_model_where_the_request_names_none() -> None:
    """A report from elsewhere may be of a request of another form."""
    stored = _edited(lambda document: document.update(request={"prompt": "L4-L5?"}))
    data = _issued(stored, input_hash=sha256_digest(canonicalize({"prompt": "L4-L5?"})))

    assert Outcome.FAILED not in _outcomes(check_receipt(data, report=stored)).values()


def test_step_5_finds_another_request() -> None:
    """One changed value in the caller's file is enough."""
    other = canonicalize({**REQUEST, "temperature": 0.8})
    fault = _sole_fault(RECEIPT, request=other)

    assert fault.number == 5
    assert "the given request has" in fault.message


def test_step_5_finds_another_request_in_the_report() -> None:
    """The report's own request counts too."""
    stored = _edited(lambda document: document.update(request={**REQUEST, "prompt": "other"}))
    fault = _sole_fault(_issued(stored), stored=stored)

    assert fault.number == 5
    assert "the report's request has" in fault.message


def test_step_5_finds_a_request_that_is_not_strict_json() -> None:
    """A doubtful file is refused, not hashed."""
    fault = _sole_fault(RECEIPT, request=b'{"model":"a","model":"b"}')

    assert fault.number == 5
    assert "given twice" in fault.message


def test_step_6_finds_another_output() -> None:
    """A newline added by an editor is another text."""
    fault = _sole_fault(RECEIPT, output=OUTPUT + b"\n")

    assert fault.number == 6
    assert "the given output has" in fault.message


@pytest.mark.parametrize("answer", ["another", 5])
def test_step_6_finds_another_answer_in_the_report(answer: object) -> None:
    """The report's own answer counts too."""
    stored = _edited(lambda document: document.update(answer=answer))

    assert _sole_fault(_issued(stored), stored=stored).number == 6


def test_step_7_finds_a_sample_with_another_text() -> None:
    """The companion's digests hold the samples in place."""
    document = json.loads(REPORT)
    document["samples"][2]["text"] = "swapped"
    stored = json.dumps(document).encode("utf-8")
    fault = _sole_fault(_issued(stored), stored=stored)

    assert fault.number == 7
    assert "digest of sample 2" in fault.message


@pytest.mark.parametrize(
    ("holder", "told"), [("companion", "the companion holds"), ("", "the report holds")]
)
def test_step_7_finds_a_sample_that_is_held_twice(holder: str, told: str) -> None:
    """One of two digests would be left out, and one vote counted as two."""
    document = json.loads(REPORT)
    held = (document[holder] if holder else document)["samples"]
    held[3] = held[2]
    stored = json.dumps(document).encode("utf-8")
    fault = _sole_fault(_issued(stored), stored=stored)

    assert fault.number == 7
    assert fault.message == f"samples: {told} sample 2 twice"


@pytest.mark.parametrize("samples", [None, {}, [None], [{"index": "0"}]])
def test_step_7_finds_samples_out_of_form(samples: object) -> None:
    """A report from elsewhere is not trusted to have our shapes."""
    stored = _edited(lambda document: document.update(samples=samples))

    assert _sole_fault(_issued(stored), stored=stored).number == 7


def test_step_7_is_skipped_without_sample_texts() -> None:
    """There is nothing to compare a digest with."""
    stored = report(samples=[])

    assert _outcomes(check_receipt(_issued(stored), report=stored))[7] is Outcome.SKIPPED


def _salted_receipt(**changes: object) -> bytes:
    hashes = {
        "input_hash": salted_digest(canonicalize(SENSITIVE), SALT),
        "output_hash": salted_digest(OUTPUT, SALT),
        **changes,
    }
    return _issued(SALTED_REPORT, **hashes)


def test_salted_hashes_pass_with_the_salt_in_the_report() -> None:
    """Both steps compare under it, the caller's own files too, and say so."""
    steps = check_receipt(
        _salted_receipt(),
        report=SALTED_REPORT,
        request=json.dumps({"sensitive": True, **REQUEST}).encode("utf-8"),
        output=OUTPUT,
    )

    assert set(_outcomes(steps).values()) == {Outcome.PASSED}
    assert all(step.message.endswith(", salted") for step in steps[4:6])


@pytest.mark.parametrize(("field", "number"), [("input_hash", 5), ("output_hash", 6)])
def test_a_plain_hash_is_no_salted_one(field: str, number: int) -> None:
    """Where the report has a salt, nothing else than the digest under it counts."""
    plain = {"input_hash": canonicalize(SENSITIVE), "output_hash": OUTPUT}
    changed = _salted_receipt(**{field: sha256_digest(plain[field])})
    fault = _sole_fault(changed, stored=SALTED_REPORT)

    assert fault.number == number
    assert fault.message.startswith(f"{field} is ")


def test_another_salt_refutes_both_hashes() -> None:
    """The salt is as much part of what was promised as the text."""
    stored = report(request=SENSITIVE, salt=SALT[::-1])
    hashes = json.loads(_salted_receipt())
    data = _issued(stored, **{name: hashes[name] for name in ("input_hash", "output_hash")})
    outcomes = _outcomes(check_receipt(data, report=stored))

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

    fault = _sole_fault(_salted_receipt(), output=OUTPUT)
    assert (fault.number, fault.message.endswith(perhaps)) == (6, True)
    assert fault.message.startswith("output_hash is sha256:")
    fault = _sole_fault(RECEIPT, output=OUTPUT + b"\n", request=SPELLED)
    assert (fault.number, "salted" in fault.message) == (6, False)


ENCRYPTED = report(companion=companion(report_encryption="age"))


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

    assert _sole_fault(_published(stored, CIPHERTEXT), stored=stored).number == 3


@UNHURRIED
@given(data=st.data())
def test_any_changed_byte_of_a_report_is_found(data: st.DataObject) -> None:
    """Steps 2 and 3 find it, whatever else the change does."""
    position = data.draw(st.integers(min_value=0, max_value=len(REPORT) - 1))
    byte = data.draw(st.integers(min_value=0, max_value=255).filter(REPORT[position].__ne__))
    changed = REPORT[:position] + bytes([byte]) + REPORT[position + 1 :]
    outcomes = _outcomes(check_receipt(RECEIPT, report=changed))

    assert outcomes[2] is Outcome.FAILED
    assert outcomes[3] is Outcome.FAILED
