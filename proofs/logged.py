"""Whether an entry is in a log: what a proof file shows to those who know whose keys to believe.

The functions are the steps 9 to 13 of `proofs.verification`, for a receipt and for a verdict alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.allowed_signers import AllowedSigners
from proofs.checkpoint import Checkpoint, is_signed_by
from proofs.errors import CheckFailed, ProofError, QuorumMissing
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


def signers_of(place: Place, worker_name: str, trust: Trust) -> tuple[PublicKey, ...]:
    """Return the keys that have signed the checkpoint of a worker's log and may.

    A checkpoint holds no time that could be held against the times in which a key is allowed.

    Raises:
        OriginInvalid: The checkpoint is not of a log of this form.
        CheckFailed: The log is another worker's, or none of the worker's keys has signed.
        SignatureInvalid: A signature is said to be of such a key and does not verify.
    """
    origin = place.checkpoint.origin
    if principal_of(origin) != worker_name:
        raise _failed(
            f"the checkpoint is of {origin}, which is not a log of {worker_name}",
            action="Ask for a proof from a log of the worker that the receipt names.",
        )
    keys = trust.allowed.keys(worker_name, BATCH_NAMESPACE)
    if not keys:
        raise _failed(
            f"the allowed signers hold no key of {worker_name} for {BATCH_NAMESPACE}",
            action=f'Add a line: {worker_name} namespaces="{BATCH_NAMESPACE}" and the key.',
        )
    signers = tuple(key for key in dict.fromkeys(keys) if is_signed_by(place.note, key))
    if not signers:
        raise _failed(
            f"the checkpoint of {origin} is not signed by any key of {worker_name}: {_named(keys)}",
            action="Compare the allowed signers with the keys that the worker has published.",
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


def check_signers(signers: Sequence[PublicKey], place: Place, trust: Trust) -> None:
    """Require one signer of a checkpoint whose signature counts.

    A revoked key's does if the leaf is one that the revocation leaves standing, and if the
    checkpoint is the one that the revocation names, or an earlier one that witnesses have seen.

    Raises:
        CheckFailed: All signers are revoked, and the checkpoint or the leaf is another one.
        QuorumMissing: The checkpoint is an earlier one, and too few witnesses have cosigned it.
    """
    revoked = {revocation.public_key for revocation in trust.revocations}
    if any(key not in revoked for key in signers):
        return
    refusals: list[ProofError] = []
    for key in signers:
        try:
            _check_revoked_signer(key, place, trust)
        except (CheckFailed, QuorumMissing) as exc:
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


def _check_revoked_signer(key: PublicKey, place: Place, trust: Trust) -> None:
    known = [revocation for revocation in trust.revocations if revocation.public_key == key]
    named = _check_standing(key, place, known)
    size, origin = place.checkpoint.size, place.checkpoint.origin
    if size > named.tree_size:
        raise _revoked(
            key,
            f"it vouches for {origin} up to {named.tree_size} leaves, and the checkpoint counts"
            f" {size}",
            action=f"Ask for a proof against the checkpoint of {named.tree_size} leaves.",
        )
    if size == named.tree_size:
        if place.checkpoint.root != named.root:
            raise _revoked(
                key,
                f"the revocation names the root {named.root.hex()} of {origin} at {size} leaves,"
                f" and the checkpoint has {place.checkpoint.root.hex()}",
            )
        return
    if trust.policy is None or trust.policy.quorum == NO_QUORUM:
        raise _revoked(
            key,
            f"the checkpoint of {size} leaves is earlier than the {named.tree_size} that the"
            " revocation names, and no policy says which witnesses must have seen it",
            action="Give a policy, or a proof against the checkpoint that the revocation names.",
        )
    trust.policy.check(place.note)


def _check_standing(key: PublicKey, place: Place, found: Sequence[Revocation]) -> Revocation:
    """Return the revocation of this log if it leaves this leaf standing."""
    origin, index = place.checkpoint.origin, place.proof.index
    here = [revocation for revocation in found if revocation.origin == origin]
    if not here:
        raise _revoked(key, f"no leaf of {origin} is left standing")
    # Of several, the one that leaves the least: each of them was said by someone believed.
    named = min(here, key=lambda revocation: revocation.tree_size)
    if index >= named.tree_size:
        raise _revoked(
            key, f"of {origin} the leaves before {named.tree_size} are left standing, not {index}"
        )
    return named


def _named(keys: Sequence[PublicKey]) -> str:
    shown = ", ".join(key.fingerprint for key in keys[:8])
    return shown if len(keys) <= 8 else f"{shown} and {len(keys) - 8} more"


def _revoked(
    key: PublicKey, reason: str, *, action: str = "Do not rely on this receipt."
) -> CheckFailed:
    return _failed(f"the key {key.fingerprint} is revoked: {reason}", action=action)


def _failed(message: str, *, action: str) -> CheckFailed:
    return CheckFailed(message, suggested_action=action)
