"""Checking a receipt and everything it can be compared with, offline.

`check_receipt` takes these steps; the same numbers stand in its results.

1. The receipt is canonical JSON with exactly the twelve fields, each of its form.
2. `report_hash` is the digest of the report's bytes.
3. `ipfs_cid` is the CID of the report's bytes, under the profile its form tells, compared as bytes;
   where the report says that it is encrypted, it is the CID of the ciphertext's bytes.
4. The report is strict JSON of version 1, is about the receipt's job and, where its request names
   one, the receipt's model; its companion counts `k_samples` samples, and its confidence gives the
   receipt's `confidence_score`.
5. `input_hash` is the digest of the request: of the caller's file, where one is given, in the form
   that the ledger holds (`proofs.request`), and of the RFC 8785 form of the report's `request`,
   where a report is given. Where the report has a salt, it is the digest under that salt.
6. `output_hash` is the digest of the answer: of the file's bytes, and of the report's `answer`;
   under the salt, where the report has one.
7. Every sample text in the report has the digest its companion holds for it, and no sample is held
   twice.

A step without anything to compare is skipped and says what was missing. What this does not show:
who issued the receipt, that it was logged, that the model really ran, or that the clock was right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proofs.canonical import canonical
from proofs.cid import cid, cid_bytes, profile_of
from proofs.errors import CheckFailed, ProofError, ReportInvalid
from proofs.hashing import salted_digest, sha256_digest
from proofs.receipt import Receipt
from proofs.report import check_sample_digests, encryption_of, parse_report, salt_of
from proofs.reported import check_report
from proofs.request import is_sensitive, request_bytes


class Outcome(StrEnum):
    """How a step ended."""

    PASSED = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One numbered step: what it looks at, how it ended, and a sentence that says why."""

    number: int
    name: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What there is to compare a receipt with: exact bytes, None where not handed in."""

    report: bytes | None
    request: bytes | None
    output: bytes | None
    ciphertext: bytes | None


class _Skipped(Exception):
    """A step has nothing to compare with; no error, and never seen outside this file."""


def check_receipt(
    receipt: bytes,
    *,
    report: bytes | None = None,
    request: bytes | None = None,
    output: bytes | None = None,
    ciphertext: bytes | None = None,
) -> tuple[Step, ...]:
    """Take every step that the material allows, also after one has failed.

    Args:
        receipt: The receipt's bytes, exactly as issued.
        report: The report's bytes, exactly as stored.
        request: The caller's request as JSON, however it is spelled; `v` may be left out.
        output: The answer's bytes, exactly.
        ciphertext: The encrypted report's bytes, exactly as published.

    Returns:
        One result per step, in order. The receipt has been refuted if any is `FAILED`; without a
        readable receipt there is only the first.
    """
    try:
        parsed = Receipt.from_bytes(receipt)
    except ProofError as exc:
        return (Step(number=1, name="form", outcome=Outcome.FAILED, message=exc.message),)
    return compare_receipt(
        parsed, report=report, request=request, output=output, ciphertext=ciphertext
    )


def compare_receipt(
    receipt: Receipt,
    *,
    report: bytes | None,
    request: bytes | None,
    output: bytes | None,
    ciphertext: bytes | None,
) -> tuple[Step, ...]:
    """Take the steps of `check_receipt` for a receipt that has been read."""
    evidence = _Evidence(report=report, request=request, output=output, ciphertext=ciphertext)
    return tuple(_take(receipt, evidence))


def _take(receipt: Receipt, evidence: _Evidence) -> Iterator[Step]:
    for number, name, step in _STEPS:
        try:
            outcome, message = Outcome.PASSED, step(receipt, evidence)
        except _Skipped as exc:
            outcome, message = Outcome.SKIPPED, str(exc)
        except ProofError as exc:
            outcome, message = Outcome.FAILED, exc.message
        yield Step(number=number, name=name, outcome=outcome, message=message)


def _form(receipt: Receipt, _evidence: _Evidence) -> str:
    return f"twelve fields in canonical form, receipt id {receipt.digest}"


def _report_hash(receipt: Receipt, evidence: _Evidence) -> str:
    found = sha256_digest(_report_bytes(evidence))
    _expect("report_hash", receipt.report_hash, found, "the report's bytes have")
    return found


def _ipfs_cid(receipt: Receipt, evidence: _Evidence) -> str:
    subject, data = _published(evidence)
    profile = profile_of(receipt.ipfs_cid)
    found = cid(data, profile)
    if cid_bytes(found) != cid_bytes(receipt.ipfs_cid):
        raise _failed(
            f"ipfs_cid is {receipt.ipfs_cid}, but under {profile} the {subject}'s bytes have"
            f" {found}"
        )
    return f"{found} under {profile}, of the {subject}"


def _published(evidence: _Evidence) -> tuple[str, bytes]:
    """What `ipfs_cid` is of, by its name and its bytes."""
    encryption = None if evidence.report is None else _encryption(evidence.report)
    if evidence.ciphertext is not None:
        if evidence.report is not None and encryption is None:
            raise _failed("a ciphertext was given, but the report does not say it is encrypted")
        return "ciphertext", evidence.ciphertext
    if encryption is not None:
        raise _Skipped(f"the report is published under {encryption}, but no ciphertext was given")
    return "report", _report_bytes(evidence)


def _encryption(report: bytes) -> str | None:
    try:
        document = parse_report(report)
    except ReportInvalid:
        # The next step says so; here its bytes are all that counts.
        return None
    return encryption_of(document)


def _report_content(receipt: Receipt, evidence: _Evidence) -> str:
    return check_report(receipt, parse_report(_report_bytes(evidence)))


def _input_hash(receipt: Receipt, evidence: _Evidence) -> str:
    subjects = []
    if evidence.request is not None:
        subjects.append(("the given request", request_bytes(evidence.request)))
    if evidence.report is not None:
        request = canonical(parse_report(evidence.report)["request"])
        subjects.append(("the report's request", request))
    if not subjects:
        raise _Skipped("neither a request nor a report was given")
    return _compared("input_hash", receipt.input_hash, subjects, evidence)


def _output_hash(receipt: Receipt, evidence: _Evidence) -> str:
    subjects = []
    if evidence.output is not None:
        subjects.append(("the given output", evidence.output))
    if evidence.report is not None:
        answer = parse_report(evidence.report)["answer"]
        if not isinstance(answer, str):
            raise _failed("the report's answer is not a text")
        subjects.append(("the report's answer", answer.encode("utf-8")))
    if not subjects:
        raise _Skipped("neither an output nor a report was given")
    return _compared("output_hash", receipt.output_hash, subjects, evidence)


def _compared(
    field: str, promised: str, subjects: Sequence[tuple[str, bytes]], evidence: _Evidence
) -> str:
    """Compare each subject's digest, under the report's salt where it has one."""
    report = evidence.report
    salt = None if report is None else salt_of(parse_report(report))
    for subject, data in subjects:
        found = sha256_digest(data) if salt is None else salted_digest(data, salt)
        if found != promised and report is None:
            if evidence.request is None:
                # Nothing here tells whether there was a salt.
                raise _failed(
                    f"{field} is {promised}, but {subject} has {found}; or the receipt's hashes are"
                    " salted and the report, which holds the salt, is missing"
                )
            if is_sensitive(evidence.request):
                raise _Skipped("the request is sensitive, and no report with its salt was given")
        _expect(field, promised, found, f"{subject} has")
    told = " and ".join(subject for subject, _ in subjects)
    return told if salt is None else f"{told}, salted"


def _sample_digests(_receipt: Receipt, evidence: _Evidence) -> str:
    compared = check_sample_digests(parse_report(_report_bytes(evidence)))
    if not compared:
        raise _Skipped("the report holds no sample texts")
    return f"{compared} sample texts"


_STEPS: tuple[tuple[int, str, Callable[[Receipt, _Evidence], str]], ...] = (
    (1, "form", _form),
    (2, "report_hash", _report_hash),
    (3, "ipfs_cid", _ipfs_cid),
    (4, "report", _report_content),
    (5, "input_hash", _input_hash),
    (6, "output_hash", _output_hash),
    (7, "samples", _sample_digests),
)


def _report_bytes(evidence: _Evidence) -> bytes:
    if evidence.report is None:
        raise _Skipped("no report was given")
    return evidence.report


def _expect(field: str, promised: str, found: str, subject: str) -> None:
    if promised != found:
        raise _failed(f"{field} is {promised}, but {subject} {found}")


def _failed(message: str) -> CheckFailed:
    return CheckFailed(
        message,
        suggested_action="Compare the exact bytes: no reformatting, no newline added by an editor.",
    )
