"""Whether a receipt says what its report says: the fourth step of `proofs.verify`."""

from __future__ import annotations

from collections.abc import Mapping

from proofs.errors import CheckFailed, ReportInvalid
from proofs.receipt import Receipt, confidence_score


def check_report(receipt: Receipt, document: Mapping[str, object]) -> str:
    """Require that a report is about the receipt's job, and gives the figures that it has.

    Returns:
        What was compared, for people.

    Raises:
        CheckFailed: It is of another job or model, or counts other samples or another confidence.
        ReportInvalid: It holds no confidence, or no list of samples that were counted.
    """
    if document["job_id"] != receipt.job_id:
        raise _failed(f"the receipt is of job {receipt.job_id}, but the report is of another one")
    request = document["request"]
    if isinstance(request, dict) and "model" in request and request["model"] != receipt.model:
        named = request["model"]
        shown = f"names {named[:80]!a}" if isinstance(named, str) else "names none by a text"
        raise _failed(f"model is {receipt.model}, but the report's request {shown}")
    companion = document["companion"]
    held: Mapping[str, object] = companion if isinstance(companion, dict) else {}
    counted, confidence = held.get("samples"), held.get("confidence")
    if not isinstance(counted, list):
        raise _lacking("samples")
    if len(counted) != receipt.k_samples:
        raise _failed(
            f"k_samples is {receipt.k_samples}, but the report's companion has {len(counted)}"
        )
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise _lacking("confidence")
    score = confidence_score(confidence)
    if score != receipt.confidence_score:
        raise _failed(
            f"confidence_score is {receipt.confidence_score}, but the report's confidence gives"
            f" {score}"
        )
    return f"version 1, of this job and model, {len(counted)} samples, confidence score {score}"


def _lacking(member: str) -> ReportInvalid:
    return ReportInvalid(
        f"companion: it holds no {member}",
        suggested_action="Ask the issuer for the report as it was stored.",
        details={"field": "companion"},
    )


def _failed(message: str) -> CheckFailed:
    return CheckFailed(
        message, suggested_action="Ask the issuer which of the two was stored for this job."
    )
