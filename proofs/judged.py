"""What a person decided about an answer, as step 14 of `proofs.verification` looks at it.

Whether the decision stands in a log is asked in `proofs.logged`, as for a receipt.
"""

from __future__ import annotations

from proofs.entry import VerdictEntry, parse_entry, type_of
from proofs.errors import CheckFailed
from proofs.hashing import salted_digest, sha256_digest
from proofs.receipt import Receipt
from proofs.report import parse_report, salt_of


def read_verdict(data: bytes, receipt: Receipt) -> VerdictEntry:
    """Read what a person decided about a receipt's answer; nobody vouches for it yet.

    Raises:
        EntryInvalid: The bytes are no entry of a log.
        CheckFailed: It is another kind of entry, or about another receipt.
    """
    entry = parse_entry(data)
    if not isinstance(entry, VerdictEntry):
        raise _failed(
            f"what was given as a verdict is a {type_of(entry)}",
            action="Give the entry that says what a person decided.",
        )
    if entry.receipt != receipt.digest:
        raise _failed(
            f"the verdict is about the receipt {entry.receipt}, not {receipt.digest}",
            action="Give the verdict that belongs to this receipt.",
        )
    return entry


def check_corrected(entry: VerdictEntry, corrected: bytes, report: bytes | None) -> None:
    """Require that a corrected answer is the one that a verdict names.

    Args:
        entry: What a person decided.
        corrected: The answer that it should have been, exactly.
        report: The receipt's report, which holds the salt where the receipt has one.

    Raises:
        CheckFailed: It is another text, or the verdict corrects nothing.
        ReportInvalid: The report cannot be read.
    """
    if entry.output_hash is None:
        raise _failed(
            f"the answer was {entry.verdict} by a person, so there is no corrected one",
            action="Leave the corrected answer out, or give the verdict that it belongs to.",
        )
    salt = None if report is None else salt_of(parse_report(report))
    found = sha256_digest(corrected) if salt is None else salted_digest(corrected, salt)
    if found != entry.output_hash:
        unsure = "; or its hash is salted and the report, which holds the salt, is missing"
        raise _failed(
            f"the verdict's output_hash is {entry.output_hash}, but the corrected answer has"
            f" {found}{unsure if report is None else ''}",
            action="Compare the exact bytes: no newline added by an editor.",
        )


def _failed(message: str, *, action: str) -> CheckFailed:
    return CheckFailed(message, suggested_action=action)
