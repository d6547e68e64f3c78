"""Checking takes numbered steps; each fault is found by the step that is for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import CidProfile, Outcome, canonicalize, check_receipt, compute_cid, sha256_digest
from tests.unit.proofs.checking import OUTPUT, RECEIPT, REPORT, issued_for, outcomes_of, sole_fault
from tests.unit.proofs.examples import REQUEST, UNHURRIED, receipt, report

SPELLED = json.dumps(REQUEST, indent=4).encode("utf-8")


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
    assert set(outcomes_of(steps).values()) == {Outcome.PASSED}


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


def test_step_2_finds_a_report_with_another_hash() -> None:
    """The CID is right, the hash is not."""
    fault = sole_fault(receipt(report_hash="sha256:" + "00" * 32).to_bytes(), stored=REPORT)

    assert fault.number == 2
    assert fault.message.startswith("report_hash is sha256:0000")
    assert sha256_digest(REPORT) in fault.message


@pytest.mark.parametrize("profile", CidProfile)
def test_step_3_finds_a_report_with_another_cid(profile: CidProfile) -> None:
    """The hash is right, the CID is not, whichever profile it is of."""
    fault = sole_fault(receipt(ipfs_cid=compute_cid(b"other", profile)).to_bytes(), stored=REPORT)

    assert fault.number == 3
    assert compute_cid(REPORT, profile) in fault.message


def test_step_3_accepts_the_cid_of_either_profile() -> None:
    """The profile follows from the CID."""
    modern = receipt(ipfs_cid=compute_cid(REPORT, CidProfile.UNIXFS_V1_2025)).to_bytes()

    assert outcomes_of(check_receipt(modern, report=REPORT))[3] is Outcome.PASSED


def test_step_4_finds_a_report_of_another_job() -> None:
    """Right hashes do not help a report that is about something else."""
    stored = _edited(lambda document: document.update(job_id="another"))
    fault = sole_fault(issued_for(stored), stored=stored)

    assert fault.number == 4
    assert "the report is of another one" in fault.message


def test_step_4_finds_another_confidence() -> None:
    """The score in the receipt must follow from the report."""
    fault = sole_fault(issued_for(REPORT, confidence_score=99), stored=REPORT)

    assert fault.number == 4
    assert fault.message == "confidence_score is 99, but the report's confidence gives 60"


@pytest.mark.parametrize("confidence", [None, True, "0.6", 7])
def test_step_4_finds_a_report_without_a_confidence(confidence: object) -> None:
    """A report from elsewhere is not trusted to have our types."""
    document = json.loads(REPORT)
    document["companion"]["confidence"] = confidence
    stored = json.dumps(document).encode("utf-8")

    assert sole_fault(issued_for(stored), stored=stored).number == 4


@pytest.mark.parametrize("counted", [1, 4, 6])
def test_step_4_finds_another_number_of_samples(counted: int) -> None:
    """The receipt's figure is that of the samples which the companion holds."""
    fault = sole_fault(issued_for(REPORT, k_samples=counted), stored=REPORT)

    assert fault.number == 4
    assert fault.message.endswith(" but the report's companion has 5")


def test_step_4_finds_a_companion_without_samples() -> None:
    """There is nothing then that the receipt's figure could be of; step 7 lacks them too."""
    document = json.loads(REPORT)
    del document["companion"]["samples"]
    stored = json.dumps(document).encode("utf-8")
    outcomes = outcomes_of(check_receipt(issued_for(stored), report=stored))

    assert [number for number, end in outcomes.items() if end is Outcome.FAILED] == [4, 7]


@pytest.mark.parametrize(
    ("model", "told"), [("ot\x1bher", "names 'ot\\x1bher'"), (7, "names none by a text")]
)
def test_step_4_finds_another_model_in_the_reports_request(model: object, told: str) -> None:
    """Hashes that fit both do not make them agree."""
    request = {**REQUEST, "model": model}
    stored = _edited(lambda document: document.update(request=request))
    data = issued_for(stored, input_hash=sha256_digest(canonicalize(request)))
    fault = sole_fault(data, stored=stored)

    assert fault.number == 4
    assert fault.message == f"model is queenbee-spine, but the report's request {told}"


def test_step_4_asks_for_no_model_where_the_request_names_none() -> None:
    """A report from elsewhere may be of a request of another form."""
    stored = _edited(lambda document: document.update(request={"prompt": "L4-L5?"}))
    data = issued_for(stored, input_hash=sha256_digest(canonicalize({"prompt": "L4-L5?"})))

    assert Outcome.FAILED not in outcomes_of(check_receipt(data, report=stored)).values()


def test_step_5_finds_another_request() -> None:
    """One changed value in the caller's file is enough."""
    other = canonicalize({**REQUEST, "temperature": 0.8})
    fault = sole_fault(RECEIPT, request=other)

    assert fault.number == 5
    assert "the given request has" in fault.message


def test_step_5_finds_another_request_in_the_report() -> None:
    """The report's own request counts too."""
    stored = _edited(lambda document: document.update(request={**REQUEST, "prompt": "other"}))
    fault = sole_fault(issued_for(stored), stored=stored)

    assert fault.number == 5
    assert "the report's request has" in fault.message


def test_step_5_finds_a_request_that_is_not_strict_json() -> None:
    """A doubtful file is refused, not hashed."""
    fault = sole_fault(RECEIPT, request=b'{"model":"a","model":"b"}')

    assert fault.number == 5
    assert "given twice" in fault.message


def test_step_6_finds_another_output() -> None:
    """A newline added by an editor is another text."""
    fault = sole_fault(RECEIPT, output=OUTPUT + b"\n")

    assert fault.number == 6
    assert "the given output has" in fault.message


@pytest.mark.parametrize("answer", ["another", 5])
def test_step_6_finds_another_answer_in_the_report(answer: object) -> None:
    """The report's own answer counts too."""
    stored = _edited(lambda document: document.update(answer=answer))

    assert sole_fault(issued_for(stored), stored=stored).number == 6


def test_step_7_finds_a_sample_with_another_text() -> None:
    """The companion's digests hold the samples in place."""
    document = json.loads(REPORT)
    document["samples"][2]["text"] = "swapped"
    stored = json.dumps(document).encode("utf-8")
    fault = sole_fault(issued_for(stored), stored=stored)

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
    fault = sole_fault(issued_for(stored), stored=stored)

    assert fault.number == 7
    assert fault.message == f"samples: {told} sample 2 twice"


@pytest.mark.parametrize("samples", [None, {}, [None], [{"index": "0"}]])
def test_step_7_finds_samples_out_of_form(samples: object) -> None:
    """A report from elsewhere is not trusted to have our shapes."""
    stored = _edited(lambda document: document.update(samples=samples))

    assert sole_fault(issued_for(stored), stored=stored).number == 7


def test_step_7_is_skipped_without_sample_texts() -> None:
    """There is nothing to compare a digest with."""
    stored = report(samples=[])

    assert outcomes_of(check_receipt(issued_for(stored), report=stored))[7] is Outcome.SKIPPED


@UNHURRIED
@given(data=st.data())
def test_any_changed_byte_of_a_report_is_found(data: st.DataObject) -> None:
    """Steps 2 and 3 find it, whatever else the change does."""
    position = data.draw(st.integers(min_value=0, max_value=len(REPORT) - 1))
    byte = data.draw(st.integers(min_value=0, max_value=255).filter(REPORT[position].__ne__))
    changed = REPORT[:position] + bytes([byte]) + REPORT[position + 1 :]
    outcomes = outcomes_of(check_receipt(RECEIPT, report=changed))

    assert outcomes[2] is Outcome.FAILED
    assert outcomes[3] is Outcome.FAILED
