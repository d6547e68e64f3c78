"""Proofs: bytes in, bytes out. A third party can check a receipt with this package alone.

Canonical JSON, digests, CIDs, the receipt and the report of a job, and their verification. Nothing
here opens a database, a socket or a file, except the command line (`python -m proofs`).
"""

from __future__ import annotations

from proofs.canonical import JsonValue, parse_canonical
from proofs.cid import CidProfile, cid_bytes, profile_of
from proofs.companion import Companion, SampleDigest
from proofs.errors import (
    CanonicalError,
    CheckFailed,
    CidError,
    ProofError,
    ReceiptInvalid,
    ReportInvalid,
    SaltInvalid,
)
from proofs.hashing import is_digest, salted_digest, sha256_digest
from proofs.receipt import Receipt, confidence_score, require_worker_name, timestamp
from proofs.report import build_report, parse_report
from proofs.request import input_hash, request_bytes
from proofs.verify import Outcome, Step, check_receipt

# Under their own names these would hide their files, `proofs.canonical` and `proofs.cid`.
from proofs.canonical import canonical as canonicalize  # isort: skip
from proofs.canonical import parse as parse_json  # isort: skip
from proofs.cid import cid as compute_cid  # isort: skip

__all__ = [
    "CanonicalError",
    "CheckFailed",
    "CidError",
    "CidProfile",
    "Companion",
    "JsonValue",
    "Outcome",
    "ProofError",
    "Receipt",
    "ReceiptInvalid",
    "ReportInvalid",
    "SaltInvalid",
    "SampleDigest",
    "Step",
    "build_report",
    "canonicalize",
    "check_receipt",
    "cid_bytes",
    "compute_cid",
    "confidence_score",
    "input_hash",
    "is_digest",
    "parse_canonical",
    "parse_json",
    "parse_report",
    "profile_of",
    "request_bytes",
    "require_worker_name",
    "salted_digest",
    "sha256_digest",
    "timestamp",
]
