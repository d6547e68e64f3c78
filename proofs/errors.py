"""What can be wrong with a proof or with what it is made from.

ProofError
├── CanonicalError     a value without a canonical JSON form, or bytes that are not strict JSON
├── SaltInvalid        a salt too short to hide what it salts
├── CidError           not a content identifier of a known profile, or no such profile
├── ReceiptInvalid     a receipt, or a value meant for one, that breaks its form; names the field
├── ReportInvalid      a report, or a value meant for one, that breaks its form
└── CheckFailed        well-formed, but not what the receipt vouches for
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ProofError(Exception):
    """Something wrong with a proof; `code` is stable, the message is for people."""

    code = "PROOF_ERROR"
    retriable = False
    http_status = 500
    exit_code = 1

    def __init__(
        self, message: str, *, suggested_action: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggested_action = suggested_action
        self.details = dict(details or {})


class CanonicalError(ProofError):
    """The value has no RFC 8785 form, or the bytes are not strict JSON."""

    code = "CANONICAL_INVALID"
    http_status = 400


class SaltInvalid(ProofError):
    """The salt is too short to keep a guessable text from being guessed."""

    code = "SALT_INVALID"


class CidError(ProofError):
    """The text is no content identifier that these profiles make, or the profile is unknown."""

    code = "CID_INVALID"
    http_status = 400


class ReceiptInvalid(ProofError):
    """The receipt breaks its form; `details["field"]` names the field where there is one."""

    code = "RECEIPT_INVALID"
    http_status = 400


class ReportInvalid(ProofError):
    """The report breaks its form; `details["field"]` names the member where there is one."""

    code = "REPORT_INVALID"
    http_status = 400


class CheckFailed(ProofError):
    """What was handed in is not what the receipt vouches for."""

    code = "CHECK_FAILED"
    http_status = 409
