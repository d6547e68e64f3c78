"""What a witness accepts and what it refuses, in the order of the specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import Checkpoint, cosign, log_vkey, sign, witness_vkey
from proofs.errors import CosignatureInvalid, WitnessRequestInvalid
from proofs.keys import PrivateKey
from proofs.merkle import EMPTY_ROOT, consistency_proof, leaf_hash, root
from proofs.note import Note, NoteSignature
from proofs.witness import (
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    Accept,
    AddCheckpoint,
    Refusal,
    decide,
    read_cosignature,
)
from tests.unit.proofs.examples import UNHURRIED

ORIGIN = "bee.example.eth/0b0f7c1e-52a4-4d39-9f6e-2f6a1c1d7e55"
KEY = PrivateKey.generate()
OTHER_KEY = PrivateKey.generate()
LOG_KEYS = {ORIGIN: [log_vkey(ORIGIN, KEY.public_key)]}
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]
FORKED = [*LEAVES[:3], *(leaf_hash(b"other %d" % number) for number in range(37))]
WITNESS = PrivateKey.generate()
VKEY = witness_vkey("friend.example/witness", WITNESS.public_key)


def checkpoint(size: int, leaves: list[bytes] = LEAVES, origin: str = ORIGIN) -> Checkpoint:
    """The head of the log at a size."""
    return Checkpoint(origin=origin, size=size, root=root(leaves[:size]))


def note(head: Checkpoint, *keys: PrivateKey) -> Note:
    """A checkpoint signed by these keys, or by the log's."""
    lines = tuple(sign(head, key) for key in keys or (KEY,))
    return Note(text=head.body, signatures=lines)


def request(old: int, new: int, leaves: list[bytes] = LEAVES) -> AddCheckpoint:
    """What an honest log asks."""
    proof = consistency_proof(leaves[:new], old)
    return AddCheckpoint(old_size=old, proof=proof, note=note(checkpoint(new, leaves)))


def ask(asked: AddCheckpoint, last: Checkpoint | None = None) -> Accept | Refusal:
    """What a witness that knows the log answers."""
    return decide(asked, log_keys=LOG_KEYS, last=last)


def refused(asked: AddCheckpoint, last: Checkpoint | None = None) -> tuple[int, str]:
    """The status and the body of a refusal."""
    answer = ask(asked, last)
    assert isinstance(answer, Refusal)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize("size", [0, 1, 7, 40])
def test_the_first_checkpoint_of_a_known_log_is_accepted(size: int) -> None:
    """From size 0, without a proof."""
    answer = ask(request(0, size))

    assert isinstance(answer, Accept)
    assert (answer.checkpoint.size, answer.note) == (size, note(checkpoint(size)))


@UNHURRIED
@given(st.integers(0, 40), st.integers(0, 40))
def test_a_log_that_has_only_grown_is_accepted(old: int, new: int) -> None:
    """From every size to every size that is not smaller, and never to a smaller one."""
    low, high = sorted((old, new))
    last = checkpoint(low) if low else None

    assert isinstance(ask(request(low, high), last), Accept)
    if low < high:
        backwards = AddCheckpoint(old_size=low, proof=(), note=note(checkpoint(low)))
        assert refused(backwards, checkpoint(high)) == (409, f"{high}\n")


def test_a_request_from_another_size_is_told_the_one_that_the_witness_holds() -> None:
    """In decimal, with a type of its own."""
    answer = ask(request(0, 8), checkpoint(5))

    assert isinstance(answer, Refusal)
    assert (answer.status, answer.body, answer.content_type) == (409, b"5\n", SIZE_TYPE)
    assert not answer.is_fork


def test_two_roots_of_one_size_are_a_fork() -> None:
    """Both are signed by the log: together they prove it."""
    answer = ask(request(8, 8, FORKED), checkpoint(8))

    assert isinstance(answer, Refusal)
    assert (answer.status, answer.is_fork) == (409, True)
    assert answer.content_type != SIZE_TYPE


@pytest.mark.parametrize("new", [9, 16, 40])
def test_a_history_that_was_rewritten_is_refused(new: int) -> None:
    """The proof leads from another tree than the one that was cosigned."""
    status, reason = refused(request(8, new, FORKED), checkpoint(8))
    assert status == 422
    assert "the proof gives the" in reason


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (0, 8, [LEAVES[0]]),
        (8, 8, [LEAVES[0]]),
        (5, 8, []),
        (5, 8, [*consistency_proof(LEAVES[:8], 5), LEAVES[0]]),
        (5, 8, [*consistency_proof(LEAVES[:8], 5)][:-1]),
        (5, 8, [*reversed(consistency_proof(LEAVES[:8], 5))]),
    ],
)
def test_a_proof_that_does_not_hold_is_refused(old: int, new: int, proof: list[bytes]) -> None:
    """One hash too many, one too few, in another order, or where none belongs."""
    asked = AddCheckpoint(old_size=old, proof=proof, note=note(checkpoint(new)))
    status, _ = refused(asked, checkpoint(old) if old else None)
    assert status == 422


def test_an_old_size_above_the_checkpoints_is_malformed() -> None:
    """Whatever the witness holds."""
    asked = AddCheckpoint(old_size=9, proof=(), note=note(checkpoint(8)))
    status, reason = refused(asked, checkpoint(9))
    assert (status, "9 is above" in reason) == (400, True)


def test_an_unknown_log_is_refused_before_its_signature_is_looked_at() -> None:
    """404, also for a log of the same worker."""
    asked = AddCheckpoint(old_size=0, proof=(), note=note(checkpoint(8, origin=f"{ORIGIN}x")))
    assert refused(asked)[0] == 404


def test_a_checkpoint_that_no_known_key_signed_is_refused() -> None:
    """Another key under the log's own name."""
    asked = AddCheckpoint(old_size=0, proof=(), note=note(checkpoint(8), OTHER_KEY))
    assert refused(asked)[0] == 403


def test_a_wrong_signature_of_a_known_key_is_refused() -> None:
    """Even where another known key has signed: then the log did not make this note."""
    good = sign(checkpoint(8), KEY)
    bad = NoteSignature(name=good.name, key_id=good.key_id, signature=bytes(64))
    for lines in ((bad,), (good, bad), (bad, good)):
        asked = AddCheckpoint(
            old_size=0, proof=(), note=Note(text=checkpoint(8).body, signatures=lines)
        )
        assert refused(asked)[0] == 403


def test_lines_of_unknown_keys_are_ignored_and_not_kept() -> None:
    """What the witness keeps is what it has checked."""
    asked = AddCheckpoint(old_size=0, proof=(), note=note(checkpoint(8), OTHER_KEY, KEY))
    answer = ask(asked)

    assert isinstance(answer, Accept)
    assert answer.note == note(checkpoint(8))


def test_while_a_key_is_rotated_both_may_sign() -> None:
    """One checkpoint signed by both, then by the new one alone."""
    keys = {ORIGIN: [log_vkey(ORIGIN, one.public_key) for one in (KEY, OTHER_KEY)]}
    both = AddCheckpoint(old_size=0, proof=(), note=note(checkpoint(8), KEY, OTHER_KEY))
    new = AddCheckpoint(old_size=0, proof=(), note=note(checkpoint(8), OTHER_KEY))

    for asked, signatures in ((both, 2), (new, 1)):
        answer = decide(asked, log_keys=keys, last=None)
        assert isinstance(answer, Accept)
        assert len(answer.note.signatures) == signatures


GOOD = request(5, 8).to_bytes()
HEAD, _, NOTE = GOOD.partition(b"\n\n")


@UNHURRIED
@given(st.integers(0, 40), st.integers(0, 40))
def test_a_request_is_read_as_it_was_written(one: int, other: int) -> None:
    """Bytes and values are two forms of one thing."""
    asked = request(min(one, other), max(one, other))
    assert AddCheckpoint.from_bytes(asked.to_bytes()) == asked


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no empty line"),
        (HEAD + b"\n", "no empty line"),
        (b"old 05\n\n" + NOTE, "first line"),
        (b"old -1\n\n" + NOTE, "first line"),
        (b"old 5 \n\n" + NOTE, "first line"),
        (b"Old 5\n\n" + NOTE, "first line"),
        (b"old\n\n" + NOTE, "first line"),
        (b"old 99999999999999999999\n\n" + NOTE, "first line"),
        ("old \N{ARABIC-INDIC DIGIT FIVE}\n\n".encode() + NOTE, "first line"),
        (b"\n\n" + NOTE, "first line"),
        (b"old 5\nAAAA\n\n" + NOTE, "line 1 of the proof has 3 bytes"),
        (b"old 5\n" + b"!" * 44 + b"\n\n" + NOTE, "line 1 of the proof is not base64"),
        (b"old 5\n" + b"\xff" * 44 + b"\n\n" + NOTE, "line 1 of the proof is not base64"),
        (b"old 5\n" + b"A" * 42 + b"B=\n\n" + NOTE, "line 1 of the proof is not base64"),
        (b"old 5\r\n\n" + NOTE, "first line"),
        (b"old 5\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + NOTE, "63 lines, not 64"),
        (HEAD + b"\n\n" + NOTE[:-1], "checkpoint cannot be read"),
        (HEAD + b"\n\n\xff" + NOTE, "checkpoint cannot be read"),
        (HEAD + b"\n\n" + NOTE.replace(b"\n8\n", b"\n08\n"), "checkpoint cannot be read"),
        (HEAD + b"\n\n" + NOTE.replace(b"=\n\n", b"=\nextension\n\n"), "extension lines"),
        (b"x" * (MAX_REQUEST_BYTES + 1), f"at most {MAX_REQUEST_BYTES} bytes"),
    ],
)
def test_a_request_of_another_form_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """One message for each way to fail."""
    with pytest.raises(WitnessRequestInvalid, match=reason):
        AddCheckpoint.from_bytes(data)


@UNHURRIED
@given(st.binary(max_size=300) | st.integers(0, len(GOOD)).map(lambda cut: GOOD[:cut]))
def test_nothing_but_its_own_error_comes_out_of_a_request(data: bytes) -> None:
    """Whatever the bytes are."""
    try:
        AddCheckpoint.from_bytes(data)
    except WitnessRequestInvalid as error:
        assert error.message


@UNHURRIED
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_request_with_a_changed_byte_gets_another_checkpoint_cosigned(
    place: int, change: int
) -> None:
    """Only signatures of nobody's may change; they are not kept."""
    changed = bytearray(GOOD)
    changed[place] ^= change
    try:
        answer = ask(AddCheckpoint.from_bytes(bytes(changed)), checkpoint(5))
    except WitnessRequestInvalid:
        return
    assert isinstance(answer, Refusal)


def _answer(*lines: NoteSignature) -> bytes:
    return "".join(f"{line.line}\n" for line in lines).encode()


def test_the_witnesss_line_is_found_among_others() -> None:
    """Lines of unknown keys are ignored, and the newest of its own is taken."""
    asked = note(checkpoint(8))
    mine = [cosign(checkpoint(8), WITNESS, name=VKEY.name, at=at) for at in (7, 9, 8)]
    other = cosign(checkpoint(8), OTHER_KEY, name="other.example", at=10)

    found = read_cosignature(_answer(other, *mine), note=asked, key=VKEY)

    assert (found.at, found.signature) == (9, mine[1])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "no signature"),
        (b"thank you\n", "cannot be read"),
        (_answer(cosign(checkpoint(8), OTHER_KEY, name="other.example", at=1)), "no line of its"),
        (_answer(cosign(checkpoint(8), OTHER_KEY, name=VKEY.name, at=1)), "no line of its key"),
        (_answer(cosign(checkpoint(9), WITNESS, name=VKEY.name, at=1)), "not over this checkpoint"),
        (
            _answer(NoteSignature(name=VKEY.name, key_id=VKEY.key_id, signature=bytes(10))),
            "has 10 bytes",
        ),
        (_answer(cosign(checkpoint(8), WITNESS, name=VKEY.name, at=1))[:-1], "newline"),
        (b"more text\n\n" + _answer(sign(checkpoint(8), KEY)), "more than signature lines"),
        (b"x" * (MAX_REQUEST_BYTES + 1), "bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "answer",
)
def test_an_answer_without_a_good_cosignature_is_refused(answer: bytes, reason: str) -> None:
    """Of another key, of another checkpoint, cut off, or something else altogether."""
    with pytest.raises(CosignatureInvalid, match=reason):
        read_cosignature(answer, note=note(checkpoint(8)), key=VKEY)


def test_the_empty_log_has_one_root() -> None:
    """A first checkpoint over nothing is one that every later one follows."""
    answer = ask(request(0, 0))
    assert isinstance(answer, Accept)
    assert answer.checkpoint.root == EMPTY_ROOT
    assert isinstance(ask(request(0, 3), answer.checkpoint), Accept)
