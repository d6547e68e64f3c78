"""Proofs: bytes in, bytes out. A third party can check a receipt with this package alone.

Canonical JSON, digests, CIDs, the receipt and the report of a job, and their verification. Nothing
here opens a database, a socket or a file, except the command line (`python -m proofs`) and the
IPFS client (`proofs.ipfs`), which nothing here imports. Encryption is in `proofs.encryption`.
"""

from __future__ import annotations

from proofs.allowed_signers import AllowedSigners, allowed_line
from proofs.canonical import JsonValue, parse_canonical
from proofs.checkpoint import Checkpoint, log_vkey, witness_vkey
from proofs.cid import CidProfile, cid_bytes, profile_of
from proofs.companion import Companion, SampleDigest
from proofs.entry import (
    EntryType,
    KeyHandoverEntry,
    LogCloseEntry,
    VerdictEntry,
    parse_entry,
)
from proofs.errors import (
    AllowedSignersInvalid,
    CanonicalError,
    CheckFailed,
    CheckpointInvalid,
    CidError,
    EncryptionFailed,
    EntryInvalid,
    ExtraMissing,
    IpfsError,
    KeyInvalid,
    LogUnlisted,
    ManifestInvalid,
    MerkleInvalid,
    NoteInvalid,
    OriginInvalid,
    PassphraseNeeded,
    PassphraseWrong,
    PolicyInvalid,
    ProofError,
    QuorumMissing,
    ReceiptInvalid,
    RecipientInvalid,
    ReportInvalid,
    RevocationInvalid,
    SaltInvalid,
    SignatureInvalid,
    SignerRefused,
    TlogProofInvalid,
    TreesDisagree,
)
from proofs.hashing import is_digest, salted_digest, sha256_digest
from proofs.keys import PrivateKey, PublicKey, Signer
from proofs.logged import Trust
from proofs.manifest import Manifest
from proofs.note import Note, NoteSignature, VerifierKey
from proofs.page import report_page
from proofs.policy import Policy
from proofs.receipt import Receipt, confidence_score, require_worker_name, timestamp
from proofs.report import build_report, encryption_of, parse_report, salt_of
from proofs.request import input_hash, request_bytes
from proofs.revocation import Revocation, parse_revocations
from proofs.tlog_proof import TlogProof
from proofs.verification import Material, Verification, verify_receipt
from proofs.verify import Outcome, Step, check_receipt

# Under their own names these would hide their files, `proofs.canonical` and `proofs.cid`.
from proofs.canonical import canonical as canonicalize  # isort: skip
from proofs.canonical import parse as parse_json  # isort: skip
from proofs.cid import cid as compute_cid  # isort: skip

__all__ = [
    "AllowedSigners",
    "AllowedSignersInvalid",
    "CanonicalError",
    "CheckFailed",
    "Checkpoint",
    "CheckpointInvalid",
    "CidError",
    "CidProfile",
    "Companion",
    "EncryptionFailed",
    "EntryInvalid",
    "EntryType",
    "ExtraMissing",
    "IpfsError",
    "JsonValue",
    "KeyHandoverEntry",
    "KeyInvalid",
    "LogCloseEntry",
    "LogUnlisted",
    "Manifest",
    "ManifestInvalid",
    "Material",
    "MerkleInvalid",
    "Note",
    "NoteInvalid",
    "NoteSignature",
    "OriginInvalid",
    "Outcome",
    "PassphraseNeeded",
    "PassphraseWrong",
    "Policy",
    "PolicyInvalid",
    "PrivateKey",
    "ProofError",
    "PublicKey",
    "QuorumMissing",
    "Receipt",
    "ReceiptInvalid",
    "RecipientInvalid",
    "ReportInvalid",
    "Revocation",
    "RevocationInvalid",
    "SaltInvalid",
    "SampleDigest",
    "SignatureInvalid",
    "Signer",
    "SignerRefused",
    "Step",
    "TlogProof",
    "TlogProofInvalid",
    "TreesDisagree",
    "Trust",
    "VerdictEntry",
    "Verification",
    "VerifierKey",
    "allowed_line",
    "build_report",
    "canonicalize",
    "check_receipt",
    "cid_bytes",
    "compute_cid",
    "confidence_score",
    "encryption_of",
    "input_hash",
    "is_digest",
    "log_vkey",
    "parse_canonical",
    "parse_entry",
    "parse_json",
    "parse_report",
    "parse_revocations",
    "profile_of",
    "report_page",
    "request_bytes",
    "require_worker_name",
    "salt_of",
    "salted_digest",
    "sha256_digest",
    "timestamp",
    "verify_receipt",
    "witness_vkey",
]
