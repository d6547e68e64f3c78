"""Files for `python -m proofs`, read no further than they can be used; `-` is standard input.

Anybody may have written them, so that each kind has a size at which reading stops. What is only
hashed is read piece by piece and has none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from proofs.entry import MAX_ENTRY_BYTES
from proofs.errors import FileTooLarge, FileUnreadable
from proofs.policy import MAX_POLICY_BYTES
from proofs.receipt import MAX_RECEIPT_BYTES
from proofs.revocation import MAX_REVOCATION_BYTES, MAX_REVOCATIONS
from proofs.signer_lines import MAX_FILE_BYTES
from proofs.sshsig import MAX_SIGNATURE_BYTES
from proofs.tlog_proof import MAX_PROOF_BYTES

MAX_TEXT_BYTES = 64 * 1024 * 1024
STANDARD_INPUT = "-"

_PIECE_BYTES = 1024 * 1024


class Kind(Enum):
    """What a file is, and how many bytes it has at most."""

    RECEIPT = "a receipt", MAX_RECEIPT_BYTES
    SIGNATURE = "a signature", MAX_SIGNATURE_BYTES
    PROOF = "a proof", MAX_PROOF_BYTES
    VERDICT = "a verdict", MAX_ENTRY_BYTES
    SIGNERS = "a file of allowed signers", MAX_FILE_BYTES
    POLICY = "a policy", MAX_POLICY_BYTES
    REVOCATIONS = "a file of revocations", MAX_REVOCATIONS * (MAX_REVOCATION_BYTES + 1)
    TEXT = "a report, a request or an answer", MAX_TEXT_BYTES


def read(name: str, kind: Kind) -> bytes:
    """Return a file's bytes.

    Raises:
        FileUnreadable: It cannot be opened or read.
        FileTooLarge: It goes on after the most that its kind can have.
    """
    what, most = kind.value
    with _opened(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FileTooLarge(
            f"{name}: {what} has at most {most} bytes, and this file has more",
            suggested_action="Check that the right file was named.",
        )
    return data


def pieces(name: str) -> Iterator[bytes]:
    """Return a file's bytes piece by piece, however long it is.

    Raises:
        FileUnreadable: It cannot be opened or read.
    """
    with _opened(name) as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    try:
        if name != STANDARD_INPUT:
            with Path(name).open("rb") as file:
                yield file
        elif sys.stdin is None:
            raise OSError(0, "standard input is closed")
        else:
            yield sys.stdin.buffer
    except OSError as exc:
        raise FileUnreadable(
            f"{name}: {exc.strerror}", suggested_action="Check the name, and who may read it."
        ) from exc
