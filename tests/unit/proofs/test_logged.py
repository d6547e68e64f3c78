"""Steps 11 to 13 of verification: who has signed a checkpoint, and whose signature counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs import Outcome
from proofs.checkpoint import log_vkey
from proofs.logged import Trust
from proofs.revocation import Revocation
from proofs.tlog_proof import TlogProof
from proofs.verification import Material
from tests.unit.proofs import issued
from tests.unit.proofs.issued import PLACE, POLICY, SIZE, material, revocation, trust
from tests.unit.proofs.signers import BEE, KEY, ORIGIN, OTHER
from tests.unit.proofs.verifying import (
    PROOF,
    SIGNING,
    WITNESSES,
    allowing,
    checkpointed,
    expiring,
    fault,
    verify,
)

SUCCESSOR = "bee.example/1f6f3b1e-52a4-4d39-9f6e-2f6a1c1d7e55"


def _tampered() -> Material:
    note = issued.checkpoint(issued.head(SIZE)).replace(b"\n11\n", b"\n12\n")
    path = issued.merkle.inclusion_path(issued.LEAVES, PLACE)
    return material(proof=replace(PROOF, checkpoint=note, path=path).to_bytes())


CHECKPOINTS: list[tuple[Material, Trust, str]] = [
    (
        checkpointed(OTHER),
        trust(),
        f"the checkpoint of {ORIGIN} is not signed by any key of {BEE}:"
        f" {KEY.public_key.fingerprint}",
    ),
    (
        checkpointed(origin="wasp.example" + ORIGIN.removeprefix(BEE)),
        trust(),
        f"which is not a log of {BEE}",
    ),
    (
        checkpointed(origin="bee.example"),
        trust(),
        "the origin 'bee.example' has no slash",
    ),
    (
        material(),
        allowing(SIGNING),
        f"the allowed signers hold no key of {BEE} for swarm-merkle",
    ),
]


@pytest.mark.parametrize(("given", "believed", "message"), CHECKPOINTS)
def test_step_11_says_what_is_wrong_with_a_checkpoint(
    given: Material, believed: Trust, message: str
) -> None:
    """Another key, log, or worker."""
    number, told = fault(given, believed)

    assert (number, message in told) == (11, True), told


def test_step_11_refuses_a_checkpoint_that_was_changed() -> None:
    """Its signature is of another text."""
    result = verify(_tampered())

    (step,) = [step for step in result.steps if step.number == 11]
    assert (step.outcome, "is not over this text" in step.message) == (Outcome.FAILED, True)


WRITTEN = "20251231213000Z"


def test_step_11_refuses_a_checkpoint_by_a_key_that_had_expired() -> None:
    """Who finds an old key cannot log with it what was written since."""

    expired = expiring("20251231212959Z")
    number, told = fault(material(), allowing(f"{SIGNING}\n{expired}"))
    assert (number, told) == (
        11,
        f"the checkpoint of {ORIGIN} is signed by {KEY.public_key.fingerprint} alone, which was no"
        " longer valid when its leaf was written",
    )

    both = checkpointed(KEY, OTHER)
    successor = f"{BEE} {OTHER.public_key.to_openssh()}"
    result = verify(both, allowing(f"{SIGNING}\n{expired}\n{successor}"))
    assert result.verified
    assert result.steps[10].message.endswith(f"signed by {OTHER.public_key.fingerprint}")


def test_step_11_takes_a_key_up_to_its_end_and_before_its_beginning() -> None:
    """A leaf is older than its checkpoint, which the next key may sign after a change of keys."""
    assert issued.RECEIPT.timestamp.translate(str.maketrans("", "", "-T:")) == WRITTEN

    for line in (expiring(WRITTEN), expiring("20991231Z", after="20260101Z")):
        assert verify(material(), allowing(f"{SIGNING}\n{line}")).verified


def test_after_a_handover_either_key_is_enough() -> None:
    """The checkpoint is signed by both; a verifier may know one of them."""
    given = checkpointed(KEY, OTHER)

    assert verify(given, trust(KEY)).verified
    assert verify(given, trust(KEY, OTHER)).verified
    assert verify(checkpointed(OTHER), trust(KEY, OTHER)).verified


def _early() -> Material:
    """A checkpoint that is earlier than the one that is honoured; witnesses have seen it."""
    note = issued.checkpoint(issued.head(9), cosigners=WITNESSES)
    return material(proof=issued.proof(size=9, note=note).to_bytes())


REVOKED = f"the key {KEY.public_key.fingerprint} is revoked: "
REVOCATIONS: list[tuple[Material, list[Revocation], bytes, str]] = [
    (
        material(proof=None),
        [revocation(SIZE)],
        b"",
        "a receipt that it signed counts only with a proof that it was logged",
    ),
    (
        material(),
        [revocation(PLACE)],
        b"",
        f"of {ORIGIN} the leaves before 6 are left standing, not 6",
    ),
    (
        material(),
        [revocation(SIZE, origin=SUCCESSOR)],
        b"",
        f"no leaf of {ORIGIN} is left standing",
    ),
    (
        material(),
        [revocation(SIZE), revocation(PLACE)],
        b"",
        f"of {ORIGIN} the leaves before 6 are left standing, not 6",
    ),
    (
        material(),
        [revocation(9)],
        b"",
        f"it vouches for {ORIGIN} at 9 leaves alone, and the checkpoint counts 11",
    ),
    (
        material(),
        [revocation(SIZE, root_hash="sha256:" + "ab" * 32)],
        b"",
        f"the revocation names the root {'ab' * 32} of {ORIGIN} at 11 leaves, and the checkpoint",
    ),
    (
        material(),
        [revocation(SIZE), revocation(SIZE, root_hash="sha256:" + "ab" * 32)],
        b"",
        f"the revocation names the root {'ab' * 32} of {ORIGIN} at 11 leaves, and the checkpoint",
    ),
    (
        material(),
        [revocation(SIZE, root_hash="sha256:" + "ab" * 32), revocation(SIZE)],
        b"",
        f"the revocation names the root {'ab' * 32} of {ORIGIN} at 11 leaves, and the checkpoint",
    ),
    (
        _early(),
        [revocation(SIZE)],
        b"",
        f"it vouches for {ORIGIN} at 11 leaves alone, and the checkpoint counts 9",
    ),
    (
        _early(),
        [revocation(SIZE)],
        POLICY,
        f"it vouches for {ORIGIN} at 11 leaves alone, and the checkpoint counts 9",
    ),
    (
        _early(),
        [revocation(SIZE), revocation(9, root_hash="sha256:" + "ab" * 32)],
        POLICY,
        f"the revocation names the root {'ab' * 32} of {ORIGIN} at 9 leaves, and the checkpoint",
    ),
]


@pytest.mark.parametrize(("given", "revoked", "policy", "message"), REVOCATIONS)
def test_step_12_says_why_a_revoked_key_counts_no_more(
    given: Material, revoked: list[Revocation], policy: bytes, message: str
) -> None:
    """Not logged, logged too late, under another head than the one that was named."""
    number, told = fault(given, trust(revoked=revoked, policy=policy))

    assert (number, told.startswith(REVOKED + message)) == (12, True), told


def test_step_12_leaves_standing_what_the_revocation_names() -> None:
    """Under its checkpoint, or under the next key's."""
    later = material(
        proof=issued.proof(note=issued.checkpoint(issued.head(SIZE), OTHER)).to_bytes()
    )

    assert verify(material(), trust(revoked=[revocation(SIZE)])).verified
    twice = [revocation(SIZE), revocation(SIZE, reason="said again"), revocation(SIZE + 1)]
    assert verify(material(), trust(revoked=twice)).verified
    assert verify(later, trust(KEY, OTHER, revoked=[revocation(PLACE + 1)])).verified
    assert verify(material(), trust(revoked=[revocation(1, OTHER)])).verified


def test_step_12_takes_the_revoked_signer_that_still_vouches() -> None:
    """Of a checkpoint signed by two revoked keys."""
    both = checkpointed(KEY, OTHER)
    revoked = [revocation(8), revocation(SIZE, OTHER)]

    assert verify(both, trust(KEY, OTHER, revoked=revoked)).verified
    revoked = [revocation(8), revocation(8, OTHER)]
    number, told = fault(both, trust(KEY, OTHER, revoked=revoked))
    assert (number, told.startswith(REVOKED)) == (12, True)


def test_step_12_refuses_a_fork_before_the_size_that_is_honoured() -> None:
    """The thief of a key can make one, and show it to witnesses that have seen nothing yet."""
    leaves = (*issued.LEAVES[:PLACE], issued.merkle.leaf_hash(b"another"), issued.LEAVES[PLACE])
    head = issued.head(len(leaves), leaves=leaves)
    forked = TlogProof(
        index=len(leaves) - 1,
        path=issued.merkle.inclusion_path(leaves, len(leaves) - 1),
        checkpoint=issued.checkpoint(head, cosigners=WITNESSES),
    )
    believed = trust(revoked=[revocation(SIZE)], policy=POLICY)
    number, told = fault(material(proof=forked.to_bytes()), believed)

    assert (number, f"at {SIZE} leaves alone" in told) == (12, True), told


def test_step_13_counts_the_witnesses() -> None:
    """Those that the policy asks for, over this very checkpoint."""
    note = issued.checkpoint(issued.head(SIZE), cosigners=WITNESSES)
    result = verify(material(proof=issued.proof(note=note).to_bytes()), trust(policy=POLICY))

    assert result.verified
    assert result.steps[12].message == "cosigned by w"
    assert verify(believed=trust(policy=b"quorum none\n")).verified


@pytest.mark.parametrize(
    ("given", "policy", "message"),
    [
        (material(), POLICY, "the policy needs witness w; cosigned by none of its witnesses"),
        (material(proof=None), POLICY, "the policy asks for witnesses, and there is no checkpoint"),
        (
            material(),
            f"log {log_vkey(ORIGIN, OTHER.public_key).text}\nquorum none\n".encode(),
            f"no log of the policy has signed the checkpoint of '{ORIGIN}'",
        ),
    ],
)
def test_step_13_says_who_is_missing(given: Material, policy: bytes, message: str) -> None:
    """Also for a receipt that is not logged: it was asked for."""
    number, told = fault(given, trust(policy=policy))

    assert (number, told.startswith(message)) == (13, True), told


def test_without_a_proof_a_policy_of_no_witnesses_is_met() -> None:
    """It asks for nothing."""
    assert verify(material(proof=None), trust(policy=b"quorum none\n")).verified
