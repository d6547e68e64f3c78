"""What a witness is asked and what it answers (C2SP tlog-witness, `add-checkpoint`).

A witness remembers, for each log it knows, the newest checkpoint it has cosigned. Shown a newer one
together with a proof that the log has only grown, it cosigns that; so a log can show no two people
two different histories without the witness's help. It never signs a smaller tree than it did
before, and never two trees of one size.

Nothing here keeps a state, reads a clock or answers a request: `decide` says what to do, and
whoever runs a witness must store the accepted checkpoint before the answer leaves.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from proofs.checkpoint import Checkpoint, is_signed_with, verify_cosignature
from proofs.errors import (
    CosignatureInvalid,
    MerkleInvalid,
    ProofError,
    SignatureInvalid,
    WitnessRequestInvalid,
)
from proofs.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from proofs.note import Note, NoteSignature, VerifierKey, decode_base64

MAX_PROOF_LINES = 63
# Sixteen signatures of the largest kind fit, and a full proof.
MAX_REQUEST_BYTES = 128 * 1024
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"

_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")

LogKeys: TypeAlias = Mapping[str, Sequence[VerifierKey]]
"""The keys that may sign each log's checkpoints, by the log's origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A request: the size the witness is thought to hold, the proof from there, and the note."""

    old_size: int
    proof: Sequence[bytes]
    note: Note

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the note is."""
        return Checkpoint.from_note(self.note)

    def to_bytes(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old_size}", *(_base64(value) for value in self.proof), "", ""]
        return "\n".join(lines).encode("ascii") + self.note.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the body of a request.

        Raises:
            WitnessRequestInvalid: Its form is broken, and how.
        """
        if len(data) > MAX_REQUEST_BYTES:
            raise _broken(f"a request has at most {MAX_REQUEST_BYTES} bytes, not {len(data)}")
        head, blank, rest = data.partition(b"\n\n")
        if not blank:
            raise _broken("no empty line stands between the proof and the checkpoint")
        old, *lines = head.split(b"\n")
        told = _OLD.fullmatch(old)
        if told is None:
            raise _broken("the first line is not `old` and a size without leading zeroes")
        if len(lines) > MAX_PROOF_LINES:
            raise _broken(f"a proof has at most {MAX_PROOF_LINES} lines, not {len(lines)}")
        proof = tuple(_hash(line, number) for number, line in enumerate(lines, start=1))
        try:
            note = Note.parse(rest)
            Checkpoint.from_note(note)
        except ProofError as exc:
            raise _broken(f"the checkpoint cannot be read: {exc.message}") from exc
        return cls(old_size=int(told[1]), proof=proof, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """To be stored and then cosigned; `note` holds the signatures of the log's own keys alone."""

    checkpoint: Checkpoint
    note: Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is no cosignature: an HTTP status, and a body that says why.

    `is_fork` marks a checkpoint that the log has signed and that contradicts the one the witness
    holds: together they prove that the log showed two histories.
    """

    status: int
    body: bytes
    content_type: str = TEXT_TYPE
    is_fork: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A witness's line for a checkpoint, and when it says it signed (epoch seconds)."""

    signature: NoteSignature
    at: int


def decide(
    request: AddCheckpoint, *, log_keys: LogKeys, last: Checkpoint | None
) -> Accept | Refusal:
    """Decide on a request, given the last checkpoint cosigned for its log, if there is one.

    The steps, in the order of the specification; a request that cannot be read is a 400 before:

    1. the checkpoint's origin is a known log's: else 404;
    2. a known key of that log has signed it, and no known key's signature is wrong: else 403;
    3. the old size is not above the checkpoint's size: else 400;
    4. the old size is that of the last checkpoint, 0 without one: else 409 with that size;
    5. if the sizes are equal, so are the roots: else 409;
    6. the proof leads from the last checkpoint to this one: else 422.
    """
    checkpoint = request.checkpoint
    keys = log_keys.get(checkpoint.origin, ())
    if not keys:  # step 1
        return _refusal(404, f"this witness does not know the log {checkpoint.origin}")
    note = _signed(request.note, keys)
    if note is None:  # step 2
        return _refusal(403, f"no known key of {checkpoint.origin} has signed the checkpoint")
    refusal = _not_grown(request, checkpoint, last)
    return refusal or Accept(checkpoint=checkpoint, note=note)


def read_cosignature(answer: bytes, *, note: Note, key: VerifierKey) -> Cosignature:
    """Find in a witness's answer its line for a checkpoint, and check it.

    Lines of other keys are ignored, as the specification asks.

    Raises:
        CosignatureInvalid: The answer has another form, no line of this key, or a wrong one.
    """
    if len(answer) > MAX_REQUEST_BYTES:
        raise _no_cosignature(f"the answer of {key.name} has {len(answer)} bytes")
    try:
        told = Note.parse(f"{note.text}\n".encode() + answer)
    except ProofError as exc:
        raise _no_cosignature(f"the answer of {key.name} cannot be read: {exc.message}") from exc
    if told.text != note.text:
        raise _no_cosignature(f"the answer of {key.name} holds more than signature lines")
    found = []
    for line in told.by(key):
        try:
            at = verify_cosignature(Note(text=note.text, signatures=(line,)), key)
        except ProofError as exc:
            raise _no_cosignature(exc.message) from exc
        if at is not None:
            found.append(Cosignature(signature=line, at=at))
    if not found:
        raise _no_cosignature(f"the answer of {key.name} holds no line of its key")
    return max(found, key=lambda cosignature: cosignature.at)


def _not_grown(
    request: AddCheckpoint, checkpoint: Checkpoint, last: Checkpoint | None
) -> Refusal | None:
    if request.old_size > checkpoint.size:  # step 3
        return _refusal(
            400, f"the old size {request.old_size} is above the checkpoint's {checkpoint.size}"
        )
    held, held_root = (0, EMPTY_ROOT) if last is None else (last.size, last.root)
    if request.old_size != held:  # step 4
        return Refusal(status=409, body=f"{held}\n".encode("ascii"), content_type=SIZE_TYPE)
    if checkpoint.size == held and checkpoint.root != held_root:  # step 5
        return _refusal(409, f"of {held} leaves this witness holds another root", is_fork=True)
    try:
        verify_consistency(  # step 6
            old_size=held,
            old_root=held_root,
            new_size=checkpoint.size,
            new_root=checkpoint.root,
            proof=request.proof,
        )
    except MerkleInvalid as exc:
        return _refusal(422, exc.message)
    return None


def _signed(note: Note, keys: Sequence[VerifierKey]) -> Note | None:
    """Return the note with the lines of known keys alone; None without one, or with a wrong one."""
    try:
        signers = [key for key in keys if is_signed_with(note, key)]
    except SignatureInvalid:
        return None
    lines = tuple(line for key in signers for line in note.by(key))
    return Note(text=note.text, signatures=lines) if lines else None


def _hash(line: bytes, number: int) -> bytes:
    value = decode_base64(line.decode("ascii", errors="replace"))
    if value is None:
        raise _broken(f"line {number} of the proof is not base64")
    if len(value) != HASH_BYTES:
        raise _broken(f"line {number} of the proof has {len(value)} bytes, not {HASH_BYTES}")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _refusal(status: int, reason: str, *, is_fork: bool = False) -> Refusal:
    return Refusal(status=status, body=f"{reason}\n".encode(), is_fork=is_fork)


def _broken(reason: str) -> WitnessRequestInvalid:
    return WitnessRequestInvalid(
        f"not an add-checkpoint request: {reason}",
        suggested_action="Send what C2SP tlog-witness describes.",
    )


def _no_cosignature(reason: str) -> CosignatureInvalid:
    return CosignatureInvalid(
        reason, suggested_action="Compare the witness's vkey with the one that it prints."
    )
