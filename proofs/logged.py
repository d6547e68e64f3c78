"""Whether an entry is in a log: what a proof file shows to those who know whose keys to believe.

The functions are the steps 9 to 13 of `proofs.verification`, for a receipt and for a verdict alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.allowed_signers import AllowedSigners
from proofs.checkpoint import Checkpoint, is_signed_by
from proofs.errors import CheckFailed, ProofError
from proofs.keys import PublicKey
from proofs.merkle import verify_inclusion
from proofs.note import Note
from proofs.origin import principal_of
from proofs.policy import NO_QUORUM, Policy
from proofs.revocation import Revocation
from proofs.sshsig import BATCH_NAMESPACE
from proofs.tlog_proof import TlogProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a verifier believes.

    Attributes:
        allowed: Which keys may sign, as whom and for what.
        policy: Which witnesses must have cosigned; None asks for none.
        revocations: Which keys are revoked, and how much of which log they still vouch for.
    """

    allowed: AllowedSigners
    policy: Policy | None = None
    revocations: tuple[Revocation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a proof file claims: an index in a log, a way to the root, and a signed checkpoint."""

    proof: TlogProof
    note: Note
    checkpoint: Checkpoint


def read_place(data: bytes) -> Place:
    """Read a proof file and the checkpoint in it; nothing in it is believed yet.

    Raises:
        TlogProofInvalid: The file breaks its form.
        NoteInvalid: What stands for a checkpoint is not a signed note.
        CheckpointInvalid: The note is no checkpoint.
    """
    proof = TlogProof.parse(data)
    note = Note.parse(proof.checkpoint)
    return Place(proof=proof, note=note, checkpoint=Checkpoint.from_note(note))


def check_inclusion(place: Place, leaf: bytes) -> None:
    """Require that a leaf hash stands at the place's index under the checkpoint's root.

    Raises:
        MerkleInvalid: It does not.
    """
    verify_inclusion(
        leaf=leaf,
        index=place.proof.index,
        size=place.checkpoint.size,
        path=place.proof.path,
        root=place.checkpoint.root,
    )


def signers_of(place: Place, worker_name: str, trust: Trust, *, at: int) -> tuple[PublicKey, ...]:
    """Return the keys that have signed the checkpoint of a worker's log and may.

    A checkpoint holds no time, but it was signed after its leaf was written: a key whose time was
    over by then has signed nothing that counts. One whose time began later may well have, after a
    change of keys.

    Args:
        place: What the proof file claims.
        worker_name: Whose log it has to be.
        trust: Whom to believe.
        at: When the leaf says it was written, in seconds since 1970.

    Raises:
        OriginInvalid: The checkpoint is not of a log of this form.
        CheckFailed: The log is another worker's, or none of the worker's keys has signed, or only
            such as could no longer be used.
        SignatureInvalid: A signature is said to be of such a key and does not verify.
    """
    origin = place.checkpoint.origin
    if principal_of(origin) != worker_name:
        raise _failed(
            f"the checkpoint is of {origin}, which is not a log of {worker_name}",
            action="Ask for a proof from a log of the worker that the receipt names.",
        )
    keys = tuple(dict.fromkeys(trust.allowed.keys(worker_name, BATCH_NAMESPACE)))
    if not keys:
        raise _failed(
            f"the allowed signers hold no key of {worker_name} for {BATCH_NAMESPACE}",
            action=f'Add a line: {worker_name} namespaces="{BATCH_NAMESPACE}" and the key.',
        )
    signed = tuple(key for key in keys if is_signed_by(place.note, key))
    if not signed:
        raise _failed(
            f"the checkpoint of {origin} is not signed by any key of {worker_name}: {_named(keys)}",
            action="Compare the allowed signers with the keys that the worker has published.",
        )
    lasting = trust.allowed.keys_lasting(worker_name, BATCH_NAMESPACE, until=at)
    signers = tuple(key for key in signed if key in lasting)
    if not signers:
        raise _failed(
            f"the checkpoint of {origin} is signed by {_named(signed)} alone, which was no longer"
            " valid when its leaf was written",
            action="Ask for a proof against a checkpoint that the worker's later key has signed.",
        )
    return signers


def check_key(key: PublicKey, place: Place | None, revocations: Sequence[Revocation]) -> None:
    """Require that a receipt's signature by this key still counts.

    That of a revoked key counts for the leaves that its revocation leaves standing, and so not for
    a receipt that is not logged.

    Raises:
        CheckFailed: The key is revoked, and this is none of those leaves.
    """
    found = [revocation for revocation in revocations if revocation.public_key == key]
    if not found:
        return
    if place is None:
        raise _revoked(key, "a receipt that it signed counts only with a proof that it was logged")
    _check_standing(key, place, found)


def check_signers(
    signers: Sequence[PublicKey], place: Place, revocations: Sequence[Revocation]
) -> None:
    """Require one signer of a checkpoint whose signature counts.

    A revoked key's does if the leaf is one that the revocation leaves standing, and the checkpoint
    exactly the one that it names. An earlier one might be a fork: who has the key can sign any, and
    get witnesses to sign a log that they have not seen before.

    Raises:
        CheckFailed: All signers are revoked, and the checkpoint or the leaf is another one.
    """
    revoked = {revocation.public_key for revocation in revocations}
    if any(key not in revoked for key in signers):
        return
    refusals: list[ProofError] = []
    for key in signers:
        try:
            _check_revoked_signer(key, place, revocations)
        except CheckFailed as exc:
            refusals.append(exc)
        else:
            return
    raise refusals[0]


def check_quorum(place: Place | None, policy: Policy) -> str:
    """Require the policy's witnesses, and return who has cosigned.

    Raises:
        CheckFailed: There is no checkpoint that they could have cosigned.
        LogUnlisted, QuorumMissing, SignatureInvalid: As for `Policy.check`.
    """
    if place is None:
        if policy.quorum == NO_QUORUM:
            return "the policy asks for no witnesses"
        raise _failed(
            "the policy asks for witnesses, and there is no checkpoint that they could have signed",
            action="Ask for the proof, or leave the policy out.",
        )
    return "cosigned by " + (", ".join(policy.check(place.note)) or "none, and none is asked for")


def _check_revoked_signer(key: PublicKey, place: Place, revocations: Sequence[Revocation]) -> None:
    known = [revocation for revocation in revocations if revocation.public_key == key]
    size, root, origin = place.checkpoint.size, place.checkpoint.root, place.checkpoint.origin
    named = _check_standing(key, place, known)
    if size != named[0].tree_size:
        raise _revoked(
            key,
            f"it vouches for {origin} at {named[0].tree_size} leaves alone, and the checkpoint"
            f" counts {size}",
            action=f"Ask for a proof against the checkpoint of {named[0].tree_size} leaves.",
        )
    # Two that name one size and different roots leave nothing standing: one of them is wrong.
    for other in (one.root for one in named if one.root != root):
        raise _revoked(
            key,
            f"the revocation names the root {other.hex()} of {origin} at {size} leaves,"
            f" and the checkpoint has {root.hex()}",
        )


def _check_standing(
    key: PublicKey, place: Place, found: Sequence[Revocation]
) -> tuple[Revocation, ...]:
    """Return the revocations of this log that leave the least, if this leaf stands with them."""
    origin, index = place.checkpoint.origin, place.proof.index
    here = [revocation for revocation in found if revocation.origin == origin]
    if not here:
        raise _revoked(key, f"no leaf of {_shown(origin)} is left standing")
    # Of several, those that leave the least: each of them was said by someone believed.
    least = min(revocation.tree_size for revocation in here)
    if index >= least:
        raise _revoked(key, f"of {origin} the leaves before {least} are left standing, not {index}")
    return tuple(revocation for revocation in here if revocation.tree_size == least)


def _named(keys: Sequence[PublicKey]) -> str:
    shown = ", ".join(key.fingerprint for key in keys[:8])
    return shown if len(keys) <= 8 else f"{shown} and {len(keys) - 8} more"


def _shown(origin: str) -> str:
    # Nobody may have looked at it yet.
    return origin if origin.isprintable() else ascii(origin[:80])


def _revoked(
    key: PublicKey, reason: str, *, action: str = "Do not rely on this receipt."
) -> CheckFailed:
    return _failed(f"the key {key.fingerprint} is revoked: {reason}", action=action)


def _failed(message: str, *, action: str) -> CheckFailed:
    return CheckFailed(message, suggested_action=action)
