"""A receipt is verified by what was given with it, and each way to fail has its own message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import Outcome, canonicalize
from proofs.checkpoint import log_vkey
from proofs.logged import Trust
from proofs.sshsig import sign as sign_message
from proofs.tlog_proof import TlogProof
from proofs.verification import Material, verify_receipt
from tests.unit.proofs import issued
from tests.unit.proofs.issued import PLACE, SIZE, material, revocation, trust
from tests.unit.proofs.signers import BEE, KEY, ORIGIN, OTHER
from tests.unit.proofs.verifying import DATA, OPENSSH, PROOF, allowing, fault, verify


def test_a_logged_receipt_is_verified() -> None:
    """Every step that has something to look at is passed."""
    result = verify()

    assert result.verified
    assert result.summary == (
        f"verified: answered by the model, logged as leaf {PLACE} of {ORIGIN}; by {BEE}"
    )
    assert [step.number for step in result.steps] == list(range(1, 15))
    skipped = [step.name for step in result.steps if step.outcome is Outcome.SKIPPED]
    assert skipped == ["revocation", "witnesses", "verdict"]


def test_a_receipt_without_a_proof_is_signed_and_not_yet_logged() -> None:
    """That refutes nothing."""
    result = verify(material(proof=None))

    assert result.verified
    assert result.summary == f"verified: answered by the model, signed, not yet logged; by {BEE}"


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

    assert verify(given).summary == (
        f"verified: answered by the model, {verdict} by a person, logged as leaf {PLACE} of"
        f" {ORIGIN}; by {BEE}"
    )
    assert verify(replace(given, proof=None)).summary == (
        f"verified: answered by the model, {verdict} by a person, signed, not yet logged; by {BEE}"
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
        assert not verify(material(proof=broken)).verified, at


def test_every_single_byte_change_of_a_signature_is_refuted() -> None:
    """The armour too."""
    data = issued.signature(DATA)
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        number, message = fault(material(signature=broken))
        assert (number, message.startswith(("the SSH signature is refused", BEE))) == (8, True)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything(data: bytes) -> None:
    """In place of any part."""
    for name in ("signature", "proof", "report", "ciphertext", "request", "output"):
        verify(material(**{name: data}))
    verify(material(verdict=data, verdict_proof=data))
    verify(material(proof=issued.proof().to_bytes()[:60] + data))
    verify_receipt(data, material(), trust())


def _in_namespace(namespace: str) -> bytes:
    return sign_message(KEY, namespace=namespace, message=DATA)


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
        allowing(f"another.example {OPENSSH}"),
        f"the allowed signers name nobody '{BEE}'",
    ),
    (
        material(proof=None),
        allowing(f'{BEE} valid-after="20991231Z" {OPENSSH}'),
        "it is valid from 2099-12-31T00:00:00Z on, not yet at 2025-12-31T21:30:00Z",
    ),
    (
        material(proof=None),
        allowing(f'{BEE} valid-before="20201231Z" {OPENSSH}'),
        "it was valid until 2020-12-31T00:00:00Z, no longer at 2025-12-31T21:30:00Z",
    ),
    (
        material(proof=None),
        allowing(f'{BEE} namespaces="swarm-merkle" {OPENSSH}'),
        "it may not sign in the namespace 'swarm-receipt', only in 'swarm-merkle'",
    ),
]


@pytest.mark.parametrize(("given", "believed", "message"), SIGNATURES)
def test_step_8_says_what_is_wrong_with_a_signature(
    given: Material, believed: Trust, message: str
) -> None:
    """Another key, purpose, worker, or time; or none."""
    number, told = fault(given, believed)

    assert (number, message in told) == (8, True), told


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
    number, told = fault(given)

    assert (number, told.startswith(message)) == (9, True), told
    skipped = {step.number for step in verify(given).steps if step.outcome is Outcome.SKIPPED}
    assert {10, 11, 13} <= skipped


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
    number, told = fault(material(proof=broken.to_bytes()))

    assert (number, told.startswith(message)) == (10, True), told


def test_step_10_refuses_the_proof_of_another_receipt_or_tree() -> None:
    """Or a whole tree whose leaf is an inner node of the log."""
    for other in (issued.proof(PLACE + 1), issued.proof(0)):
        assert fault(material(proof=other.to_bytes()))[0] == 10
    elsewhere = [issued.merkle.leaf_hash(bytes([number])) for number in range(SIZE)]
    head = issued.head(SIZE, leaves=elsewhere)
    broken = replace(PROOF, checkpoint=issued.checkpoint(head))
    assert fault(material(proof=broken.to_bytes()))[0] == 10


CONTROL = "\x9b31m\u202e"


def test_no_message_holds_what_a_terminal_would_act_on() -> None:
    """Whoever wrote the log's name, which nobody has signed yet."""
    note = issued.checkpoint(issued.head(SIZE, origin=f"{BEE}{CONTROL}/x"))
    given = material(
        proof=issued.proof(note=note).to_bytes(),
        verdict=issued.CORRECTION.to_bytes(),
        verdict_proof=issued.proof(SIZE, SIZE + 1, note=note).to_bytes(),
    )
    listed = f"log {log_vkey(ORIGIN, KEY.public_key).text}\nquorum none\n".encode()
    result = verify(given, trust(revoked=[revocation(SIZE)], policy=listed))

    failed = [step.number for step in result.steps if step.outcome is Outcome.FAILED]
    assert failed == [11, 12, 13, 14]
    assert [step.message for step in result.steps if not step.message.isprintable()] == []


def test_an_unreadable_receipt_ends_it() -> None:
    """There is nothing to hold the rest against."""
    result = verify_receipt(canonicalize({"v": 1}), material(), trust())

    assert [step.number for step in result.steps] == [1]
    assert result.summary.startswith("refuted in step 1, form: the receipt lacks job_id")


def test_a_report_that_is_not_this_receipts_is_refuted() -> None:
    """The first seven steps are those of `proofs.verify`."""
    result = verify(material(report=b"{}"))

    assert not result.verified
    assert result.summary.startswith("refuted in step 2, report_hash: report_hash is sha256:")
