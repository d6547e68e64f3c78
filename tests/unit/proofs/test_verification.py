"""A receipt is verified by what was given with it, and each way to fail has its own message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import Outcome, canonicalize
from proofs.allowed_signers import AllowedSigners
from proofs.checkpoint import log_vkey
from proofs.keys import PrivateKey
from proofs.logged import Trust
from proofs.merkle import node_hash
from proofs.revocation import Revocation
from proofs.sshsig import sign as sign_message
from proofs.tlog_proof import TlogProof
from proofs.verification import Material, Verification, verify_receipt
from tests.unit.proofs import issued
from tests.unit.proofs.issued import PLACE, POLICY, SIZE, material, revocation, trust
from tests.unit.proofs.signers import BEE, KEY, ORIGIN, OTHER

DATA = issued.RECEIPT.to_bytes()
SUCCESSOR = "bee.example/1f6f3b1e-52a4-4d39-9f6e-2f6a1c1d7e55"
WITNESSES = {issued.WITNESS_NAME: issued.WITNESS}


def _verify(given: Material | None = None, believed: Trust | None = None) -> Verification:
    return verify_receipt(DATA, given or material(), believed or trust())


def _fault(given: Material | None = None, believed: Trust | None = None) -> tuple[int, str]:
    """The one step that failed, and what it says; the rest must not have."""
    result = _verify(given, believed)
    (failed,) = [step for step in result.steps if step.outcome is Outcome.FAILED]
    assert not result.verified
    assert result.summary == f"refuted in step {failed.number}, {failed.name}: {failed.message}"
    return failed.number, failed.message


def test_a_logged_receipt_is_verified() -> None:
    """Every step that has something to look at is passed."""
    result = _verify()

    assert result.verified
    assert result.summary == (
        f"verified: answered by the model, logged as leaf {PLACE} of {ORIGIN}"
    )
    assert [step.number for step in result.steps] == list(range(1, 15))
    skipped = [step.name for step in result.steps if step.outcome is Outcome.SKIPPED]
    assert skipped == ["revocation", "witnesses", "verdict"]


def test_a_receipt_without_a_proof_is_signed_and_not_yet_logged() -> None:
    """That refutes nothing."""
    result = _verify(material(proof=None))

    assert result.verified
    assert result.summary == "verified: answered by the model, signed, not yet logged"


@pytest.mark.parametrize("verdict", ["confirmed", "corrected", "rejected"])
def test_a_verdict_is_told(verdict: str) -> None:
    """What a person decided, after what the model answered."""
    entry = replace(
        issued.CORRECTION,
        verdict=verdict,
        output_hash=issued.CORRECTION.output_hash if verdict == "corrected" else None,
    )
    leaves = (*issued.LEAVES[:SIZE], entry.leaf_hash)
    head = issued.head(SIZE + 1, leaves=leaves)
    proved = TlogProof(
        index=SIZE,
        path=issued.merkle.inclusion_path(leaves, SIZE),
        checkpoint=issued.checkpoint(head),
    )
    given = material(verdict=entry.to_bytes(), verdict_proof=proved.to_bytes())

    assert _verify(given).summary == (
        f"verified: answered by the model, {verdict} by a person, logged as leaf {PLACE} of"
        f" {ORIGIN}"
    )
    assert _verify(replace(given, proof=None)).summary == (
        f"verified: answered by the model, {verdict} by a person, signed, not yet logged"
    )


def test_every_single_byte_change_of_a_receipt_is_refuted() -> None:
    """Whatever it is changed to next."""
    for at in range(len(DATA)):
        broken = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
        result = verify_receipt(broken, material(report=None), trust())
        assert not result.verified
        assert result.summary.startswith(("refuted in step 1,", "refuted in step 8,"))


def test_every_single_byte_change_of_a_proof_is_refuted() -> None:
    """Index, path, and every part of the checkpoint."""
    data = issued.proof().to_bytes()
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert not _verify(material(proof=broken)).verified, at


def test_every_single_byte_change_of_a_signature_is_refuted() -> None:
    """The armour too."""
    data = issued.signature(DATA)
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        number, message = _fault(material(signature=broken))
        assert (number, message.startswith(("the SSH signature is refused", BEE))) == (8, True)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything(data: bytes) -> None:
    """In place of any part."""
    for name in ("signature", "proof", "report", "ciphertext", "request", "output"):
        _verify(material(**{name: data}))
    _verify(material(verdict=data, verdict_proof=data))
    _verify(material(proof=issued.proof().to_bytes()[:60] + data))
    verify_receipt(data, material(), trust())


def _in_namespace(namespace: str) -> bytes:
    return sign_message(KEY, namespace=namespace, message=DATA)


def _allowing(line: str) -> Trust:
    return Trust(allowed=AllowedSigners.parse(line.encode() + b"\n"))


OPENSSH = KEY.public_key.to_openssh()
SIGNATURES: list[tuple[Material, Trust, str]] = [
    (material(signature=None), trust(), "there is no signature of the receipt"),
    (
        material(signature=issued.signature(DATA + b"\n")),
        trust(),
        "the SSH signature is refused: it was made over other bytes, or not by the key it names",
    ),
    (
        material(signature=_in_namespace("swarm-merkle")),
        trust(),
        "the SSH signature is refused: it is for the namespace 'swarm-merkle', not 'swarm-receipt'",
    ),
    (
        material(signature=issued.signature(DATA, OTHER)),
        trust(),
        f"{BEE} signs with {KEY.public_key.fingerprint}, not with {OTHER.public_key.fingerprint}",
    ),
    (
        material(proof=None),
        _allowing(f"another.example {OPENSSH}"),
        f"the allowed signers name nobody '{BEE}'",
    ),
    (
        material(proof=None),
        _allowing(f'{BEE} valid-after="20991231Z" {OPENSSH}'),
        "it is valid from 2099-12-31T00:00:00Z on, not yet at 2025-12-31T21:30:00Z",
    ),
    (
        material(proof=None),
        _allowing(f'{BEE} valid-before="20201231Z" {OPENSSH}'),
        "it was valid until 2020-12-31T00:00:00Z, no longer at 2025-12-31T21:30:00Z",
    ),
    (
        material(proof=None),
        _allowing(f'{BEE} namespaces="swarm-merkle" {OPENSSH}'),
        "it may not sign in the namespace 'swarm-receipt', only in 'swarm-merkle'",
    ),
]


@pytest.mark.parametrize(("given", "believed", "message"), SIGNATURES)
def test_step_8_says_what_is_wrong_with_a_signature(
    given: Material, believed: Trust, message: str
) -> None:
    """Another key, purpose, worker, or time; or none."""
    number, told = _fault(given, believed)

    assert (number, message in told) == (8, True), told


PROOF = issued.proof()
PROOF_BYTES = PROOF.to_bytes()
PROOFS = {
    "this is not a proof of a log: line 1 is not c2sp.org/tlog-proof@v1": b"x" + PROOF_BYTES,
    "this is no valid signed note or key of one: no empty line separates": PROOF_BYTES.replace(
        b"=\n\n\xe2", b"=\n\xe2"
    ),
    "this is no checkpoint: ": PROOF_BYTES.replace(b"\n11\n", b"\n011\n"),
    "this is not a proof of a log: path hash 0 has 3 bytes, not 32": replace(PROOF, path=())
    .to_bytes()
    .replace(b"\n\n", b"\nAAAA\n\n", 1),
}


@pytest.mark.parametrize("message", PROOFS)
def test_step_9_says_what_is_wrong_with_a_proof_file(message: str) -> None:
    """What depends on it is skipped."""
    given = material(proof=PROOFS[message])
    number, told = _fault(given)

    assert (number, told.startswith(message)) == (9, True), told
    skipped = {step.number for step in _verify(given).steps if step.outcome is Outcome.SKIPPED}
    assert {10, 11, 13} <= skipped


INNER = node_hash(issued.LEAVES[PLACE], issued.LEAVES[PLACE + 1])
INCLUSIONS = {
    "the inclusion path is too short: leaf 6 of 11 takes 4 hashes, not 3": {
        "path": PROOF.path[:-1]
    },
    "the inclusion path is too long: leaf 6 of 11 takes 4 hashes, not 5": {
        "path": (*PROOF.path, bytes(32))
    },
    "the path leads from leaf 7 of 11 to the root ": {"index": PLACE + 1},
    "there is no leaf 11 in a tree of 11": {"index": SIZE},
    "the path leads from leaf 6 of 11 to the root ": {"path": (bytes(32), *PROOF.path[1:])},
}


@pytest.mark.parametrize("message", INCLUSIONS)
def test_step_10_says_what_is_wrong_with_a_path(message: str) -> None:
    """Truncated, padded, of another index, of another leaf."""
    broken = replace(PROOF, **INCLUSIONS[message])  # type: ignore[arg-type]  # some of its fields
    number, told = _fault(material(proof=broken.to_bytes()))

    assert (number, told.startswith(message)) == (10, True), told


def test_step_10_refuses_the_proof_of_another_receipt_or_tree() -> None:
    """Or a whole tree whose leaf is an inner node of the log."""
    for other in (issued.proof(PLACE + 1), issued.proof(0)):
        assert _fault(material(proof=other.to_bytes()))[0] == 10
    elsewhere = [issued.merkle.leaf_hash(bytes([number])) for number in range(SIZE)]
    head = issued.head(SIZE, leaves=elsewhere)
    broken = replace(PROOF, checkpoint=issued.checkpoint(head))
    assert _fault(material(proof=broken.to_bytes()))[0] == 10


def _checkpointed(*keys: PrivateKey, origin: str = ORIGIN) -> Material:
    note = issued.checkpoint(issued.head(SIZE, origin=origin), *keys)
    return material(proof=replace(PROOF, checkpoint=note).to_bytes())


def _tampered() -> Material:
    note = issued.checkpoint(issued.head(SIZE)).replace(b"\n11\n", b"\n12\n")
    path = issued.merkle.inclusion_path(issued.LEAVES, PLACE)
    return material(proof=replace(PROOF, checkpoint=note, path=path).to_bytes())


MERKLE_ONLY = f'{BEE} namespaces="swarm-receipt" {OPENSSH}'
CHECKPOINTS: list[tuple[Material, Trust, str]] = [
    (
        _checkpointed(OTHER),
        trust(),
        f"the checkpoint of {ORIGIN} is not signed by any key of {BEE}:"
        f" {KEY.public_key.fingerprint}",
    ),
    (
        _checkpointed(origin="wasp.example" + ORIGIN.removeprefix(BEE)),
        trust(),
        f"which is not a log of {BEE}",
    ),
    (
        _checkpointed(origin="bee.example"),
        trust(),
        "the origin 'bee.example' has no slash",
    ),
    (
        material(),
        _allowing(MERKLE_ONLY),
        f"the allowed signers hold no key of {BEE} for swarm-merkle",
    ),
]


@pytest.mark.parametrize(("given", "believed", "message"), CHECKPOINTS)
def test_step_11_says_what_is_wrong_with_a_checkpoint(
    given: Material, believed: Trust, message: str
) -> None:
    """Another key, log, or worker."""
    number, told = _fault(given, believed)

    assert (number, message in told) == (11, True), told


def test_step_11_refuses_a_checkpoint_that_was_changed() -> None:
    """Its signature is of another text."""
    result = _verify(_tampered())

    (step,) = [step for step in result.steps if step.number == 11]
    assert (step.outcome, "is not over this text" in step.message) == (Outcome.FAILED, True)


def test_after_a_handover_either_key_is_enough() -> None:
    """The checkpoint is signed by both; a verifier may know one of them."""
    given = _checkpointed(KEY, OTHER)

    assert _verify(given, trust(KEY)).verified
    assert _verify(given, trust(KEY, OTHER)).verified
    assert _verify(_checkpointed(OTHER), trust(KEY, OTHER)).verified


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
        f"it vouches for {ORIGIN} up to 9 leaves, and the checkpoint counts 11",
    ),
    (
        material(),
        [revocation(SIZE, root_hash="sha256:" + "ab" * 32)],
        b"",
        f"the revocation names the root {'ab' * 32} of {ORIGIN} at 11 leaves, and the checkpoint",
    ),
    (
        material(proof=issued.proof(size=9).to_bytes()),
        [revocation(SIZE)],
        b"",
        "the checkpoint of 9 leaves is earlier than the 11 that the revocation names",
    ),
    (
        material(proof=issued.proof(size=9).to_bytes()),
        [revocation(SIZE)],
        b"quorum none\n",
        "the checkpoint of 9 leaves is earlier than the 11 that the revocation names",
    ),
]


@pytest.mark.parametrize(("given", "revoked", "policy", "message"), REVOCATIONS)
def test_step_12_says_why_a_revoked_key_counts_no_more(
    given: Material, revoked: list[Revocation], policy: bytes, message: str
) -> None:
    """Not logged, logged too late, under another head than the one that was named."""
    number, told = _fault(given, trust(revoked=revoked, policy=policy))

    assert (number, told.startswith(REVOKED + message)) == (12, True), told


def test_step_12_leaves_standing_what_the_revocation_names() -> None:
    """Under its checkpoint, under an earlier one that witnesses saw, or under the next key's."""
    early = issued.checkpoint(issued.head(9), cosigners=WITNESSES)
    seen = material(proof=issued.proof(size=9, note=early).to_bytes())
    later = material(
        proof=issued.proof(note=issued.checkpoint(issued.head(SIZE), OTHER)).to_bytes()
    )

    assert _verify(material(), trust(revoked=[revocation(SIZE)])).verified
    assert _verify(seen, trust(revoked=[revocation(SIZE)], policy=POLICY)).verified
    assert _verify(later, trust(KEY, OTHER, revoked=[revocation(PLACE + 1)])).verified
    assert _verify(material(), trust(revoked=[revocation(1, OTHER)])).verified


def test_step_12_takes_the_revoked_signer_that_still_vouches() -> None:
    """Of a checkpoint signed by two revoked keys."""
    both = _checkpointed(KEY, OTHER)
    revoked = [revocation(8), revocation(SIZE, OTHER)]

    assert _verify(both, trust(KEY, OTHER, revoked=revoked)).verified
    revoked = [revocation(8), revocation(8, OTHER)]
    number, told = _fault(both, trust(KEY, OTHER, revoked=revoked))
    assert (number, told.startswith(REVOKED)) == (12, True)


def test_step_12_needs_the_witnesses_of_an_earlier_checkpoint() -> None:
    """Without them the thief of a key could have made it."""
    unseen = material(proof=issued.proof(size=9).to_bytes())
    result = _verify(unseen, trust(revoked=[revocation(SIZE)], policy=POLICY))

    failed = [step.number for step in result.steps if step.outcome is Outcome.FAILED]
    assert failed == [12, 13]


def test_step_13_counts_the_witnesses() -> None:
    """Those that the policy asks for, over this very checkpoint."""
    note = issued.checkpoint(issued.head(SIZE), cosigners=WITNESSES)
    result = _verify(material(proof=issued.proof(note=note).to_bytes()), trust(policy=POLICY))

    assert result.verified
    assert result.steps[12].message == "cosigned by w"
    assert _verify(believed=trust(policy=b"quorum none\n")).verified


@pytest.mark.parametrize(
    ("given", "policy", "message"),
    [
        (material(), POLICY, "the policy needs witness w; cosigned by none of its witnesses"),
        (material(proof=None), POLICY, "the policy asks for witnesses, and there is no checkpoint"),
        (
            material(),
            f"log {log_vkey(ORIGIN, OTHER.public_key).text}\nquorum none\n".encode(),
            f"no log of the policy has signed the checkpoint of {ORIGIN}",
        ),
    ],
)
def test_step_13_says_who_is_missing(given: Material, policy: bytes, message: str) -> None:
    """Also for a receipt that is not logged: it was asked for."""
    number, told = _fault(given, trust(policy=policy))

    assert (number, told.startswith(message)) == (13, True), told


def test_without_a_proof_a_policy_of_no_witnesses_is_met() -> None:
    """It asks for nothing."""
    assert _verify(material(proof=None), trust(policy=b"quorum none\n")).verified


VERDICT = issued.CORRECTION
VERDICT_PROOF = issued.proof(SIZE, SIZE + 1)


def _judged(entry: bytes | None, proved: TlogProof | None) -> Material:
    return material(verdict=entry, verdict_proof=None if proved is None else proved.to_bytes())


ABOUT_ANOTHER = replace(VERDICT, receipt=issued.RECEIPTS[0].digest)
OTHER_HEAD = issued.checkpoint(issued.head(SIZE + 1), OTHER)
VERDICTS: list[tuple[Material, str]] = [
    (_judged(VERDICT.to_bytes(), None), "there is no proof of the verdict"),
    (_judged(None, VERDICT_PROOF), "there is no verdict"),
    (_judged(ABOUT_ANOTHER.to_bytes(), VERDICT_PROOF), "the verdict is about the receipt sha256:"),
    (_judged(DATA, VERDICT_PROOF), "what was given as a verdict is a receipt"),
    (_judged(b"[]", VERDICT_PROOF), "an entry is a JSON object"),
    (
        _judged(replace(VERDICT, output_hash="sha256:" + "cd" * 32).to_bytes(), VERDICT_PROOF),
        "the path leads from leaf 11 of 12 to the root ",
    ),
    (
        _judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, index=3)),
        "the inclusion path is too short: leaf 3 of 12 takes 4 hashes, not 3",
    ),
    (
        _judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, checkpoint=OTHER_HEAD)),
        f"the checkpoint of {ORIGIN} is not signed by any key of {BEE}",
    ),
    (_judged(VERDICT.to_bytes(), replace(VERDICT_PROOF, checkpoint=b"x")), "this is no valid"),
]


@pytest.mark.parametrize(("given", "message"), VERDICTS)
def test_step_14_says_what_is_wrong_with_a_verdict(given: Material, message: str) -> None:
    """A verdict counts as logged, by the worker's own log, or not at all."""
    number, told = _fault(given)

    assert (number, told.startswith(message)) == (14, True), told


def test_step_14_holds_a_verdict_to_revocations_and_witnesses() -> None:
    """As it does a receipt."""
    given = _judged(VERDICT.to_bytes(), VERDICT_PROOF)
    number, told = _fault(given, trust(revoked=[revocation(SIZE)]))
    assert (number, "the leaves before 11 are left standing, not 11" in told) == (14, True)

    note = issued.checkpoint(issued.head(SIZE), cosigners=WITNESSES)
    seen = replace(given, proof=issued.proof(note=note).to_bytes())
    number, told = _fault(seen, trust(policy=POLICY))
    assert (number, told.startswith("the policy needs witness w")) == (14, True)


def test_an_unreadable_receipt_ends_it() -> None:
    """There is nothing to hold the rest against."""
    result = verify_receipt(canonicalize({"v": 1}), material(), trust())

    assert [step.number for step in result.steps] == [1]
    assert result.summary.startswith("refuted in step 1, form: the receipt lacks job_id")


def test_a_report_that_is_not_this_receipts_is_refuted() -> None:
    """The first seven steps are those of `proofs.verify`."""
    result = _verify(material(report=b"{}"))

    assert not result.verified
    assert result.summary.startswith("refuted in step 2, report_hash: report_hash is sha256:")
