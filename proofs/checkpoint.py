"""Checkpoints: the signed head of a log (C2SP tlog-checkpoint, tlog-cosignature v1).

A checkpoint is a signed note of three lines: the log's origin, its size, and the root hash of its
tree in base64. The log signs the text itself; a witness signs the text behind a header and a time,
and thereby says that it has seen no history of this log that contradicts it. Extension lines are
refused: a witness does not vouch for them.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Self

from proofs.errors import CheckpointInvalid, NoteInvalid, SignatureInvalid
from proofs.keys import SIGNATURE_BYTES, PublicKey, Signer
from proofs.merkle import EMPTY_ROOT, HASH_BYTES
from proofs.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    NoteSignature,
    VerifierKey,
    check_text,
    decode_base64,
)

MAX_SIZE = 2**63 - 1
MAX_ORIGIN_CHARACTERS = 512

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of one log: its name, how many leaves it has, and the root over them.

    Raises:
        CheckpointInvalid: A value breaks its form.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what cannot be the head of a log."""
        if not 0 < len(self.origin) <= MAX_ORIGIN_CHARACTERS or "\n" in self.origin:
            raise _invalid(f"the origin is not one line of 1 to {MAX_ORIGIN_CHARACTERS} characters")
        try:
            check_text(self.origin)
        except NoteInvalid as exc:
            raise _invalid("the origin holds what no note can hold") from exc
        if isinstance(self.size, bool) or not 0 <= self.size <= MAX_SIZE:
            raise _invalid(f"the size is not an integer from 0 to {MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            raise _invalid(f"the root hash has {len(self.root)} bytes, not {HASH_BYTES}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _invalid("the log is empty, but the root is not that of the empty tree")

    @classmethod
    def from_note(cls, note: Note) -> Self:
        """Read the head of a log from a note; no signature is checked.

        Raises:
            CheckpointInvalid: The text has not exactly three lines, or one breaks its form.
        """
        lines = note.text[:-1].split("\n")
        if len(lines) < 3:
            raise _invalid(f"its text has {len(lines)} lines, not 3")
        if len(lines) > 3:
            raise _invalid("extension lines follow the root hash")
        origin, size, root = lines
        if _NUMBER.fullmatch(size) is None:
            raise _invalid(f"{size[:40]!a} is not a size in decimal digits")
        decoded = decode_base64(root)
        if decoded is None:
            raise _invalid(f"{root[:60]!a} is not a root hash in base64")
        return cls(origin=origin, size=int(size), root=decoded)

    @property
    def body(self) -> str:
        """The note's text: three lines, each with its newline."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n"


def log_vkey(origin: str, key: PublicKey) -> VerifierKey:
    """Return the key of a log, which is named like its origin.

    Raises:
        NoteInvalid: The origin cannot be a key's name.
    """
    return VerifierKey(name=origin, kind=ED25519, public_key=key.raw)


def witness_vkey(name: str, key: PublicKey) -> VerifierKey:
    """Return the key of a witness for its cosignatures.

    Raises:
        NoteInvalid: The name cannot be a key's name.
    """
    return VerifierKey(name=name, kind=COSIGNATURE_V1, public_key=key.raw)


def sign(checkpoint: Checkpoint, signer: Signer) -> NoteSignature:
    """Return the log's own signature line."""
    vkey = log_vkey(checkpoint.origin, signer.public_key)
    signature = signer.sign(checkpoint.body.encode("utf-8"))
    return NoteSignature(name=vkey.name, key_id=vkey.key_id, signature=signature)


def cosign(checkpoint: Checkpoint, signer: Signer, *, name: str, at: int) -> NoteSignature:
    """Return a witness's signature line.

    Args:
        checkpoint: What the witness has found consistent with all that it has signed before.
        signer: The witness's key, which signs under no other name.
        name: The witness's name.
        at: The witness's time, in seconds since 1970.
    """
    if not 0 <= at <= MAX_SIZE:
        raise _invalid(f"{at} is not a time in seconds since 1970")
    vkey = witness_vkey(name, signer.public_key)
    signature = signer.sign(_cosigned(checkpoint.body, at))
    stamped = at.to_bytes(_TIME_BYTES, "big") + signature
    return NoteSignature(name=name, key_id=vkey.key_id, signature=stamped)


def is_signed_by(note: Note, key: PublicKey) -> bool:
    """Return whether the log itself signed this checkpoint with this key.

    Returns:
        False if the note carries no signature of that name and key.

    Raises:
        CheckpointInvalid: The note is no checkpoint.
        NoteInvalid: Its origin cannot be a key's name.
        SignatureInvalid: It carries a signature of that name and key, and it does not verify.
    """
    return is_signed_with(note, log_vkey(Checkpoint.from_note(note).origin, key))


def is_signed_with(note: Note, vkey: VerifierKey) -> bool:
    """Return whether a note carries a signature of this key over its text, as `is_signed_by`."""
    text = note.text.encode("utf-8")
    lines = note.by(vkey)
    for line in lines:
        if not vkey.ed25519.verifies(line.signature, text):
            raise _unsigned(f"the signature of {vkey.name} is not over this text")
    return bool(lines)


def verify_cosignature(note: Note, vkey: VerifierKey) -> int | None:
    """Return when a witness cosigned this checkpoint, in seconds since 1970.

    Returns:
        The newest time, if there are several; None if the note has no line of this witness.

    Raises:
        NoteInvalid: The key is not one of cosignatures.
        SignatureInvalid: A line of this witness does not verify.
    """
    if vkey.kind != COSIGNATURE_V1:
        raise NoteInvalid(
            f"the key of {vkey.name} is of kind 0x{vkey.kind:02x}, not 0x04 of cosignatures",
            suggested_action="Use the witness's key for cosignature/v1.",
        )
    times = []
    for line in note.by(vkey):
        if len(line.signature) != _TIME_BYTES + SIGNATURE_BYTES:
            raise _unsigned(
                f"the cosignature of {vkey.name} has {len(line.signature)} bytes,"
                f" not {_TIME_BYTES + SIGNATURE_BYTES}"
            )
        at = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        if at > MAX_SIZE:
            raise _unsigned(f"the cosignature of {vkey.name} holds a time beyond all years")
        if not vkey.ed25519.verifies(line.signature[_TIME_BYTES:], _cosigned(note.text, at)):
            raise _unsigned(f"the cosignature of {vkey.name} is not over this checkpoint")
        times.append(at)
    return max(times, default=None)


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _unsigned(message: str) -> SignatureInvalid:
    return SignatureInvalid(
        message, suggested_action="Fetch the checkpoint again, exactly as it was published."
    )


def _invalid(reason: str) -> CheckpointInvalid:
    return CheckpointInvalid(
        f"this is no checkpoint: {reason}",
        suggested_action="Use the checkpoint exactly as the log published it.",
    )
